"""What the tracker is told of a candidate, and how often."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.support.candidates import finish, part, raising
from tests.support.experiments import small_experiment, small_spec
from tests.support.stored import (
    Watched,
    fit,
    truth,
)
from tests.support.tracking import RecordingTracker, ReservingTracker, context_of

from flts.contracts import failpoints, layout
from flts.contracts.canonical import canonical_json
from flts.contracts.errors import (
    NotApplicable,
    TrainingFailed,
)
from flts.contracts.ports import Store
from flts.contracts.records.base import require_record
from flts.contracts.records.data import ProcessedMeta
from flts.evaluate.metrics import measure
from flts.promotion.judge import yardstick
from flts.promotion.stage import Judged
from flts.runner import candidate as finishing
from flts.runner.judgement import judge_run
from flts.wiring import RunContext

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _disarm() -> Iterator[None]:
    yield
    failpoints.arm("")


def test_a_candidate_is_tracked_once_per_scope_configuration_and_model() -> None:
    experiment, store = small_experiment()
    fit(store, experiment)
    tracker = RecordingTracker()
    context = context_of(store, tracker)
    assert finish(context, experiment, run=1).run_id == "run-1"
    assert finish(context, experiment, run=2).run_id == "run-1"
    assert finish(context, experiment, run=3, scope="north").run_id == "run-2"
    assert [run.scope for run in tracker.runs] == ["global", "north"]
    assert part(store, experiment, "train-ridge", 2)["run_id"] == "run-1"


def test_another_tracker_gets_a_run_of_its_own() -> None:
    experiment, store = small_experiment()
    fit(store, experiment)
    first, second = RecordingTracker(), RecordingTracker("memory:other")
    finish(context_of(store, first), experiment, run=1)
    finish(context_of(store, second), experiment, run=2)
    finish(context_of(store, first), experiment, run=3)
    assert (len(first.runs), len(second.runs)) == (1, 1)


def test_a_run_without_a_tracker_is_tracked_later() -> None:
    experiment, store = small_experiment()
    fit(store, experiment)
    finish(context_of(store), experiment, run=1)
    tracker = RecordingTracker()
    assert finish(context_of(store, tracker), experiment, run=2).run_id == "run-1"
    assert "flts.reused_run_id" not in tracker.runs[0].tags


def test_a_failure_is_tracked_once_per_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    experiment, store = small_experiment()
    tracker = RecordingTracker()
    context = context_of(store, tracker)
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
    finish(context_of(store, tracker), experiment)
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
        **{"input_length": 12, "horizon": 3, "seasons": [24], "min_measured": 0.75, "bounds": "auto"},
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
    assert set(run.bundle) == {"manifest.json", "coefficients.safetensors", "intervals.safetensors"}
    assert {"scaler/scaler.json", "preprocess/preprocess_config.json", "plots/forecast.png"} <= set(run.artifacts)
    assert set(json.loads(run.artifacts["scaler/scaler.json"])["load"]) == {"center", "scale"}
    meta = require_record(store, layout.meta(identity.data_hash), ProcessedMeta)
    assert json.loads(run.artifacts["preprocess/preprocess_config.json"]) == meta.made_of.model_dump(mode="json")


def test_metrics_of_a_single_target_omit_its_name_and_epochs_make_a_curve() -> None:
    experiment, store = small_experiment()
    trained = fit(store, experiment)
    key = layout.model_result(trained.model_hash)
    result = json.loads(store.get(key) or b"")
    store.replace(key, canonical_json({**result, "curve": [[0.3, 0.4], [0.2, 0.3]]}))
    tracker = RecordingTracker()
    finish(context_of(store, tracker), experiment)
    (run,) = tracker.runs
    assert {name for name in run.metrics if "units" in name} == {
        "test_rmse_units",
        "test_mae_units",
        "test_mse_units",
    }
    assert run.curve == [[0.3, 0.4], [0.2, 0.3]]
    assert "plots/loss_curve.png" in run.artifacts


def test_a_reused_model_names_the_run_that_fitted_it(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, store = small_experiment()
    other = small_experiment(small_spec(evaluate={"gate": "always"}))[0]
    assert other.identity.config_hash != experiment.identity.config_hash
    assert other.identity.model_hashes == experiment.identity.model_hashes
    monkeypatch.setattr(finishing, "train_isolated", lambda *given: fit(store, experiment))
    watched, tracker = Watched(store), RecordingTracker()
    context = context_of(watched, tracker)
    assert finish(context, experiment).run_id == "run-1"
    assert finish(context, other).run_id == "run-2"
    first, second = tracker.runs
    assert "flts.reused_run_id" not in first.tags
    assert second.tags["flts.reused_run_id"] == "run-1"
    assert "runs/" not in watched.listed


def test_a_run_logged_before_a_crash_does_not_name_itself_as_reused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With such a tag it would differ from the run logged before the crash, and be logged twice."""
    experiment, store = small_experiment()
    tracker = RecordingTracker()
    monkeypatch.setattr(finishing, "train_isolated", lambda *given: fit(store, experiment))
    failpoints.arm("run.train.before=error")
    with pytest.raises(OSError, match="failpoint"):
        finish(context_of(store, tracker), experiment)
    failpoints.arm("")
    finish(context_of(store, tracker), experiment)
    first, second = tracker.runs
    assert dict(first.tags) == dict(second.tags)


