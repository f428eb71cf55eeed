"""What every candidate goes through, the same for `flts run` and for a worker on a bus."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, Protocol

from flts.contracts import events, layout
from flts.contracts.errors import Terminal, TrainingFailed, UsageError
from flts.contracts.messages import ModelTraining, TrainingData
from flts.contracts.ports import Progress, Store, write_json_once
from flts.evaluate.metrics import Errors, measure
from flts.promotion.judge import yardstick
from flts.runner.stored import VERSIONS, load_stored_spec
from flts.runner.tracking import Work, candidate_run, failed_run, known_failed_run_id, known_run_id
from flts.spec.lineage import identify
from flts.train.determinism import processor
from flts.train.experiment import Experiment
from flts.train.isolate import Claim, train_isolated
from flts.train.stage import Trained, stored_result
from flts.wiring import RunContext

Status = Literal["RUNNING", "SUCCESS", "FAILED"]


def finish_model(
    context: RunContext, claim: TrainingData, experiment: Experiment, name: str, progress: Progress, *, recompute: bool
) -> ModelTraining:
    """Train one candidate (or find it trained), score it, track it, record it, and tell the judge.

    A Terminal error becomes a failed candidate with its reason; Transient ones and Interrupted are raised, and so is
    UsageError: no model failed where the credentials of the store are wrong, and a person has to act.
    """
    with context.children.slots:  # the time of a model counts from here, not from when it queued
        work, began = Work(claim, experiment, name, context.clock.now()), time.monotonic()
        _tell(context, work, "RUNNING")
        try:
            trained = _train(context, work, progress, recompute=recompute)
            progress.phase("score")
            errors = _score(context.store, work, trained)
        except UsageError:
            raise
        except Terminal as error:
            return _record_failure(context, work, error)
        duration_ms = round((time.monotonic() - began) * 1000)  # the clock may be set meanwhile
    progress.phase("track")
    run_id = _track(context, work, trained, errors)
    part = {
        **_where(context, work),
        "run_id": run_id,
        "fitted": trained.fitted,
        "recomputed": trained.recomputed,
        "duration_ms": duration_ms,
        "errors": {"rmse": errors.rmse, "mae": errors.mae, "mse": errors.mse},
    }
    write_json_once(context.store, layout.run_part(claim.config_hash, claim.run, f"train-{name}"), part, at="run.train")
    events.emit(
        events.TrainComplete(
            config_hash=claim.config_hash,
            run_id=run_id,
            model_type=name.upper(),
            duration_ms=duration_ms,
            test_rmse=errors.rmse,
            test_mae=errors.mae,
            test_mse=errors.mse,
        )
    )
    return _tell(
        context,
        work,
        "SUCCESS",
        run_id=run_id,
        bundle_sha256=trained.bundle_sha256,
        forecasts_sha256=trained.forecasts_sha256,
        duration_ms=duration_ms,
    )


def _train(context: RunContext, work: Work, progress: Progress, *, recompute: bool) -> Trained:
    """What is stored already, or a fit in a process of its own."""
    claim, windows_hash = work.claim, work.experiment.windows.windows_hash
    stored = stored_result(context.store, work.name, work.model_hash, windows_hash)
    if stored is not None and not recompute:
        events.emit(
            events.TrainSkipDuplicate(
                config_hash=claim.config_hash, model_type=work.name.upper(), model_hash=work.model_hash
            )
        )
        return stored
    events.emit(
        events.TrainStart(config_hash=claim.config_hash, model_type=work.name.upper(), model_hash=work.model_hash)
    )
    order = Claim(context.store.url, claim.config_hash, claim.data_hash, work.name, recompute)
    threads = work.experiment.spec.run.threads
    try:
        return train_isolated(order, threads, context.train_timeout, progress, context.children)
    except TrainingFailed:
        # a child that ended between its last commit and its last word: what is committed counts, here as for the judge
        committed = stored_result(context.store, work.name, work.model_hash, windows_hash)
        if stored is not None or committed is None:
            raise
        return replace(committed, fitted=True)


def _score(store: Store, work: Work, trained: Trained) -> Errors:
    """The pure score of what lies in the store; the judge comes to the same figures from the same bytes."""
    experiment, task = work.experiment, work.experiment.task
    forecast = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)["y_hat"]
    truth = experiment.windows.truth(experiment.dataset, task.horizon)
    errors = measure(truth.values, forecast, yardstick(experiment.dataset, task))
    if not math.isfinite(errors.mse):
        raise TrainingFailed("its stored forecasts are not finite")
    return errors


def _track(context: RunContext, work: Work, trained: Trained, errors: Errors) -> str | None:
    """One tracked run per scope, configuration and model; the id of the one that exists already, if any."""
    if context.tracker is None:
        return None
    claim = work.claim
    known = known_run_id(context.store, claim.config_hash, claim.identifier, work.name, context.tracker.uri)
    if known is not None:
        return known
    return context.tracker.log(
        candidate_run(context.store, work, trained, errors, context.environment, context.clock.now())
    )


def _record_failure(context: RunContext, work: Work, error: Terminal) -> ModelTraining:
    claim, reason = work.claim, str(error)
    run_id = None
    if context.tracker is not None:
        run_id = known_failed_run_id(context.store, work, error, context.tracker.uri) or context.tracker.log(
            failed_run(context.store, work, error, context.environment, context.clock.now())
        )
    record = {**_where(context, work), "class": type(error).__name__, "reason": reason, "run_id": run_id}
    write_json_once(context.store, layout.failure(claim.config_hash, claim.run, work.name), record, at="run.failure")
    events.emit(
        events.TrainFailed(
            config_hash=claim.config_hash, model_type=work.name.upper(), error=type(error).__name__, reason=reason
        )
    )
    return _tell(context, work, "FAILED", run_id=run_id, error=f"{type(error).__name__}: {reason}")


class RunOf(Protocol):
    """Which run is meant; a claim says it, and so does its record."""

    @property
    def identifier(self) -> str:
        """The scope."""

    @property
    def config_hash(self) -> str:
        """Of the configuration."""

    @property
    def data_hash(self) -> str:
        """Of the rows."""

    @property
    def run(self) -> int:
        """Its number."""


def record_dead_letter(context: RunContext, claim: RunOf, name: str, error: Exception) -> None:
    """Record that a claim could not even be worked on, so that nobody waits for its model."""
    now = context.clock.now().isoformat()
    record = {
        "v": 1,
        "run": claim.run,
        "scope": claim.identifier,
        "environment": context.environment,
        "model": name,
        "started": now,
        "ended": now,
        "class": type(error).__name__,
        "reason": str(error),
        "run_id": None,
    }
    write_json_once(context.store, layout.failure(claim.config_hash, claim.run, name), record, at="run.buried")
    tell_failure(context, claim, name, record)


def tell_failure(context: RunContext, claim: RunOf, name: str, record: Mapping[str, Any]) -> None:
    """Tell the judge of a failure that is recorded."""
    spec = load_stored_spec(context.store, claim.config_hash)
    model_hash = identify(spec, claim.data_hash, VERSIONS).model_hashes[name]
    error = f"{record['class']}: {record['reason']}"
    _publish(context, claim, name, model_hash, "FAILED", run_id=record["run_id"], error=error)


def _where(context: RunContext, work: Work) -> dict[str, Any]:
    """What every part of a run's record says first."""
    return {
        "v": 1,
        "run": work.claim.run,
        "scope": work.claim.identifier,
        "environment": context.environment,
        "model": work.name,
        "model_hash": work.model_hash,
        "tracking_uri": context.tracker.uri if context.tracker else None,
        "started": work.start.isoformat(),
        "ended": context.clock.now().isoformat(),
        "processor": processor(),
    }


def _tell(context: RunContext, work: Work, status: Status, **fields: Any) -> ModelTraining:
    return _publish(context, work.claim, work.name, work.model_hash, status, **fields)


def _publish(
    context: RunContext, claim: RunOf, name: str, model_hash: str, status: Status, **fields: Any
) -> ModelTraining:
    message = ModelTraining(
        ts=context.clock.now(),
        identifier=claim.identifier,
        config_hash=claim.config_hash,
        data_hash=claim.data_hash,
        run=claim.run,
        model=name,
        model_hash=model_hash,
        model_type=name.upper(),
        experiment=f"flts/{claim.identifier}",
        status=status,
        **fields,
    )
    context.bus.publish(message.topic, message.key, message.to_bytes())
    return message
