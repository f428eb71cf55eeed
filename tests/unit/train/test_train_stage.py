"""The train stage: order of writes, what a repetition does, and how differences are reported."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.support.experiments import small_experiment, small_spec
from tests.support.raising import raises
from tests.support.series import hourly
from tests.support.stored import without

from flts.backends.store import ObjectStoreAdapter, memory_store
from flts.contracts import events, failpoints, layout
from flts.contracts.canonical import canonical_json, sha256
from flts.contracts.errors import DamagedObject, DataError, NotApplicable
from flts.contracts.ports import Silent, Store
from flts.forecasting.bundle import MANIFEST, SCORES, load_bundle
from flts.forecasting.tables import forecasts_from_parquet
from flts.models.base import History
from flts.models.ridge import Ridge
from flts.preprocess.parquet import from_parquet, to_parquet
from flts.serve.batch import forecast_batch
from flts.spec.fields import Spec
from flts.train.determinism import made_on
from flts.train.experiment import Experiment
from flts.train.stage import Trained, model_spec, stored_result, task_of, train

POINTS = ("bundle", "manifest", "validation", "result", "forecasts", "windows_result")


class Phases(Silent):
    def __init__(self) -> None:
        self.names: list[str] = []

    def phase(self, name: str) -> None:
        self.names.append(name)


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The structured log of a test."""
    stream = io.StringIO()
    events.configure("json", stream)
    yield stream
    events.configure("off")


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    """The log lines of the train stage."""
    return [line for line in map(json.loads, log.getvalue().splitlines()) if line["service"] == "train"]


def prepared(**tables: dict[str, Any]) -> tuple[Experiment, Store]:
    return small_experiment(small_spec(("ridge",), **tables))


def train_ridge(experiment: Experiment, store: Store, progress: Phases | None = None, **options: bool) -> Trained:
    model = model_spec(experiment.spec, experiment.identity, "ridge")
    return train(experiment.dataset, model, experiment.windows, store, progress, **options)


def objects(store: Store) -> dict[str, bytes | None]:
    return {key: store.get(key) for key in store.list("") if not key.startswith("processed-data/")}


def result_key(experiment: Experiment) -> str:
    return layout.model_result(experiment.identity.model_hashes["ridge"])


def tamper(store: Store, key: str, **changes: Any) -> dict[str, Any]:
    """Replace fields of a stored JSON object, as only damage could."""
    value: dict[str, Any] = {**json.loads(store.get(key) or b""), **changes}
    store.replace(key, canonical_json(value))
    return value


def test_a_first_training_reports_every_phase_in_order() -> None:
    told = Phases()
    trained = train_ridge(*prepared(), told)
    assert told.names == ["fit", "validate", "refit", "save", "forecast"]
    assert trained.fitted
    assert trained.recomputed is None


def test_each_result_is_written_after_the_objects_it_commits() -> None:
    experiment, inner = prepared()
    created: list[str] = []

    class Ordered(ObjectStoreAdapter):
        def create(self, key: str, data: bytes) -> bool:
            created.append(key)
            return super().create(key, data)

    assert isinstance(inner, ObjectStoreAdapter)
    trained = train_ridge(experiment, Ordered(inner.url, inner._store))
    model_hash, windows_hash = trained.model_hash, experiment.windows.windows_hash
    assert created == [
        layout.bundle(trained.bundle_sha256, "coefficients.safetensors"),
        layout.bundle(trained.bundle_sha256, SCORES),
        layout.bundle(trained.bundle_sha256, MANIFEST),
        layout.validation(model_hash),
        layout.model_result(model_hash),
        layout.forecasts(model_hash, windows_hash),
        layout.windows_result(model_hash, windows_hash),
    ]


def test_the_results_hold_the_digests_of_the_objects_they_commit() -> None:
    experiment, store = prepared()
    trained = train_ridge(experiment, store)
    model_hash, windows_hash = trained.model_hash, experiment.windows.windows_hash
    result = json.loads(store.get(layout.model_result(model_hash)) or b"")
    assert result == {
        "v": 2,
        "model": "ridge",
        "model_hash": model_hash,
        "bundle_sha256": trained.bundle_sha256,
        "validation_sha256": sha256(store.get(layout.validation(model_hash)) or b""),
        "chosen": dict(trained.chosen),
        "refit": True,
        "curve": [],
        "made_on": MADE_HERE,
    }
    assert json.loads(store.get(layout.windows_result(model_hash, windows_hash)) or b"") == {
        "v": 1,
        "model_hash": model_hash,
        "windows_hash": windows_hash,
        "forecasts_sha256": sha256(store.get(layout.forecasts(model_hash, windows_hash)) or b""),
        "windows": len(experiment.windows.indices),
    }


