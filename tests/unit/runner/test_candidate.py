"""One candidate: trained or found, scored, recorded; a failure is recorded with its reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.candidates import finish, part, raising
from tests.support.experiments import small_experiment, small_spec
from tests.support.stored import (
    fit,
    put_forecasts,
    put_result,
    truth,
    without,
)
from tests.support.tracking import RecordingTracker, context_of, told

from flts.contracts import layout
from flts.contracts.errors import (
    BackendUnavailable,
    DamagedObject,
    DataError,
    DeadlineExceeded,
    Interrupted,
    MachineFailed,
    NotApplicable,
    TrainingFailed,
    UsageError,
)
from flts.evaluate.metrics import measure
from flts.models.registry import CANDIDATES
from flts.promotion.judge import yardstick
from flts.runner import candidate as finishing
from flts.train.machine import machine
from flts.train.stage import Trained, stored_result

pytestmark = pytest.mark.slow


def test_a_stored_model_is_scored_and_reported_without_a_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, store = small_experiment()
    trained = fit(store, experiment)
    monkeypatch.setattr(finishing, "train_isolated", lambda *given: pytest.fail("trained a second time"))
    context = context_of(store)
    message = finish(context, experiment)
    values = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)
    errors = measure(truth(experiment), values["y_hat"], yardstick(experiment.dataset, experiment.task))
    record = part(store, experiment, "train-ridge")
    assert record["errors"] == {"rmse": errors.rmse, "mae": errors.mae, "mse": errors.mse}
    assert (record["fitted"], record["recomputed"], record["run_id"]) == (False, None, None)
    assert (record["environment"], record["scope"], record["tracking_uri"]) == ("here", "global", None)
    assert {"experiment", "run_status", "message"} & record.keys() == set()
    assert record["machine"] == machine(CANDIDATES["ridge"].libraries).model_dump()
    assert [m.status for m in told(context.bus)] == ["RUNNING", "SUCCESS"]
    assert told(context.bus)[-1] == message
    assert (message.bundle_sha256, message.forecasts_sha256) == (trained.bundle_sha256, trained.forecasts_sha256)
    assert (message.model, message.model_type, message.experiment) == ("ridge", "RIDGE", "flts/global")


def test_the_process_of_a_fit_gets_keys_only(monkeypatch: pytest.MonkeyPatch) -> None:
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
    context = context_of(store)
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
    context = context_of(store, tracker)
    monkeypatch.setattr(finishing, "train_isolated", raising(error))
    message = finish(context, experiment)
    name = type(error).__name__
    assert (message.status, message.error, message.run_id) == ("FAILED", f"{name}: {error}", "run-1")
    record = json.loads(store.get(layout.failure(experiment.identity.config_hash, 1, "ridge")) or b"")
    assert (record["class"], record["reason"], record["run_id"]) == (name, str(error), "run-1")
    assert (record["experiment"], record["run_status"]) == ("flts/global", status)
    assert record["machine"] == machine(CANDIDATES["ridge"].libraries).model_dump()
    assert part(store, experiment, "train-ridge") is None
    (run,) = tracker.runs
    assert run.status == status
    assert (run.tags["flts.error"], run.tags["flts.reason"]) == (name, str(error))
    assert (run.metrics, run.bundle, dict(run.artifacts)) == ({}, None, {})


@pytest.mark.parametrize(
    "error",
    [
        *(BackendUnavailable("no answer"), Interrupted("stop"), ZeroDivisionError("defect")),
        *(UsageError("wrong credentials"), MachineFailed("no space left", code="disk-full")),
    ],
)
def test_an_error_that_is_not_terminal_is_raised_and_no_failure_recorded(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    experiment, store = small_experiment()
    tracker = RecordingTracker()
    monkeypatch.setattr(finishing, "train_isolated", raising(error))
    with pytest.raises(type(error)):
        finish(context_of(store, tracker), experiment)
    assert list(store.list("runs/")) == []
    assert tracker.runs == []


def test_damaged_forecasts_fail_the_candidate_and_not_the_run() -> None:
    experiment, store = small_experiment()
    trained = fit(store, experiment)
    key = layout.forecasts(trained.model_hash, experiment.identity.windows_hash)
    store.replace(key, b"no parquet")
    message = finish(context_of(store), experiment)
    assert message.status == "FAILED"
    assert str(message.error).startswith(f"DamagedObject: {key}")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_forecasts_that_are_not_finite_fail_the_candidate_and_not_the_run(value: float) -> None:
    experiment, store = small_experiment(small_spec(("ridge", "gru")))
    put_result(store, experiment, "gru", fit(store, experiment).bundle_sha256, 1.0)
    names = experiment.identity.model_hashes["gru"], experiment.identity.windows_hash
    store = without(store, layout.forecasts(*names), layout.windows_result(*names))
    mean = truth(experiment)
    mean[3] = value
    put_forecasts(store, experiment, "gru", mean)
    message = finish(context_of(store), experiment, "gru")
    assert (message.status, message.error) == ("FAILED", "TrainingFailed: its stored forecasts are not finite")
