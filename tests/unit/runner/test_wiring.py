"""Backends opened from Settings, and what one candidate of a run goes through."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.experiments import small_experiment, small_spec
from tests.support.services import LONG
from tests.support.stored import (
    Watched,
    contents,
    copy,
    fit,
    gathered,
    put_forecasts,
    put_result,
    put_train_part,
    truth,
    without,
)
from tests.support.tracking import RecordingTracker, claim_of, told, workplace

from flts.backends.one_thread import InOneThread
from flts.contracts import failpoints, layout
from flts.contracts.canonical import canonical_json
from flts.contracts.errors import (
    BackendUnavailable,
    DamagedObject,
    DataError,
    DeadlineExceeded,
    Interrupted,
    Locked,
    MissingExtra,
    NotApplicable,
    StageFailed,
    TrainingFailed,
    UsageError,
)
from flts.contracts.ports import Silent, Store
from flts.contracts.records.base import require_record
from flts.contracts.records.data import ProcessedMeta
from flts.contracts.records.run import ScaledErrors
from flts.evaluate.metrics import measure
from flts.home import locked, open_home
from flts.promotion.judge import yardstick
from flts.promotion.stage import Judged, promote, rollback
from flts.runner import candidate as finishing
from flts.runner import stored
from flts.runner.candidate import finish_model
from flts.runner.claim import claim_run
from flts.runner.judgement import point_tracker, record_judgement
from flts.runner.stored import load_experiment
from flts.settings import Settings, load_settings
from flts.spec.fields import Dataset
from flts.spec.lineage import Versions
from flts.train.determinism import cores
from flts.train.experiment import Experiment
from flts.train.stage import Trained, stored_result
from flts.wiring import RunContext, SystemClock, locked_context, open_raw, open_tracker

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _disarm() -> Iterator[None]:
    yield
    failpoints.arm("")


def settings(home: Path, **values: Any) -> Settings:
    return load_settings(home=home, **{"tracking": "off", **values})


def part(store: Store, experiment: Experiment, name: str, run: int = 1) -> Any:
    return json.loads(store.get(layout.run_part(experiment.identity.config_hash, run, name)) or b"null")


def finish(
    context: RunContext, experiment: Experiment, name: str = "ridge", run: int = 1, scope: str = "global"
) -> Any:
    return finish_model(context, claim_of(experiment, run, scope), experiment, name, Silent(), recompute=False)


# opening


def without_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mlflow" else found(name))


def test_tracking_is_off_when_it_is_switched_off_or_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_tracker(settings(tmp_path, tracking="off")) is None
    without_mlflow(monkeypatch)
    assert open_tracker(settings(tmp_path, tracking="auto")) is None


def test_tracking_that_is_asked_for_and_not_installed_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_mlflow(monkeypatch)
    with pytest.raises(MissingExtra, match=r"tracking = mlflow needs the extra 'mlflow'") as caught:
        open_tracker(settings(tmp_path, tracking="mlflow"))
    assert caught.value.extra == "mlflow"


def test_a_workplace_is_opened_under_the_lock_of_its_folder_and_gives_it_back(tmp_path: Path) -> None:
    home = tmp_path / "a home"
    with locked_context(settings(home)) as context:
        assert context.store.create("a/b", b"x")
        assert (home / "objects" / "a" / "b").read_bytes() == b"x"
        assert (context.environment, context.train_timeout, context.tracker) == ("local", 3600.0, None)
        with pytest.raises(Locked, match="is in use by process"), locked_context(settings(home)):
            pass
    assert context.children.cancelled
    with locked_context(settings(home)) as again:
        assert again.store.get("a/b") == b"x"


def test_a_workplace_waits_for_the_lock_when_it_is_asked_to(tmp_path: Path) -> None:
    held, released = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(open_home(tmp_path)):
            held.set()
            released.wait(timeout=LONG)

    with ThreadPoolExecutor(2) as pool:
        holder = pool.submit(hold)
        held.wait(timeout=LONG)

        def enter() -> bool:
            with locked_context(settings(tmp_path), wait=True):
                return released.is_set()

        waiting = pool.submit(enter)
        released.set()
        holder.result()
        assert waiting.result() is True


@pytest.mark.parametrize(
    ("jobs", "threads", "expected"), [(0, 1, cores()), (0, 10_000, 1), (3, 1, 3), (3, 8, 3), (1, 1, 1)]
)
def test_as_many_trainers_run_at_once_as_jobs_or_the_cores_allow(
    tmp_path: Path, jobs: int, threads: int, expected: int
) -> None:
    with locked_context(settings(tmp_path, jobs=jobs), threads=threads) as context:
        taken = 0
        while context.children.slots.acquire(blocking=False):
            taken += 1
        assert taken == expected


def test_a_store_in_memory_is_refused_because_no_child_could_reach_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lives in one process"), locked_context(settings(tmp_path, store="memory:")):
        pass


def test_the_clock_is_aware_utc() -> None:
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert SystemClock().now() - now < timedelta(hours=1)


def test_raw_files_are_found_relative_to_the_folder_and_by_url(tmp_path: Path) -> None:
    (tmp_path / "da ta").mkdir()
    (tmp_path / "da ta" / "x.csv").write_text("time,load\n2018-01-01,1\n")
    for source in ("da ta", "da ta/", "./da ta", str(tmp_path / "da ta"), (tmp_path / "da ta").as_uri()):
        raw = open_raw(Dataset(name="x", source=source), tmp_path)
        assert raw.train.name == "x.csv"
        assert raw.train.frame()["load"].to_list() == [1]
        assert raw.test is None


def test_a_file_that_is_not_there_is_named_with_the_folder_that_was_searched(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{tmp_path}/data.*: there is no y.csv or y.parquet"):
        open_raw(Dataset(name="y", source="data"), tmp_path)


def test_an_experiment_is_loaded_from_the_store_alone() -> None:
    experiment, store = small_experiment()
    store.create(layout.spec(experiment.identity.config_hash), canonical_json(experiment.spec.identity()))
    found = load_experiment(store, experiment.identity.config_hash, experiment.identity.data_hash)
    assert found.identity == experiment.identity
    assert found.origins.tolist() == experiment.origins.tolist()
    assert found.dataset.train.values.tolist() == experiment.dataset.train.values.tolist()


def test_an_experiment_whose_spec_is_not_stored_is_damaged() -> None:
    experiment, store = small_experiment()
    key = layout.spec(experiment.identity.config_hash)
    with pytest.raises(DamagedObject, match=f"{key} is absent from memory:///"):
        load_experiment(store, experiment.identity.config_hash, experiment.identity.data_hash)


def test_an_experiment_of_other_code_versions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, store = small_experiment()
    store.create(layout.spec(experiment.identity.config_hash), canonical_json(experiment.spec.identity()))
    monkeypatch.setattr(stored, "VERSIONS", Versions(1, {**stored.VERSIONS.models, "ridge": 99}))
    with pytest.raises(StageFailed, match="its code versions differ from those of whoever claimed the run"):
        load_experiment(store, experiment.identity.config_hash, experiment.identity.data_hash)


# claims


def test_runs_are_numbered_from_one_and_say_where_and_when() -> None:
    experiment, store = small_experiment()
    config_hash, data_hash = experiment.identity.config_hash, experiment.identity.data_hash
    context = workplace(store)
    assert [claim_run(context, config_hash, scope, data_hash, promotion=0) for scope in ("global", "north")] == [1, 2]
    assert claim_run(context, "f" * 64, "global", data_hash, promotion=0) == 1
    claim = part(store, experiment, "claim", 2)
    assert len(claim.pop("claimed_by")) == 32
    assert claim == {
        "v": 1,
        "run": 2,
        "scope": "north",
        "environment": "here",
        "data_hash": data_hash,
        "recompute": False,
        "promotion": 0,
        "flts": claim["flts"],
        "started": "2026-01-02T03:04:05+00:00",
    }


def test_processes_that_ask_at_the_same_moment_get_numbers_of_their_own() -> None:
    experiment, store = small_experiment()
    context, start = workplace(store), threading.Barrier(8)

    def ask(_: int) -> int:
        start.wait(timeout=LONG)
        identity = experiment.identity
        return claim_run(context, identity.config_hash, "global", identity.data_hash, promotion=0)

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(ask, range(8))) == list(range(1, 9))


# one candidate


def test_a_model_that_is_stored_already_is_scored_and_told_without_a_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, store = small_experiment()
    trained = fit(store, experiment)
    monkeypatch.setattr(finishing, "train_isolated", lambda *given: pytest.fail("trained a second time"))
    context = workplace(store)
    message = finish(context, experiment)
    values = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)
    errors = measure(truth(experiment), values["y_hat"], yardstick(experiment.dataset, experiment.task))
    record = part(store, experiment, "train-ridge")
    assert record["errors"] == {"rmse": errors.rmse, "mae": errors.mae, "mse": errors.mse}
    assert (record["fitted"], record["recomputed"], record["run_id"]) == (False, None, None)
    assert (record["environment"], record["scope"], record["tracking_uri"]) == ("here", "global", None)
    assert [m.status for m in told(context.bus)] == ["RUNNING", "SUCCESS"]
    assert told(context.bus)[-1] == message
    assert (message.bundle_sha256, message.forecasts_sha256) == (trained.bundle_sha256, trained.forecasts_sha256)
    assert (message.model, message.model_type, message.experiment) == ("ridge", "RIDGE", "flts/global")


def test_a_model_that_is_not_stored_is_trained_by_its_keys_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, store = small_experiment()
    asked: list[Any] = []

    def train(*given: Any) -> Trained:
        asked.append(given)
        fit(store, experiment)
        trained = stored_result(
            store, "ridge", experiment.identity.model_hashes["ridge"], experiment.identity.windows_hash
        )
        assert trained is not None
        return trained

    monkeypatch.setattr(finishing, "train_isolated", train)
    context = workplace(store)
    assert finish(context, experiment).status == "SUCCESS"
    ((order, threads, limit, _, children),) = asked
    identity = experiment.identity
    assert (order.store, order.model, order.recompute) == (store.url, "ridge", False)
    assert (order.config_hash, order.data_hash) == (identity.config_hash, identity.data_hash)
    assert (threads, limit, children) == (1, 60.0, context.children)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TrainingFailed("the loss is not finite"), "FAILED"),
        (DeadlineExceeded("ran past the limit of 60 s and was ended"), "FAILED"),
        (NotApplicable("needs 48 rows of history, has 12 at the first test origin"), "KILLED"),
        (DataError("train has 3 windows"), "FAILED"),
        (DamagedObject("x is damaged"), "FAILED"),
    ],
)
def test_a_terminal_error_is_a_failed_candidate_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, error: Exception, status: str
) -> None:
    experiment, store = small_experiment()
    tracker = RecordingTracker()
    context = workplace(store, tracker)
    monkeypatch.setattr(finishing, "train_isolated", raising(error))
    message = finish(context, experiment)
    name = type(error).__name__
    assert (message.status, message.error, message.run_id) == ("FAILED", f"{name}: {error}", "run-1")
    record = json.loads(store.get(layout.failure(experiment.identity.config_hash, 1, "ridge")) or b"")
    assert (record["class"], record["reason"], record["run_id"]) == (name, str(error), "run-1")
    assert part(store, experiment, "train-ridge") is None
    (run,) = tracker.runs
    assert run.status == status
    assert (run.tags["flts.error"], run.tags["flts.reason"]) == (name, str(error))
    assert (run.metrics, run.bundle, dict(run.artifacts)) == ({}, None, {})


def raising(error: Exception) -> Any:
    def train(*given: Any) -> Trained:
        raise error

    return train


@pytest.mark.parametrize("error", [BackendUnavailable("no answer"), Interrupted("stop"), ZeroDivisionError("defect")])
def test_an_error_that_is_not_terminal_is_raised_and_nothing_is_recorded_as_failed(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    experiment, store = small_experiment()
    tracker = RecordingTracker()
    monkeypatch.setattr(finishing, "train_isolated", raising(error))
    with pytest.raises(type(error)):
        finish(workplace(store, tracker), experiment)
    assert list(store.list("runs/")) == []
    assert tracker.runs == []


def test_damaged_forecasts_are_a_failed_candidate_and_not_the_end_of_the_run() -> None:
    experiment, store = small_experiment()
    trained = fit(store, experiment)
    key = layout.forecasts(trained.model_hash, experiment.identity.windows_hash)
    store.replace(key, b"no parquet")
    message = finish(workplace(store), experiment)
    assert message.status == "FAILED"
    assert str(message.error).startswith(f"DamagedObject: {key}")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_stored_forecasts_that_are_not_finite_are_a_failed_candidate_and_not_the_end_of_the_run(value: float) -> None:
    experiment, store = small_experiment(small_spec(("ridge", "gru")))
    put_result(store, experiment, "gru", fit(store, experiment).bundle_sha256, 1.0)
    names = experiment.identity.model_hashes["gru"], experiment.identity.windows_hash
    store = without(store, layout.forecasts(*names), layout.windows_result(*names))
    mean = truth(experiment)
    mean[3] = value
    put_forecasts(store, experiment, "gru", mean)
    message = finish(workplace(store), experiment, "gru")
    assert (message.status, message.error) == ("FAILED", "TrainingFailed: its stored forecasts are not finite")


# what the tracker is told


def test_a_candidate_is_tracked_once_per_scope_configuration_and_model() -> None:
    experiment, store = small_experiment()
    fit(store, experiment)
    tracker = RecordingTracker()
    context = workplace(store, tracker)
    assert finish(context, experiment, run=1).run_id == "run-1"
    assert finish(context, experiment, run=2).run_id == "run-1"
    assert finish(context, experiment, run=3, scope="north").run_id == "run-2"
    assert [run.scope for run in tracker.runs] == ["global", "north"]
    assert part(store, experiment, "train-ridge", 2)["run_id"] == "run-1"


def test_another_tracker_gets_a_run_of_its_own() -> None:
    experiment, store = small_experiment()
    fit(store, experiment)
    first, second = RecordingTracker(), RecordingTracker("memory:other")
    finish(workplace(store, first), experiment, run=1)
    finish(workplace(store, second), experiment, run=2)
    finish(workplace(store, first), experiment, run=3)
    assert (len(first.runs), len(second.runs)) == (1, 1)


def test_a_run_without_a_tracker_is_tracked_later() -> None:
    experiment, store = small_experiment()
    fit(store, experiment)
    finish(workplace(store), experiment, run=1)
    tracker = RecordingTracker()
    assert finish(workplace(store, tracker), experiment, run=2).run_id == "run-1"
    assert "flts.reused_run_id" not in tracker.runs[0].tags


def test_a_failure_for_the_same_reason_is_tracked_once_and_for_another_one_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    experiment, store = small_experiment()
    tracker = RecordingTracker()
    context = workplace(store, tracker)
    ids = []
    for run, error in enumerate([NotApplicable("a"), NotApplicable("a"), NotApplicable("b"), TrainingFailed("a")], 1):
        monkeypatch.setattr(finishing, "train_isolated", raising(error))
        ids.append(finish(context, experiment, run=run).run_id)
    assert ids == ["run-1", "run-1", "run-2", "run-3"]
    assert len(tracker.runs) == 3


def test_a_tracked_candidate_has_its_parameters_errors_bundle_and_plots() -> None:
    spec = small_spec(dataset={"name": "small", "targets": ["load", "wind"]}, sample={"train_rows": 200})
    experiment, store = small_experiment(spec)
    trained = fit(store, experiment)
    tracker = RecordingTracker()
    finish(workplace(store, tracker), experiment)
    (run,) = tracker.runs
    identity = experiment.identity
    assert (run.model_type, run.status, run.scope, run.extra) == ("RIDGE", "FINISHED", "global", None)
    assert run.tags == {
        "flts.config_hash": identity.config_hash,
        "flts.data_hash": identity.data_hash,
        "flts.model_hash": trained.model_hash,
        "flts.version": run.tags["flts.version"],
        "flts.environment": "here",
        "flts.store": store.url,
        "flts.bundle_sha256": trained.bundle_sha256,
        "flts.forecasts_sha256": trained.forecasts_sha256,
    }
    assert run.parameters == {
        **{"alphas": experiment.spec.identity()["models"]["ridge"]["alphas"]},
        **{"input_length": 12, "horizon": 3, "seasons": "infer"},
        **{"sample_train_rows": 200, "sample_test_rows": 0, "sample_strategy": "head", "sample_seed": 42},
        **{"targets": "load,wind", "seed": 42},
    }
    values = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)
    errors = measure(truth(experiment), values["y_hat"], yardstick(experiment.dataset, experiment.task))
    assert run.metrics == {
        **{"test_rmse": errors.rmse, "test_mae": errors.mae, "test_mse": errors.mse, "test_mase": errors.mase},
        **{f"test_{name}_units_load": value for name, value in errors.units["load"].items()},
        **{f"test_{name}_units_wind": value for name, value in errors.units["wind"].items()},
    }
    assert run.dataset == {
        "name": "small",
        "digest": identity.data_hash[:32],
        "source": layout.meta(identity.data_hash),
    }
    assert run.columns == ("load", "wind")
    assert run.bundle is not None
    for name, data in run.bundle.items():
        assert store.get(layout.bundle(trained.bundle_sha256, name)) == data
    assert set(run.bundle) == {"manifest.json", "coefficients.safetensors"}
    assert {"scaler/scaler.json", "preprocess/preprocess_config.json", "plots/forecast.png"} <= set(run.artifacts)
    assert set(json.loads(run.artifacts["scaler/scaler.json"])["load"]) == {"center", "scale"}
    meta = require_record(store, layout.meta(identity.data_hash), ProcessedMeta)
    assert json.loads(run.artifacts["preprocess/preprocess_config.json"]) == meta.made_of.model_dump(mode="json")


def test_one_target_is_measured_in_units_without_its_name_and_epochs_have_a_curve() -> None:
    experiment, store = small_experiment()
    trained = fit(store, experiment)
    key = layout.model_result(trained.model_hash)
    result = json.loads(store.get(key) or b"")
    store.replace(key, canonical_json({**result, "curve": [[0.3, 0.4], [0.2, 0.3]]}))
    tracker = RecordingTracker()
    finish(workplace(store, tracker), experiment)
    (run,) = tracker.runs
    assert {name for name in run.metrics if "units" in name} == {
        "test_rmse_units",
        "test_mae_units",
        "test_mse_units",
    }
    assert run.curve == [[0.3, 0.4], [0.2, 0.3]]
    assert "plots/loss_curve.png" in run.artifacts


def test_a_known_model_in_a_new_configuration_names_the_run_it_was_fitted_in(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, store = small_experiment()
    other = small_experiment(small_spec(evaluate={"gate": "always"}))[0]
    assert other.identity.config_hash != experiment.identity.config_hash
    assert other.identity.model_hashes == experiment.identity.model_hashes
    monkeypatch.setattr(finishing, "train_isolated", lambda *given: fit(store, experiment))
    watched, tracker = Watched(store), RecordingTracker()
    context = workplace(watched, tracker)
    assert finish(context, experiment).run_id == "run-1"
    assert finish(context, other).run_id == "run-2"
    first, second = tracker.runs
    assert "flts.reused_run_id" not in first.tags
    assert second.tags["flts.reused_run_id"] == "run-1"
    assert "runs/" not in watched.listed


def test_a_run_that_was_logged_and_not_recorded_does_not_name_itself_as_the_run_it_reuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would have another tag than the one logged before the crash, and not be known again."""
    experiment, store = small_experiment()
    tracker = RecordingTracker()
    monkeypatch.setattr(finishing, "train_isolated", lambda *given: fit(store, experiment))
    failpoints.arm("run.train.before=error")
    with pytest.raises(OSError, match="failpoint"):
        finish(workplace(store, tracker), experiment)
    failpoints.arm("")
    finish(workplace(store, tracker), experiment)
    first, second = tracker.runs
    assert dict(first.tags) == dict(second.tags)