def test_the_stored_forecasts_have_bounds_around_them_in_every_window() -> None:
    experiment, store = prepared()
    trained = train_ridge(experiment, store)
    values = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)
    assert (values["lower"] < values["y_hat"]).all()
    assert (values["y_hat"] < values["upper"]).all()
    assert values["y_hat"].shape == (len(experiment.windows.indices), 3, 1)


def test_the_stored_validation_forecasts_are_those_of_the_last_train_windows() -> None:
    experiment, store = prepared()
    trained = train_ridge(experiment, store)
    train_rows = experiment.dataset.train
    validation = max(-(-(240 - 12 - 3 + 1) // 10), 20)
    origins = train_rows.times[240 - 3 - validation : 240 - 3]
    data = store.get(layout.validation(trained.model_hash)) or b""
    assert list(forecasts_from_parquet(data, origins, ("load",), 3, key="k")) == ["y_hat"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", POINTS)
def test_after_a_crash_at_any_point_a_second_run_completes_the_same_objects(point: str, when: str) -> None:
    experiment, store = prepared()
    train_ridge(experiment, store)
    undisturbed = objects(store)
    again, disturbed = prepared()
    failpoints.arm(f"train.{point}.{when}=error")
    with pytest.raises(OSError, match=f"failpoint train.{point}.{when}"):
        train_ridge(again, disturbed)
    partial = objects(disturbed)
    assert partial.items() <= undisturbed.items()
    whole = (point, when) == ("windows_result", "after")
    assert (partial == undisturbed) is whole
    stored = stored_result(
        disturbed, "ridge", experiment.identity.model_hashes["ridge"], experiment.windows.windows_hash
    )
    assert (stored is not None) is whole
    told = Phases()
    train_ridge(again, disturbed, told)
    assert objects(disturbed) == undisturbed
    committed = point in POINTS[4:] or (point, when) == ("result", "after")
    assert ("fit" not in told.names) is committed


@pytest.mark.parametrize("point", POINTS)
def test_no_object_is_written_before_the_objects_it_names(point: str) -> None:
    experiment, store = prepared()
    failpoints.arm(f"train.{point}.before=error")
    with pytest.raises(OSError, match="failpoint"):
        train_ridge(experiment, store)
    stored = objects(store)
    manifests = [key for key in stored if key.endswith(MANIFEST)]
    results = [key for key in stored if key == result_key(experiment)]
    assert len(manifests) == (point not in {"bundle", "manifest"})
    assert len(results) == (point in {"forecasts", "windows_result"})
    for key in manifests:
        folder = key.removesuffix(MANIFEST)
        assert {folder + file for file in json.loads(stored[key] or b"")["files"]} <= {*stored}
    for key in results:
        named = json.loads(stored[key] or b"")
        assert layout.bundle(named["bundle_sha256"], MANIFEST) in stored
        assert layout.validation(named["model_hash"]) in stored


def refuse_to_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*arguments: Any) -> None:
        raise AssertionError("the model was fitted again")

    monkeypatch.setattr(Ridge, "fit", fit)


def test_a_repetition_fits_and_forecasts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, store = prepared()
    first, before = train_ridge(experiment, store), objects(store)
    refuse_to_fit(monkeypatch)
    told = Phases()
    second = train_ridge(experiment, store, told)
    assert told.names == []
    assert not second.fitted
    assert (second.bundle_sha256, second.forecasts_sha256) == (first.bundle_sha256, first.forecasts_sha256)
    assert second == stored_result(store, "ridge", first.model_hash, experiment.windows.windows_hash)
    assert objects(store) == before


def test_new_windows_are_forecast_from_the_stored_bundle_without_a_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, store = prepared()
    first = train_ridge(experiment, store)
    fewer, _ = prepared(evaluate={"windows": 7})
    assert fewer.identity.model_hashes == experiment.identity.model_hashes
    assert fewer.windows.windows_hash != experiment.windows.windows_hash
    refuse_to_fit(monkeypatch)
    told = Phases()
    second = train_ridge(fewer, store, told)
    assert told.names == ["forecast"]
    assert not second.fitted
    assert second.bundle_sha256 == first.bundle_sha256
    some = fewer.forecasts(store, second.model_hash, second.forecasts_sha256)["y_hat"]
    every = experiment.forecasts(store, first.model_hash, first.forecasts_sha256)["y_hat"]
    positions = [experiment.windows.indices.tolist().index(i) for i in fewer.windows.indices.tolist()]
    assert abs(some - every[positions]).max() < 1e-9


def test_recomputing_fits_again_and_finds_the_same_result(log: io.StringIO) -> None:
    experiment, store = prepared()
    first, before = train_ridge(experiment, store), objects(store)
    told = Phases()
    second = train_ridge(experiment, store, told, recompute=True)
    assert told.names == ["fit", "validate", "refit", "save", "forecast"]
    assert (second.fitted, second.recomputed) == (True, "equal")
    assert second.bundle_sha256 == first.bundle_sha256
    assert objects(store) == before
    assert lines(log) == []


def test_recomputing_without_a_stored_result_is_a_first_training() -> None:
    experiment, store = prepared()
    train_ridge(experiment, store)
    other, recomputed = prepared()
    trained = train_ridge(other, recomputed, recompute=True)
    assert objects(recomputed) == objects(store)
    assert trained.fitted
    assert trained.recomputed is None, "nothing was stored, so nothing was compared"


def test_recomputing_for_new_windows_compares_the_fit() -> None:
    experiment, store = prepared()
    train_ridge(experiment, store)
    fewer, _ = prepared(evaluate={"windows": 7})
    assert train_ridge(fewer, store, recompute=True).recomputed == "equal"


MADE_HERE = made_on(()).model_dump()
ELSEWHERE: Mapping[str, Any] = {"libraries": {"numpy": "0.1"}, "processor": "abacus"}


@pytest.mark.parametrize("changes", [{}, {"made_on": ELSEWHERE}], ids=["made here", "made elsewhere"])
def test_recomputing_does_not_compare_libraries_and_processor(changes: dict[str, Any], log: io.StringIO) -> None:
    experiment, store = prepared()
    train_ridge(experiment, store)
    stored = tamper(store, result_key(experiment), **changes)
    assert train_ridge(experiment, store, recompute=True).recomputed == "equal"
    assert json.loads(store.get(result_key(experiment)) or b"") == stored
    assert lines(log) == []


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "nondeterminism_detected"),
        ({"made_on": ELSEWHERE}, "environment_differs"),
        ({"made_on": {**MADE_HERE, "processor": "abacus"}}, "environment_differs"),
        ({"made_on": {**MADE_HERE, "libraries": {"numpy": "0.1"}}}, "environment_differs"),
        ({"made_on": {**MADE_HERE, "kernels": {"blas of numpy": "openblas Prescott"}}}, "environment_differs"),
        ({"made_on": {name: MADE_HERE[name] for name in ("libraries", "processor")}}, "environment_differs"),
    ],
    ids=["made here", "made elsewhere", "other processor", "other libraries", "other kernels", "of version 1"],
)
@pytest.mark.parametrize("field", ["chosen", "validation_sha256"])
def test_a_difference_is_blamed_on_the_environment_if_it_differs_and_the_first_result_stays(
    field: str, changes: dict[str, Any], verdict: str, log: io.StringIO
) -> None:
    experiment, store = prepared()
    train_ridge(experiment, store)
    other: Any = {"alpha": 7.0} if field == "chosen" else "0" * 64
    stored = tamper(store, result_key(experiment), **{field: other}, **changes)
    trained = train_ridge(experiment, store, recompute=True)
    assert trained.recomputed == verdict
    assert json.loads(store.get(result_key(experiment)) or b"") == stored
    (line,) = lines(log)
    assert (line["event"], line["model_type"]) == (verdict, "RIDGE")
    if verdict == "nondeterminism_detected":
        assert line["fields"] == [field]
    else:
        assert line["first"] == stored["made_on"]
        assert line["now"] == MADE_HERE