def behind(store: Store, tracker: RecordingTracker) -> RunContext:
    """As of `flts run`: what the tracker is told waits until the champion is known."""
    context = context_of(store, tracker)
    context.behind = []
    return context


def written(context: RunContext) -> None:
    """Tell the tracker what has waited."""
    for write in context.behind or ():
        write()


def test_an_id_that_is_known_before_is_recorded_and_its_run_written_behind() -> None:
    experiment, store = small_experiment()
    fit(store, experiment)
    tracker = ReservingTracker()
    context = behind(store, tracker)
    assert finish(context, experiment).run_id == "id-1"
    assert part(store, experiment, "train-ridge")["run_id"] == "id-1"
    assert tracker.runs == []
    written(context)
    assert {run_id: run.status for run_id, run in tracker.under.items()} == {"id-1": "FINISHED"}


@pytest.mark.parametrize("killed", [True, False])
def test_a_run_that_a_killed_process_did_not_write_is_written_under_its_id_by_the_next(killed: bool) -> None:
    experiment, store = small_experiment()
    fit(store, experiment)
    tracker = ReservingTracker()
    first, second = behind(store, tracker), behind(store, tracker)
    finish(first, experiment, run=1)
    if not killed:
        written(first)  # but the judge's part was not: the tracker is asked
    assert finish(second, experiment, run=2).run_id == "id-1"
    written(second)
    assert (list(tracker.under), len(tracker.runs)) == (["id-1"], 1)
    assert "flts.reused_run_id" not in tracker.runs[0].tags


def test_of_a_run_that_a_judge_has_recorded_the_tracker_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, store = small_experiment()
    fit(store, experiment)
    tracker = ReservingTracker()
    context = behind(store, tracker)
    finish(context, experiment, run=1)
    written(context)
    judged = judge_run(context, experiment, "global", 1, actor="tests")
    assert isinstance(judged, Judged)
    monkeypatch.setattr(tracker, "look", lambda run_id: pytest.fail("asked"))
    again = behind(store, tracker)
    finish(again, experiment, run=2)
    assert again.behind == []


def test_a_failure_is_written_behind_too(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, store = small_experiment()
    monkeypatch.setattr(finishing, "train_isolated", raising(TrainingFailed("a")))
    tracker = ReservingTracker()
    for run in (1, 2):
        context = behind(store, tracker)
        assert finish(context, experiment, run=run).run_id == "id-1"
        written(context)
    assert {run_id: run.status for run_id, run in tracker.under.items()} == {"id-1": "FAILED"}
    assert len(tracker.runs) == 1