# the judgement


def judged(context: RunContext, experiment: Experiment, run_ids: dict[str, str | None]) -> Judged:
    return promote(
        context.store,
        context.bus,
        context.clock,
        experiment,
        gathered(context.store, experiment),
        scope="global",
        actor="tests",
        run_ids=run_ids,
    )


def two_candidates() -> tuple[Experiment, Store]:
    experiment, store = small_experiment(small_spec(("ridge", "gru")))
    bundle = fit(store, experiment).bundle_sha256
    put_result(store, experiment, "gru", bundle, 9.0)
    return experiment, store


def test_the_judges_figures_are_added_to_the_runs_and_the_champion_is_registered() -> None:
    experiment, store = two_candidates()
    tracker = RecordingTracker()
    context = workplace(store, tracker)
    ids: dict[str, str | None] = {"ridge": "r", "gru": "g"}
    found = judged(context, experiment, ids)
    record_judgement(context, experiment.identity.config_hash, "global", 1, found, ids)
    rows = {row.model: row for row in found.decision.record.ranked}
    assert {run_id: tags for run_id, _, tags in tracker.annotations} == {
        "r": {"flts.promoted": "true"},
        "g": {"flts.promoted": "false"},
    }
    for run_id, metrics, _ in tracker.annotations:
        row = rows["ridge" if run_id == "r" else "gru"]
        assert metrics == row.model_dump(include={"score", "rank", "skill", "skill_vs_naive"})
    assert tracker.promotions == [("global", "r", "RIDGE", rows["ridge"].bundle_sha256)]
    assert part(store, experiment, "judge") == {
        "v": 1,
        "run": 1,
        "scope": "global",
        "environment": "here",
        "decision_id": found.decision.decision_id,
        "outcome": "promote",
        "repeated": False,
        "promotion": 1,
        "run_ids": ids,
        "ended": "2026-01-02T03:04:05+00:00",
    }