@pytest.mark.parametrize(
    ("changes", "verdict"), [({}, "nondeterminism_detected"), ({"made_on": ELSEWHERE}, "environment_differs")]
)
def test_other_forecasts_are_a_difference_too(changes: dict[str, Any], verdict: str, log: io.StringIO) -> None:
    experiment, store = prepared()
    first = train_ridge(experiment, store)
    tamper(store, result_key(experiment), **changes)
    key = layout.forecasts(first.model_hash, experiment.windows.windows_hash)
    store.replace(key, b"other bytes")
    trained = train_ridge(experiment, store, recompute=True)
    assert trained.recomputed == verdict
    assert trained.forecasts_sha256 == first.forecasts_sha256
    assert store.get(key) == b"other bytes"
    assert [line["event"] for line in lines(log)] == [verdict]


def lost_race(monkeypatch: pytest.MonkeyPatch, experiment: Experiment, store: Store, first: dict[str, Any]) -> None:
    """Let another trainer commit its result during this fit."""
    fit = Ridge.fit

    def slower(self: Ridge, *arguments: Any) -> Any:
        store.create(result_key(experiment), canonical_json(first))
        return fit(self, *arguments)

    monkeypatch.setattr(Ridge, "fit", slower)


def test_a_trainer_that_loses_a_race_returns_the_equal_result_of_the_winner(
    monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    experiment, store = prepared()
    train_ridge(experiment, store)
    winner = json.loads(store.get(result_key(experiment)) or b"")
    again, raced = prepared()
    lost_race(monkeypatch, again, raced, {**winner, "made_on": ELSEWHERE})
    trained = train_ridge(again, raced)
    assert trained.bundle_sha256 == winner["bundle_sha256"]
    assert json.loads(raced.get(result_key(experiment)) or b"")["made_on"] == ELSEWHERE
    assert lines(log) == []


def test_a_trainer_that_loses_a_race_reports_a_different_result_and_keeps_it(
    monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    experiment, store = prepared()
    train_ridge(experiment, store)
    winner = {**json.loads(store.get(result_key(experiment)) or b""), "chosen": {"alpha": 7.0}}
    again, raced = prepared()
    lost_race(monkeypatch, again, raced, winner)
    trained = train_ridge(again, raced)
    assert trained.chosen == {"alpha": 7.0}
    assert json.loads(raced.get(result_key(experiment)) or b"") == winner
    assert [line["event"] for line in lines(log)] == ["nondeterminism_detected"]


def test_a_model_with_too_little_history_is_refused_before_it_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, store = prepared()
    refuse_to_fit(monkeypatch)
    monkeypatch.setattr(Ridge, "history", lambda self, task: History(1000, 1000))
    with raises(NotApplicable, code="history-too-short", expected=1000, found=240):
        train_ridge(experiment, store)
    assert objects(store) == {}


def test_a_stored_result_without_its_bundle_is_damage_and_not_fitted_again() -> None:
    experiment, store = prepared()
    trained = train_ridge(experiment, store)
    partial = memory_store()
    for key in store.list(""):
        if not key.startswith("bundles/") and "/windows/" not in key:
            partial.create(key, store.get(key) or b"")
    with pytest.raises(DamagedObject, match=layout.bundle(trained.bundle_sha256, MANIFEST)):
        train_ridge(experiment, partial)


@pytest.mark.parametrize("missing", ["result", "windows_result"])
def test_a_result_counts_as_stored_only_with_both_commit_points(missing: str) -> None:
    experiment, store = prepared()
    trained = train_ridge(experiment, store)
    names = {
        "result": layout.model_result(trained.model_hash),
        "windows_result": layout.windows_result(trained.model_hash, experiment.windows.windows_hash),
    }
    partial = memory_store()
    for name, key in names.items():
        if name != missing:
            partial.create(key, store.get(key) or b"")
    assert stored_result(partial, "ridge", trained.model_hash, experiment.windows.windows_hash) is None


def test_seasons_come_from_the_spec_or_are_inferred_from_the_rows() -> None:
    with_seasons: Spec = small_spec(("ridge",), task={"seasons": [6, 48]})
    for spec, expected in ((small_spec(), (24,)), (with_seasons, (6, 48))):
        experiment, _ = small_experiment(spec)
        model = model_spec(spec, experiment.identity, "ridge")
        assert task_of(experiment.dataset, model.task).seasons == experiment.task.seasons == expected


def test_too_few_train_rows_to_validate_are_refused_for_the_whole_experiment() -> None:
    with raises(DataError, code="train-too-short", windows=2):
        small_experiment(rows=hourly(76), test=60)


def test_changed_forecasts_are_refused() -> None:
    experiment, store = prepared()
    trained = train_ridge(experiment, store)
    key = layout.forecasts(trained.model_hash, experiment.windows.windows_hash)
    store.replace(key, (store.get(key) or b"") + b" ")
    with raises(DamagedObject, code="digest-differs", key=key):
        experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda frame: frame.clear(), "forecasts-of-other-windows"),
        (lambda frame: frame.drop("upper"), "table-differs"),
        (lambda frame: frame.with_columns(pl.col("y_hat") + 0.01), "table-differs"),
        (lambda frame: frame.with_columns(upper=pl.lit(None, pl.Float64)), "table-differs"),
    ],
    ids=["no rows", "no upper bounds", "other forecasts", "empty upper bounds"],
)
def test_forecasts_without_their_result_that_are_not_those_of_the_bundle_are_not_committed(
    change: Callable[[pl.DataFrame], pl.DataFrame], code: str
) -> None:
    experiment, store, key, commit = without_commit_point()
    store.replace(key, to_parquet(change(from_parquet(store.get(key) or b"", key=key))))
    with raises(DamagedObject, code=code, key=key):
        train_ridge(experiment, store)
    assert not store.exists(commit)


