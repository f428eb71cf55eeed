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
from flts.wiring import Workplace

Status = Literal["RUNNING", "SUCCESS", "FAILED"]


def finish_model(
    place: Workplace, claim: TrainingData, subject: Experiment, name: str, progress: Progress, *, recompute: bool
) -> ModelTraining:
    """Train one candidate (or find it trained), score it, track it, record it, and tell the judge.

    A Terminal error becomes a failed candidate with its reason; Transient ones and Interrupted are raised, and so is
    UsageError: no model failed where the credentials of the store are wrong, and a person has to act.
    """
    with place.children.places:  # the time of a model counts from here, not from when it queued
        work, began = Work(claim, subject, name, place.clock.now()), time.monotonic()
        _tell(place, work, "RUNNING")
        try:
            trained = _train(place, work, progress, recompute=recompute)
            progress.phase("score")
            errors = _score(place.store, work, trained)
        except UsageError:
            raise
        except Terminal as error:
            return _record_failure(place, work, error)
        duration_ms = round((time.monotonic() - began) * 1000)  # the clock may be set meanwhile
    progress.phase("track")
    run_id = _track(place, work, trained, errors)
    part = {
        **_where(place, work),
        "run_id": run_id,
        "fitted": trained.fitted,
        "recomputed": trained.recomputed,
        "duration_ms": duration_ms,
        "errors": {"rmse": errors.rmse, "mae": errors.mae, "mse": errors.mse},
    }
    write_json_once(place.store, layout.run_part(claim.config_hash, claim.run, f"train-{name}"), part, at="run.train")
    events.train_complete(
        config_hash=claim.config_hash,
        run_id=run_id,
        model_type=name.upper(),
        duration_ms=duration_ms,
        test_rmse=errors.rmse,
        test_mae=errors.mae,
        test_mse=errors.mse,
    )
    return _tell(
        place,
        work,
        "SUCCESS",
        run_id=run_id,
        bundle_sha256=trained.bundle_sha256,
        forecasts_sha256=trained.forecasts_sha256,
        duration_ms=duration_ms,
    )


def _train(place: Workplace, work: Work, progress: Progress, *, recompute: bool) -> Trained:
    """What is stored already, or a fit in a process of its own."""
    claim, windows_hash = work.claim, work.subject.windows.windows_hash
    stored = stored_result(place.store, work.name, work.model_hash, windows_hash)
    if stored is not None and not recompute:
        events.train_skip_duplicate(
            config_hash=claim.config_hash, model_type=work.name.upper(), model_hash=work.model_hash
        )
        return stored
    events.train_start(config_hash=claim.config_hash, model_type=work.name.upper(), model_hash=work.model_hash)
    order = Claim(place.store.url, claim.config_hash, claim.data_hash, work.name, recompute)
    threads = work.subject.spec.run.threads
    try:
        return train_isolated(order, threads, place.train_timeout, progress, place.children)
    except TrainingFailed:
        # a child that ended between its last commit and its last word: what is committed counts, here as for the judge
        committed = stored_result(place.store, work.name, work.model_hash, windows_hash)
        if stored is not None or committed is None:
            raise
        return replace(committed, fitted=True)


def _score(store: Store, work: Work, trained: Trained) -> Errors:
    """The pure score of what lies in the store; the judge comes to the same figures from the same bytes."""
    subject, task = work.subject, work.subject.task
    forecast = subject.forecasts(store, trained.model_hash, trained.forecasts_sha256)["y_hat"]
    truth = subject.windows.truth(subject.dataset, task.horizon)
    errors = measure(truth.values, forecast, yardstick(subject.dataset, task))
    if not math.isfinite(errors.mse):
        raise TrainingFailed("its stored forecasts are not finite")
    return errors


def _track(place: Workplace, work: Work, trained: Trained, errors: Errors) -> str | None:
    """One tracked run per scope, configuration and model; the id of the one that exists already, if any."""
    if place.tracker is None:
        return None
    claim = work.claim
    known = known_run_id(place.store, claim.config_hash, claim.identifier, work.name, place.tracker.uri)
    if known is not None:
        return known
    return place.tracker.log(candidate_run(place.store, work, trained, errors, place.environment, place.clock.now()))


def _record_failure(place: Workplace, work: Work, error: Terminal) -> ModelTraining:
    claim, reason = work.claim, str(error)
    run_id = None
    if place.tracker is not None:
        run_id = known_failed_run_id(place.store, work, error, place.tracker.uri) or place.tracker.log(
            failed_run(place.store, work, error, place.environment, place.clock.now())
        )
    record = {**_where(place, work), "class": type(error).__name__, "reason": reason, "run_id": run_id}
    write_json_once(place.store, layout.failure(claim.config_hash, claim.run, work.name), record, at="run.failure")
    events.train_failed(
        config_hash=claim.config_hash, model_type=work.name.upper(), error=type(error).__name__, reason=reason
    )
    return _tell(place, work, "FAILED", run_id=run_id, error=f"{type(error).__name__}: {reason}")


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


def bury_model(place: Workplace, claim: RunOf, name: str, error: Exception) -> None:
    """Record that a claim could not even be worked on, so that nobody waits for its model."""
    now = place.clock.now().isoformat()
    record = {
        "v": 1,
        "run": claim.run,
        "scope": claim.identifier,
        "environment": place.environment,
        "model": name,
        "started": now,
        "ended": now,
        "class": type(error).__name__,
        "reason": str(error),
        "run_id": None,
    }
    write_json_once(place.store, layout.failure(claim.config_hash, claim.run, name), record, at="run.buried")
    tell_failure(place, claim, name, record)


def tell_failure(place: Workplace, claim: RunOf, name: str, record: Mapping[str, Any]) -> None:
    """Tell the judge of a failure that is recorded."""
    spec = load_stored_spec(place.store, claim.config_hash)
    model_hash = identify(spec, claim.data_hash, VERSIONS).model_hashes[name]
    error = f"{record['class']}: {record['reason']}"
    _publish(place, claim, name, model_hash, "FAILED", run_id=record["run_id"], error=error)


def _where(place: Workplace, work: Work) -> dict[str, Any]:
    """What every part of a run's record says first."""
    return {
        "v": 1,
        "run": work.claim.run,
        "scope": work.claim.identifier,
        "environment": place.environment,
        "model": work.name,
        "model_hash": work.model_hash,
        "tracking_uri": place.tracker.uri if place.tracker else None,
        "started": work.start.isoformat(),
        "ended": place.clock.now().isoformat(),
        "processor": processor(),
    }


def _tell(place: Workplace, work: Work, status: Status, **fields: Any) -> ModelTraining:
    return _publish(place, work.claim, work.name, work.model_hash, status, **fields)


def _publish(
    place: Workplace, claim: RunOf, name: str, model_hash: str, status: Status, **fields: Any
) -> ModelTraining:
    message = ModelTraining(
        ts=place.clock.now(),
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
    place.bus.publish(message.topic, message.key, message.to_bytes())
    return message
