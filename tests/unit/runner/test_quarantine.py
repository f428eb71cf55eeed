"""A damaged result is put aside with its folder, and nothing is removed before its copy is stored."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.experiments import small_experiment
from tests.support.stored import contents, copy, fit, gathered
from tests.support.tracking import context_of

from flts.backends.store import memory_store
from flts.contracts import failpoints, layout
from flts.contracts.canonical import sha256
from flts.contracts.ports import Store
from flts.contracts.records.base import require_record
from flts.contracts.records.model import ModelResult
from flts.contracts.records.run import QuarantineRecord
from flts.runner.quarantine import put_aside
from flts.train.experiment import Experiment
from flts.train.stage import stored_result

TIME = "20260102T030405.000000Z"
Name = Callable[[str, str], str]


@pytest.fixture(scope="module")
def fitted() -> tuple[Experiment, Store]:
    experiment, store = small_experiment()
    fit(store, experiment)
    return experiment, store


@pytest.fixture
def store(fitted: tuple[Experiment, Store]) -> Store:
    """A copy, to be damaged."""
    fresh = memory_store()
    copy(fitted[1], fresh)
    return fresh


def damage(experiment: Experiment, store: Store, name: Name, data: bytes | None = b"null") -> tuple[str, str]:
    """Change or remove an object; returns the key and the folder of the model."""
    model_hash, windows_hash = experiment.identity.model_hashes["ridge"], experiment.identity.windows_hash
    key = name(model_hash, windows_hash)
    if data is None:
        store.erase(key)
    else:
        store.replace(key, data)
    return key, f"models/{model_hash}/"


def of_model(name: Callable[[str], str]) -> Name:
    return lambda model_hash, _: name(model_hash)


MODEL = {"result": layout.model_result, "validation": layout.validation, "latency": layout.latency}
WINDOWS = {"result": layout.windows_result, "forecasts": layout.forecasts}


def test_a_whole_result_stays_where_it_is(fitted: tuple[Experiment, Store], store: Store) -> None:
    before = contents(store)
    put_aside(context_of(store), fitted[0], "ridge")
    assert contents(store) == before


@pytest.mark.parametrize("name", MODEL)
def test_a_damaged_model_goes_aside_with_all_that_was_made_with_it(
    fitted: tuple[Experiment, Store], store: Store, name: str
) -> None:
    experiment = fitted[0]
    key, folder = damage(experiment, store, of_model(MODEL[name]))
    before = contents(store)
    put_aside(context_of(store), experiment, "ridge")
    moved = {old: data for old, data in before.items() if old.startswith(folder)}
    record_key = layout.quarantine_record(TIME, folder)
    record = require_record(store, record_key, QuarantineRecord)
    expected = {old: data for old, data in before.items() if old not in moved}
    expected |= {layout.quarantined(TIME, old): data for old, data in moved.items()}
    assert contents(store) == {**expected, record_key: store.get(record_key)}
    assert record.objects == {old: sha256(data) for old, data in moved.items()}
    assert (record.model, record.environment) == ("ridge", "here")
    assert key in record.reason


@pytest.mark.parametrize(("name", "data"), [("result", b"null"), ("forecasts", b"null"), ("forecasts", None)])
def test_damaged_forecasts_leave_the_model_where_it_is(
    fitted: tuple[Experiment, Store], store: Store, name: str, data: bytes | None
) -> None:
    experiment = fitted[0]
    _, folder = damage(experiment, store, WINDOWS[name], data)
    before = contents(store, folder)
    put_aside(context_of(store), experiment, "ridge")
    assert contents(store, folder) == {old: found for old, found in before.items() if "/windows/" not in old}
    aside = contents(store, f"quarantine/{TIME}/{folder}windows/")
    assert sorted(aside.values()) == sorted([*(f for o, f in before.items() if "/windows/" in o), *records(aside)])


def records(aside: dict[str, bytes]) -> list[bytes]:
    return [data for key, data in aside.items() if key.endswith("/quarantine.json")]


@pytest.mark.parametrize("name", ["object", "record", "remove"])
@pytest.mark.parametrize("side", ["before", "after"])
def test_the_next_recompute_finishes_one_that_was_stopped(
    fitted: tuple[Experiment, Store], store: Store, name: str, side: str
) -> None:
    experiment = fitted[0]
    key, folder = damage(experiment, store, of_model(layout.model_result))
    before = contents(store, folder)
    failpoints.arm(f"quarantine.{name}.{side}=error")
    try:
        with pytest.raises(OSError, match="failpoint"):
            put_aside(context_of(store), experiment, "ridge")
    finally:
        failpoints.arm("")
    assert store.get(key) == b"null"  # the commit point goes last, so that the damage is found again
    put_aside(context_of(store), experiment, "ridge")
    assert contents(store, folder) == {}
    assert {old: store.get(layout.quarantined(TIME, old)) for old in before} == before
    assert stored_result(store, "ridge", folder.split("/")[1], experiment.identity.windows_hash) is None


def in_bundle(fitted: tuple[Experiment, Store], file: str) -> str:
    result = require_record(fitted[1], model_result(fitted[0]), ModelResult)
    return layout.bundle(result.bundle_sha256, file)


def model_result(experiment: Experiment) -> str:
    return layout.model_result(experiment.identity.model_hashes["ridge"])


@pytest.mark.parametrize("file", ["coefficients.safetensors", "manifest.json"])
def test_a_damaged_bundle_goes_aside_and_the_result_stays(
    fitted: tuple[Experiment, Store], store: Store, file: str
) -> None:
    key = in_bundle(fitted, file)
    store.replace(key, b"null")
    before = contents(store)
    put_aside(context_of(store), fitted[0], "ridge")
    moved = {old: data for old, data in before.items() if old.startswith("bundles/")}
    assert contents(store, "bundles/") == {}
    assert {old: store.get(layout.quarantined(TIME, old)) for old in moved} == moved
    assert contents(store, "models/") == {old: data for old, data in before.items() if old.startswith("models/")}


def test_a_result_that_names_no_bundle_goes_aside(fitted: tuple[Experiment, Store], store: Store) -> None:
    key = model_result(fitted[0])
    result = require_record(store, key, ModelResult)
    other = "01"[result.bundle_sha256[0] == "0"] + result.bundle_sha256[1:]
    store.replace(key, result.model_copy(update={"bundle_sha256": other}).to_bytes())
    bundles = contents(store, "bundles/")
    put_aside(context_of(store), fitted[0], "ridge")
    assert not store.exists(key)
    assert contents(store, "bundles/") == bundles


def test_a_number_that_was_changed_in_a_valid_result_is_noticed_and_goes_aside(
    fitted: tuple[Experiment, Store], store: Store
) -> None:
    key = model_result(fitted[0])
    result = require_record(store, key, ModelResult)
    store.replace(key, result.model_copy(update={"chosen": {**result.chosen, "alpha": 0.125}}).to_bytes())
    (candidate,) = gathered(store, fitted[0])
    assert candidate.status == "FAILED"
    assert key in (candidate.reason or "")
    put_aside(context_of(store), fitted[0], "ridge")
    assert not store.exists(key)