def test_the_tracker_is_told_once_and_again_only_when_the_champion_changed() -> None:
    experiment, store = two_candidates()
    tracker = RecordingTracker()
    context = workplace(store, tracker)
    ids: dict[str, str | None] = {"ridge": "r", "gru": "g"}
    for run in (1, 2, 3):
        record_judgement(context, experiment.identity.config_hash, "global", run, judged(context, experiment, ids), ids)
    assert (len(tracker.annotations), len(tracker.promotions)) == (2, 1)
    assert [part(store, experiment, "judge", run)["promotion"] for run in (1, 2, 3)] == [1, 1, 1]
    record_judgement(
        context,
        experiment.identity.config_hash,
        "global",
        4,
        judged(context, experiment, {"ridge": "r2", "gru": "g"}),
        {"ridge": "r2"},
    )
    assert len(tracker.annotations) == 3


def test_a_judgement_that_was_cut_off_before_its_part_tells_the_tracker_again() -> None:
    experiment, store = two_candidates()
    tracker = RecordingTracker()
    context = workplace(store, tracker)
    ids: dict[str, str | None] = {"ridge": "r", "gru": "g"}
    failpoints.arm("run.judge.before=error")
    with pytest.raises(OSError, match="failpoint"):
        record_judgement(context, experiment.identity.config_hash, "global", 1, judged(context, experiment, ids), ids)
    record_judgement(context, experiment.identity.config_hash, "global", 2, judged(context, experiment, ids), ids)
    assert len(tracker.promotions) == 2


