"""Spec and experiment of a run, loaded from the store alone."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from tests.support.experiments import small_experiment
from tests.support.raising import raises
from tests.support.stored import as_json, golden_store

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.canonical import canonical_json, digest
from flts.contracts.errors import DamagedObject, StageFailed, UsageError
from flts.runner import stored
from flts.runner.stored import load_experiment, load_stored_spec
from flts.spec.lineage import Versions

pytestmark = pytest.mark.slow


def test_an_experiment_is_loaded_from_the_store_alone() -> None:
    experiment, store = small_experiment()
    store.create(layout.spec(experiment.identity.config_hash), canonical_json(experiment.spec.identity()))
    loaded = load_experiment(store, experiment.identity.config_hash, experiment.identity.data_hash)
    assert loaded.identity == experiment.identity
    assert loaded.origins.tolist() == experiment.origins.tolist()
    assert loaded.dataset.train.values.tolist() == experiment.dataset.train.values.tolist()


def test_an_experiment_without_a_stored_spec_is_damaged() -> None:
    experiment, store = small_experiment()
    key = layout.spec(experiment.identity.config_hash)
    with raises(DamagedObject, code="object-missing", key=key):
        load_experiment(store, experiment.identity.config_hash, experiment.identity.data_hash)


def test_an_experiment_of_other_code_versions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, store = small_experiment()
    store.create(layout.spec(experiment.identity.config_hash), canonical_json(experiment.spec.identity()))
    monkeypatch.setattr(stored, "VERSIONS", Versions(1, {**stored.VERSIONS.models, "ridge": 99}))
    with raises(StageFailed, code="versions-differ", expected=experiment.identity.config_hash):
        load_experiment(store, experiment.identity.config_hash, experiment.identity.data_hash)


def test_an_experiment_of_an_older_format_is_read_and_has_another_hash() -> None:
    experiment, store = small_experiment()
    store.create(layout.spec(CONFIG), canonical_json({**experiment.spec.identity(), "v": 1}))
    assert load_stored_spec(store, CONFIG).identity() == experiment.spec.identity()
    with raises(StageFailed, code="versions-differ", expected=CONFIG, found=experiment.identity.config_hash):
        load_experiment(store, CONFIG, experiment.identity.data_hash)


def test_every_spec_of_the_store_of_the_version_before_is_read_and_none_is_run() -> None:
    store = golden_store()
    claims = [key for key in store.list("runs/") if key.endswith("/claim.json")]
    assert claims
    for key in claims:
        config_hash, data_hash = key.split("/")[1], as_json(store, key)["data_hash"]
        written = as_json(store, layout.spec(config_hash))
        read = load_stored_spec(store, config_hash)
        assert (written["v"], read.v) == (1, 2)
        assert read.identity()["models"] == written["models"]
        with raises(StageFailed, code="versions-differ", expected=config_hash):
            load_experiment(store, config_hash, data_hash)


CONFIG = digest("config")


@pytest.mark.parametrize(
    ("stored", "code", "fields"),
    [
        (b"", "record-damaged", ()),
        (b"[]", "record-damaged", ()),
        (b"[" * 5000, "record-damaged", ()),
        ({"v": 3}, "record-newer", None),
        ({"v": 2, "task": {"horizon": 0}}, "record-damaged", ("task.horizon",)),
        ({"v": 1, "models": {"ridge": {"alpha": 1}}}, "record-damaged", ("models.ridge.alpha",)),
        ({"v": 1, "models": {"ridge": 3}}, "record-damaged", ("models.ridge",)),
        ({"v": 1, "models": {"../x": {}}}, "record-damaged", ("models.../x",)),
        ({"v": 1, "models": ["ridge"]}, "record-damaged", ("models",)),
    ],
)
def test_a_stored_spec_that_cannot_be_read_is_damaged_and_names_its_fields(
    stored: bytes | Mapping[str, object], code: str, fields: tuple[str, ...] | None
) -> None:
    store, key = memory_store(), layout.spec(CONFIG)
    store.create(key, stored if isinstance(stored, bytes) else json.dumps(stored).encode())
    with raises(DamagedObject, code=code, key=key, fields=fields):
        load_stored_spec(store, CONFIG)


def test_only_a_model_that_no_package_provides_is_a_package_to_install() -> None:
    store = memory_store()
    store.create(layout.spec(CONFIG), b'{"v":1,"models":{"gone":{"rows":24},"ridge":{}}}')
    with raises(UsageError, code="model-not-installed", model="gone", config_hash=CONFIG):
        load_stored_spec(store, CONFIG)
