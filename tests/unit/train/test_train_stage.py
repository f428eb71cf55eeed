"""The train stage: what is written in which order, what a second time finds, and what a difference is called."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from tests.support.experiments import small_experiment, small_spec
from tests.support.series import hourly

from flts.backends.store import ObjectStoreAdapter, memory_store
from flts.contracts import events, failpoints, layout
from flts.contracts.canonical import canonical_json, sha256
from flts.contracts.errors import DamagedObject, DataError, NotApplicable
from flts.contracts.ports import Silent, Store
from flts.forecasting.bundle import MANIFEST
from flts.forecasting.tables import forecasts_from_parquet
from flts.models.base import History
from flts.models.ridge import Ridge
from flts.spec.fields import Spec
from flts.train.determinism import made_on
from flts.train.experiment import Experiment
from flts.train.stage import Trained, model_spec, stored_result, train

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
    """What the train stage said."""
    return [line for line in map(json.loads, log.getvalue().splitlines()) if line["service"] == "train"]


def prepared(**tables: dict[str, Any]) -> tuple[Experiment, Store]:
    return small_experiment(small_spec(("ridge",), **tables))


def do(experiment: Experiment, store: Store, progress: Phases | None = None, **options: bool) -> Trained:
    model = model_spec(experiment.spec, experiment.identity, "ridge")
    return train(experiment.dataset, model, experiment.windows, store, progress, **options)


def objects(store: Store) -> dict[str, bytes | None]:
    return {key: store.get(key) for key in store.list("") if not key.startswith("processed-data/")}


def result_key(experiment: Experiment) -> str:
    return layout.model_result(experiment.identity.model_hashes["ridge"])


def tamper(store: Store, key: str, **changes: Any) -> dict[str, Any]:
    """Replace fields of a stored JSON object, as only a fault could."""
    value: dict[str, Any] = {**json.loads(store.get(key) or b""), **changes}
    store.replace(key, canonical_json(value))
    return value


def test_a_first_time_goes_through_every_phase_in_order() -> None:
    told = Phases()
    trained = do(*prepared(), told)
    assert told.names == ["fit", "validate", "refit", "save", "forecast"]
    assert trained.fitted
    assert trained.recomputed is None


def test_what_is_written_is_the_bundle_then_its_result_then_the_forecasts_then_theirs() -> None:
    experiment, inner = prepared()
    created: list[str] = []

    class Ordered(ObjectStoreAdapter):
        def create(self, key: str, data: bytes) -> bool:
            created.append(key)
            return super().create(key, data)

    assert isinstance(inner, ObjectStoreAdapter)
    trained = do(experiment, Ordered(inner.url, inner._store))
    model_hash, windows_hash = trained.model_hash, experiment.windows.windows_hash
    assert created == [
        layout.bundle(trained.bundle_sha256, "coefficients.safetensors"),
        layout.bundle(trained.bundle_sha256, MANIFEST),
        layout.validation(model_hash),
        layout.model_result(model_hash),
        layout.forecasts(model_hash, windows_hash),
        layout.windows_result(model_hash, windows_hash),
    ]


def test_the_results_hold_digests_of_what_they_commit_and_nothing_of_when_or_where() -> None:
    experiment, store = prepared()
    trained = do(experiment, store)
    model_hash, windows_hash = trained.model_hash, experiment.windows.windows_hash
    result = json.loads(store.get(layout.model_result(model_hash)) or b"")
    assert result == {
        "v": 1,
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


def test_the_stored_forecasts_are_of_these_windows_with_bounds_around_them() -> None:
    experiment, store = prepared()
    trained = do(experiment, store)
    values = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)
    assert (values["lower"] < values["y_hat"]).all()
    assert (values["y_hat"] < values["upper"]).all()
    assert values["y_hat"].shape == (len(experiment.windows.indices), 3, 1)


def test_the_validation_forecasts_are_of_the_tail_of_train() -> None:
    experiment, store = prepared()
    trained = do(experiment, store)
    train_rows = experiment.dataset.train
    tail = max(-(-(240 - 12 - 3 + 1) // 10), 20)
    origins = train_rows.times[240 - 3 - tail : 240 - 3]
    data = store.get(layout.validation(trained.model_hash)) or b""
    assert list(forecasts_from_parquet(data, origins, ("load",), 3)) == ["y_hat"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", POINTS)
def test_after_a_crash_at_any_point_a_second_run_leaves_what_an_undisturbed_one_does(point: str, when: str) -> None:
    experiment, store = prepared()
    do(experiment, store)
    undisturbed = objects(store)
    again, disturbed = prepared()
    failpoints.arm(f"train.{point}.{when}=error")
    with pytest.raises(OSError, match=f"failpoint train.{point}.{when}"):
        do(again, disturbed)
    partial = objects(disturbed)
    assert partial.items() <= undisturbed.items()
    whole = (point, when) == ("windows_result", "after")
    assert (partial == undisturbed) is whole
    stored = stored_result(
        disturbed, "ridge", experiment.identity.model_hashes["ridge"], experiment.windows.windows_hash
    )
    assert (stored is not None) is whole
    told = Phases()
    do(again, disturbed, told)
    assert objects(disturbed) == undisturbed
    committed = point in POINTS[4:] or (point, when) == ("result", "after")
    assert ("fit" not in told.names) is committed


@pytest.mark.parametrize("point", POINTS)
def test_nothing_is_committed_before_what_it_names_is_there(point: str) -> None:
    experiment, store = prepared()
    failpoints.arm(f"train.{point}.before=error")
    with pytest.raises(OSError, match="failpoint"):
        do(experiment, store)
    found = objects(store)
    manifests = [key for key in found if key.endswith(MANIFEST)]
    results = [key for key in found if key == result_key(experiment)]
    assert len(manifests) == (point not in {"bundle", "manifest"})
    assert len(results) == (point in {"forecasts", "windows_result"})
    for key in manifests:
        folder = key.removesuffix(MANIFEST)
        assert {folder + file for file in json.loads(found[key] or b"")["files"]} <= {*found}
    for key in results:
        named = json.loads(found[key] or b"")
        assert layout.bundle(named["bundle_sha256"], MANIFEST) in found
        assert layout.validation(named["model_hash"]) in found


def refuse_to_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*arguments: Any) -> None:
        raise AssertionError("it was fitted again")

    monkeypatch.setattr(Ridge, "fit", fit)


def test_a_second_time_fits_and_forecasts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, store = prepared()
    first, before = do(experiment, store), objects(store)
    refuse_to_fit(monkeypatch)
    told = Phases()
    second = do(experiment, store, told)
    assert told.names == []
    assert not second.fitted
    assert (second.bundle_sha256, second.forecasts_sha256) == (first.bundle_sha256, first.forecasts_sha256)
    assert second == stored_result(store, "ridge", first.model_hash, experiment.windows.windows_hash)
    assert objects(store) == before


def test_a_known_model_forecasts_new_windows_from_its_bundle_and_fits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, store = prepared()
    first = do(experiment, store)
    fewer, _ = prepared(evaluate={"windows": 7})
    assert fewer.identity.model_hashes == experiment.identity.model_hashes
    assert fewer.windows.windows_hash != experiment.windows.windows_hash
    refuse_to_fit(monkeypatch)
    told = Phases()
    second = do(fewer, store, told)
    assert told.names == ["forecast"]
    assert not second.fitted
    assert second.bundle_sha256 == first.bundle_sha256
    some = fewer.forecasts(store, second.model_hash, second.forecasts_sha256)["y_hat"]
    every = experiment.forecasts(store, first.model_hash, first.forecasts_sha256)["y_hat"]
    positions = [experiment.windows.indices.tolist().index(i) for i in fewer.windows.indices.tolist()]
    assert abs(some - every[positions]).max() < 1e-9


def test_recomputing_fits_again_and_finds_the_same_result(log: io.StringIO) -> None:
    experiment, store = prepared()
    first, before = do(experiment, store), objects(store)
    told = Phases()
    second = do(experiment, store, told, recompute=True)
    assert told.names == ["fit", "validate", "refit", "save", "forecast"]
    assert (second.fitted, second.recomputed) == (True, "equal")
    assert second.bundle_sha256 == first.bundle_sha256
    assert objects(store) == before
    assert lines(log) == []


def test_recomputing_what_was_never_computed_is_a_first_time_with_all_its_objects() -> None:
    experiment, store = prepared()
    do(experiment, store)
    other, recomputed = prepared()
    trained = do(other, recomputed, recompute=True)
    assert objects(recomputed) == objects(store)
    assert trained.fitted
    assert trained.recomputed is None, "nothing stood, so nothing was compared"


def test_recomputing_a_known_model_for_new_windows_compares_the_fit() -> None:
    experiment, store = prepared()
    do(experiment, store)
    fewer, _ = prepared(evaluate={"windows": 7})
    assert do(fewer, store, recompute=True).recomputed == "equal"


MADE_HERE = made_on(()).model_dump()
OTHER_PLACE: Mapping[str, Any] = {"libraries": {"numpy": "0.1"}, "processor": "abacus"}


@pytest.mark.parametrize("changes", [{}, {"made_on": OTHER_PLACE}], ids=["same place", "other place"])
def test_where_a_result_was_made_is_left_out_of_the_comparison(changes: dict[str, Any], log: io.StringIO) -> None:
    experiment, store = prepared()
    do(experiment, store)
    stored = tamper(store, result_key(experiment), **changes)
    assert do(experiment, store, recompute=True).recomputed == "equal"
    assert json.loads(store.get(result_key(experiment)) or b"") == stored
    assert lines(log) == []


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        ({}, "nondeterminism_detected"),
        ({"made_on": OTHER_PLACE}, "environment_differs"),
        ({"made_on": {**MADE_HERE, "processor": "abacus"}}, "environment_differs"),
        ({"made_on": {**MADE_HERE, "libraries": {"numpy": "0.1"}}}, "environment_differs"),
    ],
    ids=["same place", "other place", "other processor", "other libraries"],
)
@pytest.mark.parametrize("field", ["chosen", "validation_sha256"])
def test_a_difference_is_named_by_where_the_first_result_was_made_and_the_first_stays(
    field: str, made: dict[str, Any], verdict: str, log: io.StringIO
) -> None:
    experiment, store = prepared()
    do(experiment, store)
    other: Any = {"alpha": 7.0} if field == "chosen" else "0" * 64
    stored = tamper(store, result_key(experiment), **{field: other}, **made)
    trained = do(experiment, store, recompute=True)
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
    ("made", "verdict"), [({}, "nondeterminism_detected"), ({"made_on": OTHER_PLACE}, "environment_differs")]
)
def test_forecasts_that_differ_on_recomputing_are_a_difference_too(
    made: dict[str, Any], verdict: str, log: io.StringIO
) -> None:
    experiment, store = prepared()
    first = do(experiment, store)
    tamper(store, result_key(experiment), **made)
    key = layout.forecasts(first.model_hash, experiment.windows.windows_hash)
    store.replace(key, b"other bytes")
    trained = do(experiment, store, recompute=True)
    assert trained.recomputed == verdict
    assert trained.forecasts_sha256 == first.forecasts_sha256
    assert store.get(key) == b"other bytes"
    assert [line["event"] for line in lines(log)] == [verdict]


def lost_race(monkeypatch: pytest.MonkeyPatch, experiment: Experiment, store: Store, first: dict[str, Any]) -> None:
    """Someone else commits their result while this one is being fitted."""
    fit = Ridge.fit

    def slower(self: Ridge, *arguments: Any) -> Any:
        store.create(result_key(experiment), canonical_json(first))
        return fit(self, *arguments)

    monkeypatch.setattr(Ridge, "fit", slower)


def test_the_loser_of_a_race_takes_the_equal_result_of_the_winner(
    monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    experiment, store = prepared()
    do(experiment, store)
    winner = json.loads(store.get(result_key(experiment)) or b"")
    again, raced = prepared()
    lost_race(monkeypatch, again, raced, {**winner, "made_on": OTHER_PLACE})
    trained = do(again, raced)
    assert trained.bundle_sha256 == winner["bundle_sha256"]
    assert json.loads(raced.get(result_key(experiment)) or b"")["made_on"] == OTHER_PLACE
    assert lines(log) == []


def test_the_loser_of_a_race_to_another_result_says_so_and_leaves_it(
    monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    experiment, store = prepared()
    do(experiment, store)
    winner = {**json.loads(store.get(result_key(experiment)) or b""), "chosen": {"alpha": 7.0}}
    again, raced = prepared()
    lost_race(monkeypatch, again, raced, winner)
    trained = do(again, raced)
    assert trained.chosen == {"alpha": 7.0}
    assert json.loads(raced.get(result_key(experiment)) or b"") == winner
    assert [line["event"] for line in lines(log)] == ["nondeterminism_detected"]


def test_a_model_below_its_minimum_is_refused_before_it_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, store = prepared()
    refuse_to_fit(monkeypatch)
    monkeypatch.setattr(Ridge, "history", lambda self, task: History(1000, 1000))
    with pytest.raises(NotApplicable, match=r"needs 1000 rows of history, has 252 at the first test origin"):
        do(experiment, store)
    assert objects(store) == {}


def test_a_stored_result_whose_bundle_is_gone_is_damage_not_a_reason_to_fit_again() -> None:
    experiment, store = prepared()
    do(experiment, store)
    partial = memory_store()
    for key in store.list(""):
        if not key.startswith("bundles/") and "/windows/" not in key:
            partial.create(key, store.get(key) or b"")
    with pytest.raises(DamagedObject, match="is absent"):
        do(experiment, partial)


@pytest.mark.parametrize("missing", ["result", "windows_result"])
def test_a_result_counts_as_stored_only_with_both_of_its_commits(missing: str) -> None:
    experiment, store = prepared()
    trained = do(experiment, store)
    names = {
        "result": layout.model_result(trained.model_hash),
        "windows_result": layout.windows_result(trained.model_hash, experiment.windows.windows_hash),
    }
    partial = memory_store()
    for name, key in names.items():
        if name != missing:
            partial.create(key, store.get(key) or b"")
    assert stored_result(partial, "ridge", trained.model_hash, experiment.windows.windows_hash) is None


def test_a_candidate_takes_the_seasons_of_the_spec_or_those_of_the_rows() -> None:
    given: Spec = small_spec(("ridge",), task={"seasons": [6, 48]})
    for spec, expected in ((small_spec(), (24,)), (given, (6, 48))):
        experiment, _ = small_experiment(spec)
        model = model_spec(spec, experiment.identity, "ridge")
        assert model.task(experiment.dataset).seasons == experiment.task.seasons == expected


def test_train_rows_too_few_to_validate_are_refused_for_the_whole_experiment() -> None:
    with pytest.raises(DataError, match=r"train has 2 windows .* too few to fit and to validate"):
        small_experiment(rows=hourly(76), test=60)


def test_stored_forecasts_that_changed_are_refused() -> None:
    experiment, store = prepared()
    trained = do(experiment, store)
    key = layout.forecasts(trained.model_hash, experiment.windows.windows_hash)
    store.replace(key, (store.get(key) or b"") + b" ")
    with pytest.raises(DamagedObject, match=r"forecasts\.parquet in .* is damaged"):
        experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)


def test_validation_forecasts_left_by_another_fit_are_a_difference(log: io.StringIO) -> None:
    experiment, store = prepared()
    key = layout.validation(experiment.identity.model_hashes["ridge"])
    store.create(key, b"of a fit that was cut off")
    do(experiment, store)
    assert json.loads(store.get(result_key(experiment)) or b"")["validation_sha256"] == sha256(
        b"of a fit that was cut off"
    )
    (line,) = lines(log)
    assert line["fields"] == ["validation_sha256"]
