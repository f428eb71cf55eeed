"""Spec and experiment of a run, loaded from the store alone."""

from __future__ import annotations

import pytest
from tests.support.experiments import small_experiment
from tests.support.raising import raises

from flts.contracts import layout
from flts.contracts.canonical import canonical_json
from flts.contracts.errors import (
    DamagedObject,
    StageFailed,
)
from flts.runner import stored
from flts.runner.stored import load_experiment
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