def test_without_a_tracker_only_the_part_is_written() -> None:
    experiment, store = two_candidates()
    context = workplace(store)
    record_judgement(context, experiment.identity.config_hash, "global", 1, judged(context, experiment, {}), {})
    assert part(store, experiment, "judge")["run_ids"] == {}


def test_a_champion_that_was_never_tracked_is_not_registered() -> None:
    experiment, store = two_candidates()
    tracker = RecordingTracker()
    context = workplace(store, tracker)
    found = judged(context, experiment, {"ridge": None, "gru": None})
    record_judgement(context, experiment.identity.config_hash, "global", 1, found, {"ridge": None, "gru": None})
    assert (tracker.annotations, tracker.promotions) == ([], [])
    point_tracker(context, None)
    assert tracker.promotions == []


def test_after_a_rollback_the_alias_follows_the_log() -> None:
    experiment, store = two_candidates()
    other, fresh = small_experiment(small_spec(("ridge",), evaluate={"gate": "always"}, task={"input_length": 18}))
    copy(fresh, store)
    fit(store, other)
    tracker = RecordingTracker()
    context = workplace(store, tracker)
    judged(context, experiment, {"ridge": "one", "gru": None})
    judged(context, other, {"ridge": "two"})
    point_tracker(context, rollback(store, context.bus, context.clock, "global", "me"))
    assert [run_id for _, run_id, _, _ in tracker.promotions] == ["one"]


