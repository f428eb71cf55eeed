"""The steps of one candidate, the same for `flts run` and for a service: train, score, track, record, tell."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from flts.contracts import events, layout
from flts.contracts.errors import NEEDS_A_PERSON, Terminal, TrainingFailed, of_newer
from flts.contracts.machine import machine_faults
from flts.contracts.messages import ModelTraining, TrainingData
from flts.contracts.ports import Progress, Store, TrackedRun, experiment_of
from flts.contracts.records.base import read_record, write_record
from flts.contracts.records.run import FailurePart, MessageRef, ScaledErrors, TrainPart, status_of
from flts.evaluate.metrics import Errors, measure
from flts.models.registry import libraries_of
from flts.promotion.judge import yardstick
from flts.runner import tell
from flts.runner.quarantine import put_aside
from flts.runner.stopwatch import Stopwatch
from flts.runner.stored import VERSIONS, load_stored_spec
from flts.runner.tell import RunOf
from flts.runner.tracking import (
    Work,
    candidate_run,
    failed_run,
    fitted_run_id,
    known_failed_run_id,
    known_run_id,
    log_unless_ended,
    told_of,
)
from flts.spec.lineage import identify
from flts.train.determinism import processor
from flts.train.experiment import Experiment
from flts.train.isolate import Claim, train_isolated
from flts.train.machine import machine
from flts.train.stage import Trained, stored_result
from flts.wiring import RunContext


@dataclass(frozen=True)
class ScoredCandidate:
    """A trained candidate, its errors on the test windows, and how long training and scoring took."""

    trained: Trained
    errors: Errors
    duration_ms: int


@machine_faults()
def finish_model(
    context: RunContext,
    claim: TrainingData,
    experiment: Experiment,
    name: str,
    progress: Progress,
    *,
    recompute: bool,
    message: MessageRef | None = None,
) -> ModelTraining:
    """Train one candidate (or find it trained), score it, track it, record it, and tell the judge.

    message: the one that brought the claim, on a broker. Raises as `try_to`.
    """
    with context.children.slots:  # the model's time starts here; waiting for a slot does not count
        model_hash = experiment.identity.model_hashes[name]
        work = Work(claim, experiment, name, model_hash, context.clock.now(), message)
        started = tell.running(claim, name, work.model_hash, work.start)
        context.bus.publish(started.topic, started.key, started.to_bytes())  # nothing in the run rests on it
        done = try_to(context, work, lambda: _train(context, work, progress, recompute=recompute), progress)
    return conclude(context, work, done, progress)


def try_to(
    context: RunContext, work: Work, make: Callable[[], Trained], progress: Progress
) -> ScoredCandidate | Terminal:
    """Make a candidate and score it. A Terminal error is returned: a failed candidate with its reason.

    Transient errors and Interrupted are raised, and so is what a person or a newer flts has to do: wrong credentials of
    the store, a full disk, or a record of a later format, for instance, are no failure of a model.
    """
    watch = Stopwatch.start(context.clock)
    try:
        trained = make()
        progress.phase("score")
        return ScoredCandidate(trained, _score(context.store, work, trained), watch.elapsed_ms)
    except NEEDS_A_PERSON:
        raise
    except Terminal as error:
        if of_newer(error):
            raise
        return error


def conclude(context: RunContext, work: Work, done: ScoredCandidate | Terminal, progress: Progress) -> ModelTraining:
    """Track and record a candidate that ended, and tell the judge."""
    if isinstance(done, Terminal):
        return _fail(context, work, done)
    progress.phase("track")
    part = _record(context, work, done, _track(context, work, done))
    return _tell(context, work, done, part)


def recorded(store: Store, run: RunOf, model: str) -> TrainPart | FailurePart | None:
    """The part of a run that says how a candidate ended; None while there is none."""
    made = read_record(store, layout.run_part(run.config_hash, run.run, f"train-{model}"), TrainPart)
    return made or read_record(store, layout.failure(run.config_hash, run.run, model), FailurePart)


def _train(context: RunContext, work: Work, progress: Progress, *, recompute: bool) -> Trained:
    """The stored result, or a fit in a process of its own. A recompute first puts aside what is damaged."""
    claim, windows_hash = work.claim, work.experiment.windows.windows_hash
    if recompute:
        put_aside(context, work.experiment, work.name, work.model_hash)
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
        # the child may have died after its commit and before its report: what is committed counts, as for the judge
        committed = stored_result(context.store, work.name, work.model_hash, windows_hash)
        if stored is not None or committed is None:
            raise
        return replace(committed, fitted=True)


def _score(store: Store, work: Work, trained: Trained) -> Errors:
    """Score the stored forecasts; the judge computes the same figures from the same bytes."""
    experiment, task = work.experiment, work.experiment.task
    forecast = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)["y_hat"]
    truth = experiment.windows.truth(experiment.dataset, task.horizon)
    errors = measure(truth.values, forecast, yardstick(experiment.dataset, task))
    if not math.isfinite(errors.mse):
        raise TrainingFailed("its stored forecasts are not finite", code="forecasts-not-finite", model=work.name)
    return errors


def _track(context: RunContext, work: Work, scored: ScoredCandidate) -> str | None:
    """The id of the candidate's tracked run; there is one per scope, configuration and model."""
    store, tracker, now = context.store, context.tracker, context.clock.now()
    if tracker is None:
        return None

    known = known_run_id(store, work.claim, work.name, work.model_hash, tracker.uri)

    def make() -> TrackedRun:
        original = None if scored.trained.fitted else fitted_run_id(store, tracker, work)
        other = None if original == known else original
        return candidate_run(store, work, scored.trained, scored.errors, context.environment, now, other)

    return _logged(context, work, known, make)