def test_forecasts_without_their_result_may_differ_in_the_last_digits() -> None:
    experiment, store, key, commit = without_commit_point()
    other = to_parquet(from_parquet(store.get(key) or b"", key=key).with_columns(pl.col("y_hat") * (1.0 + 1e-15)))
    store.replace(key, other)
    assert train_ridge(experiment, store).forecasts_sha256 == sha256(other)
    assert store.exists(commit)


def without_commit_point() -> tuple[Experiment, Store, str, str]:
    """A trained model whose test forecasts lack their result, as after a crash; the keys of both."""
    experiment, store = prepared()
    trained = train_ridge(experiment, store)
    names = (trained.model_hash, experiment.windows.windows_hash)
    key, commit = layout.forecasts(*names), layout.windows_result(*names)
    return experiment, without(store, commit), key, commit


def test_validation_forecasts_of_an_interrupted_fit_are_reported_as_a_difference(log: io.StringIO) -> None:
    experiment, store = prepared()
    key = layout.validation(experiment.identity.model_hashes["ridge"])
    store.create(key, b"of a fit that was cut off")
    train_ridge(experiment, store)
    assert json.loads(store.get(result_key(experiment)) or b"")["validation_sha256"] == sha256(
        b"of a fit that was cut off"
    )
    (line,) = lines(log)
    assert line["fields"] == ["validation_sha256"]


@pytest.mark.parametrize(("bounds", "limits"), [("auto", (0.0, None)), ("off", (None, None)), ([1, 5.5], (1.0, 5.5))])
def test_bounds_are_resolved_on_train_and_hold_for_test_windows_and_requests(
    bounds: Any, limits: tuple[float | None, float | None]
) -> None:
    rows = hourly(300)
    rows.values[:, 0] = np.maximum(rows.values[:, 0] - 52.0, 0.0)
    experiment, store = small_experiment(small_spec(task={"bounds": bounds}), rows)
    trained = train_ridge(experiment, store)
    bundle = load_bundle(store, trained.bundle_sha256)
    assert bundle.manifest.bounds == [list(limits)]
    values = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)
    batch = forecast_batch(bundle, rows)
    found = [*(values[name] for name in ("y_hat", "lower", "upper")), batch.mean, batch.lower, batch.upper]
    smallest, largest = min(map(np.min, found)), max(map(np.max, found))
    assert smallest == limits[0] if limits[0] is not None else smallest < 0.0
    assert largest == limits[1] if limits[1] is not None else largest > 0.0