# one thread for the tracker


def test_a_tracker_used_from_many_threads_works_in_one_that_is_not_theirs() -> None:
    tracker = RecordingTracker()
    inside = InOneThread(tracker)
    assert inside.uri == tracker.uri
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: inside.annotate(str(n), {}, {}), range(8)))
        list(pool.map(lambda n: inside.promote("global", str(n), "RIDGE", "b"), range(4)))
        inside.prepare("global")
    inside.close()
    assert len(tracker.threads) == 1
    assert threading.get_ident() not in tracker.threads
    assert (len(tracker.annotations), len(tracker.promotions), tracker.prepared) == (8, 4, ["global"])
    assert tracker.closed == 1


def test_what_the_tracker_raises_reaches_who_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = RecordingTracker()
    inside = InOneThread(tracker)
    monkeypatch.setattr(tracker, "annotate", lambda *given: (_ for _ in ()).throw(BackendUnavailable("no answer")))
    with pytest.raises(BackendUnavailable, match="no answer"):
        inside.annotate("r", {}, {})
    inside.close()


def test_everything_that_runs_is_ended_with_the_workplace() -> None:
    _, store = small_experiment()
    tracker = RecordingTracker()
    context = workplace(store, tracker)
    context.close()
    assert context.children.cancelled
    assert tracker.closed == 1
    assert contents(store) != {}


def test_a_judge_that_scores_otherwise_than_the_trainer_is_a_defect_that_is_said() -> None:
    experiment, store = two_candidates()
    context = workplace(store)
    put_train_part(store, experiment, 1, "ridge", errors=ScaledErrors(rmse=0.1, mae=0.1, mse=0.01))
    with pytest.raises(StageFailed, match=r"ridge was scored twice .* with different results"):
        record_judgement(context, experiment.identity.config_hash, "global", 1, judged(context, experiment, {}), {})
    assert store.get(layout.run_part(experiment.identity.config_hash, 1, "judge")) is None