def _logged(context: RunContext, work: Work, known: str | None, make: Callable[[], TrackedRun]) -> str | None:
    """The id of a tracked run. It is written at once, or behind the judgement where the id is known before.

    known: the id that an earlier run of this configuration recorded.
    """
    tracker = context.tracker
    assert tracker is not None
    reserved = None if context.behind is None else tracker.reserve()
    if context.behind is None or reserved is None:
        return known or tracker.log(make())
    if known is None:
        context.behind.append(lambda: tracker.log(make(), reserved))
    elif not told_of(context.store, work.claim, work.name, known):
        context.behind.append(partial(log_unless_ended, tracker, known, make))
    return known or reserved


def _record(context: RunContext, work: Work, scored: ScoredCandidate, run_id: str | None) -> TrainPart:
    """Write the candidate's part of the run, which the judge waits for."""
    claim, errors = work.claim, scored.errors
    part = TrainPart(
        run=claim.run,
        scope=claim.identifier,
        environment=context.environment,
        model=work.name,
        model_hash=work.model_hash,
        tracking_uri=context.tracker.uri if context.tracker else None,
        experiment=experiment_of(claim.identifier) if run_id else None,
        run_id=run_id,
        run_status="FINISHED" if run_id else None,
        started=work.start.isoformat(),
        ended=context.clock.now().isoformat(),
        processor=processor(),
        fitted=scored.trained.fitted,
        recomputed=scored.trained.recomputed,
        duration_ms=scored.duration_ms,
        errors=ScaledErrors(rmse=errors.rmse, mae=errors.mae, mse=errors.mse),
        bundle_sha256=scored.trained.bundle_sha256,
        forecasts_sha256=scored.trained.forecasts_sha256,
        deployment=context.deployment,
        machine=machine(libraries_of(work.name)),
        message=work.message,
    )
    key = layout.run_part(claim.config_hash, claim.run, f"train-{work.name}")
    return write_record(context.store, key, part, at="run.train")


def _tell(context: RunContext, work: Work, scored: ScoredCandidate, part: TrainPart) -> ModelTraining:
    events.emit(
        events.TrainComplete(
            config_hash=work.claim.config_hash,
            run_id=part.run_id,
            model_type=work.name.upper(),
            duration_ms=part.duration_ms,
            test_rmse=part.errors.rmse,
            test_mae=part.errors.mae,
            test_mse=part.errors.mse,
        )
    )
    return tell.publish(context, tell.succeeded(work.claim, part, context.clock.now(), scored.trained))


def _fail(context: RunContext, work: Work, error: Terminal) -> ModelTraining:
    """Track a candidate without a forecast, record why, and tell the judge."""
    part = _record_failure(context, work, error, _track_failure(context, work, error))
    events.emit(
        events.TrainFailed(
            config_hash=work.claim.config_hash, model_type=work.name.upper(), error=part.error, reason=part.reason
        )
    )
    return tell.publish(context, tell.failed(work.claim, part, work.model_hash, context.clock.now()))


def _track_failure(context: RunContext, work: Work, error: Terminal) -> str | None:
    store, tracker, now = context.store, context.tracker, context.clock.now()
    if tracker is None:
        return None
    known = known_failed_run_id(store, work, error, tracker.uri)
    return _logged(context, work, known, lambda: failed_run(store, work, error, context.environment, now))


def _record_failure(context: RunContext, work: Work, error: Terminal, run_id: str | None) -> FailurePart:
    claim = work.claim
    part = FailurePart(
        run=claim.run,
        scope=claim.identifier,
        environment=context.environment,
        model=work.name,
        model_hash=work.model_hash,
        tracking_uri=context.tracker.uri if context.tracker else None,
        started=work.start.isoformat(),
        ended=context.clock.now().isoformat(),
        processor=processor(),
        error=type(error).__name__,
        reason=str(error),
        experiment=experiment_of(claim.identifier) if run_id else None,
        run_id=run_id,
        run_status=status_of(type(error).__name__) if run_id else None,
        deployment=context.deployment,
        machine=machine(libraries_of(work.name)),
        message=work.message,
    )
    return write_record(context.store, layout.failure(claim.config_hash, claim.run, work.name), part, at="run.failure")


def record_dead_letter(
    context: RunContext, claim: RunOf, name: str, error: Exception, message: MessageRef | None = None
) -> None:
    """Record a failure for a claim that could not be handled, so that the judge does not wait for its model."""
    now = context.clock.now().isoformat()
    part = FailurePart(
        run=claim.run,
        scope=claim.identifier,
        environment=context.environment,
        model=name,
        started=now,
        ended=now,
        error=type(error).__name__,
        reason=str(error),
        run_id=None,
        deployment=context.deployment,
        message=message,
    )
    write_record(context.store, layout.failure(claim.config_hash, claim.run, name), part, at="run.buried")
    tell_failure(context, claim, part)


def tell_failure(context: RunContext, claim: RunOf, part: FailurePart) -> None:
    """Tell the judge of a recorded failure."""
    spec = load_stored_spec(context.store, claim.config_hash)
    model_hash = identify(spec, claim.data_hash, VERSIONS).model_hashes[part.model]
    tell.publish(context, tell.failed(claim, part, model_hash, context.clock.now()))
