"""The start of a run, locally or with services: process the rows, take a run number, tell the trainers."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from flts.contracts import events, layout, runs
from flts.contracts.canonical import canonical_json
from flts.contracts.errors import DamagedObject, SpecError
from flts.contracts.messages import InferenceData, TrainingData
from flts.contracts.ports import Store, changed, write_once
from flts.contracts.records.base import write_record
from flts.contracts.records.data import ProcessedMeta
from flts.contracts.records.run import PreprocessPart, RunClaim
from flts.preprocess import CODE_VERSION
from flts.preprocess.source import RawInput
from flts.preprocess.stage import Prepared, load_dataset, preprocess
from flts.promotion.log import Chain, read_chain
from flts.runner.estimate import estimates, searches
from flts.runner.reporter import Estimated, Reporter
from flts.runner.stopwatch import Stopwatch
from flts.runner.stored import VERSIONS
from flts.runner.tell import publish
from flts.spec.fields import Spec
from flts.spec.lineage import identify
from flts.spec.resolved import resolve
from flts.train.experiment import Experiment, plan_experiment
from flts.train.machine import machine
from flts.train.stage import stored_result
from flts.version import __version__
from flts.wiring import RunContext


@dataclass(frozen=True)
class StartedRun:
    """A run that trainers may work on.

    meta: describes its rows; log: the promotion log when the run began; unfinished: the models that still need a fit or
    a forecast, None where services find that out.
    """

    claim: TrainingData
    experiment: Experiment
    meta: ProcessedMeta
    log: Chain
    unfinished: Sequence[str] | None
    recompute: bool


def start(
    context: RunContext,
    spec: Spec,
    raw: RawInput,
    reporter: Reporter,
    *,
    recompute: bool = False,
    trains_here: bool = False,
) -> StartedRun:
    """Process the rows, take a run number and tell the trainers.

    trains_here: this process fits the models and needs to know which are unfinished. Raises SpecError, DataError, and
    DamagedObject for a promotion log that cannot be continued, Interrupted where a person does not want a long run.
    """
    reporter.stage("preprocess", "running")
    watch = Stopwatch.start(context.clock)
    prepared, experiment = prepare(context.store, spec, raw)
    if not recompute:
        _refuse_changed(context.store, experiment.identity.config_hash, prepared)
    meta = prepared.meta
    rows = f"{meta.train.rows:,} train rows, {meta.test.rows:,} test rows"
    reporter.stage("preprocess", "reused" if prepared.reused else "done", rows)
    unfinished = _unfinished(context.store, experiment, recompute=recompute) if trains_here else None
    if unfinished:
        seconds = estimates(experiment, unfinished)
        others = [name for name in experiment.spec.expected if name not in seconds]
        reporter.expect(Estimated(seconds, others, searches(experiment.spec, unfinished), context.train_timeout))
    log = read_chain(context.store, spec.dataset.scope)
    number = _claim_number(context, experiment, promotion=len(log.entries), recompute=recompute)
    claim = _claim(context, experiment, prepared, number, meta.train.rows)
    _record(context, claim, prepared, watch)
    _tell(context, claim)
    return StartedRun(claim, experiment, meta, log, unfinished, recompute)


def _refuse_changed(store: Store, config_hash: str, prepared: Prepared) -> None:
    """Raise DamagedObject where meta.json is not the one that the newest run of this configuration recorded.

    Its name is the hash of the input, so no digest tells a changed number in it. A recompute takes it as it is.
    """
    try:
        part = next(runs.parts(store, config_hash, "preprocess", PreprocessPart), None)
    except DamagedObject:
        return  # a damaged record of an earlier run says nothing of meta.json
    if part is not None and part.meta_sha256 != prepared.sha256:
        key = layout.meta(prepared.data_hash)
        said = f"run {part.run} of this experiment used"
        raise changed(store, key, part.meta_sha256, prepared.sha256, said)


def prepare(store: Store, spec: Spec, raw: RawInput) -> tuple[Prepared, Experiment]:
    """Store the processed rows and plan the experiment, resolved on them. Raises SpecError, DataError."""
    if not spec.dataset.targets:
        raise SpecError("dataset.targets names no column; name the column to forecast, or several", code="no-targets")
    prepared = preprocess(spec, raw, store, CODE_VERSION)
    resolved = resolve(spec, prepared.meta)
    identity = identify(resolved, prepared.data_hash, VERSIONS)
    dataset = load_dataset(store, prepared.data_hash, tuple(resolved.dataset.targets))
    return prepared, plan_experiment(resolved, identity, dataset)


def claim_run(
    context: RunContext, config_hash: str, scope: str, data_hash: str, *, promotion: int, recompute: bool = False
) -> int:
    """Take the next free run number of this configuration.

    promotion: number of the newest log entry. It is recorded so that a judge that was interrupted recognizes its own
    promotion.
    """
    record = RunClaim(
        run=1,
        scope=scope,
        environment=context.environment,
        data_hash=data_hash,
        recompute=recompute,
        promotion=promotion,
        flts=__version__,
        started=context.clock.now().isoformat(),
        claimed_by=uuid.uuid4().hex,
        deployment=context.deployment,
    )
    return runs.claim(context.store, config_hash, record)


def claim_rows(context: RunContext, started: StartedRun) -> InferenceData:
    """Ask the forecaster for a batch on the test rows of a run, which the store holds in original units."""
    claim, part = started.claim, started.meta.test
    bucket, _, object_key = layout.test_rows(claim.data_hash).partition("/")
    message = InferenceData(
        ts=context.clock.now(),
        identifier=claim.identifier,
        bucket=bucket,
        object_key=object_key,
        size=part.size,
        sha256=part.sha256,
        row_count=part.rows,
        config_hash=claim.config_hash,
        data_hash=claim.data_hash,
    )
    context.bus.publish(message.topic, message.key, message.to_bytes())
    return message


def _unfinished(store: Store, experiment: Experiment, *, recompute: bool) -> list[str]:
    windows_hash = experiment.windows.windows_hash
    return [
        name
        for name in experiment.spec.trained
        if recompute or not _is_stored(store, name, experiment.identity.model_hashes[name], windows_hash)
    ]


def _is_stored(store: Store, name: str, model_hash: str, windows_hash: str) -> bool:
    """False for a damaged result, too: the candidate's own step says what is wrong with it."""
    try:
        return stored_result(store, name, model_hash, windows_hash) is not None
    except DamagedObject:
        return False


def _claim_number(context: RunContext, experiment: Experiment, *, promotion: int, recompute: bool) -> int:
    """Store the Spec, then take a number: whoever finds the run also finds its Spec."""
    spec, identity = experiment.spec, experiment.identity
    data = canonical_json(spec.identity())
    write_once(context.store, layout.spec(identity.config_hash), data, at="run.spec")
    return claim_run(
        context,
        identity.config_hash,
        spec.dataset.scope,
        identity.data_hash,
        promotion=promotion,
        recompute=recompute,
    )


def _claim(context: RunContext, experiment: Experiment, prepared: Prepared, number: int, rows: int) -> TrainingData:
    identity = experiment.identity
    bucket, _, object_key = layout.meta(prepared.data_hash).partition("/")
    return TrainingData(
        ts=context.clock.now(),
        identifier=experiment.spec.dataset.scope,
        config_hash=identity.config_hash,
        data_hash=identity.data_hash,
        run=number,
        bucket=bucket,
        object_key=object_key,
        size=prepared.size,
        sha256=prepared.sha256,
        row_count=rows,
        spec_key=layout.spec(identity.config_hash),
    )


def _record(context: RunContext, claim: TrainingData, prepared: Prepared, watch: Stopwatch) -> None:
    part = PreprocessPart(
        run=claim.run,
        scope=claim.identifier,
        environment=context.environment,
        data_hash=claim.data_hash,
        input_hash=prepared.input_hash,
        meta_sha256=prepared.sha256,
        reused=prepared.reused,
        started=watch.started.isoformat(),
        ended=claim.ts.isoformat(),
        duration_ms=watch.elapsed_ms,
        machine=machine(),
    )
    key = layout.run_part(claim.config_hash, claim.run, "preprocess")
    write_record(context.store, key, part, at="run.preprocess")


def _tell(context: RunContext, claim: TrainingData) -> None:
    publish(context, claim)
    events.emit(
        events.ClaimPublished(
            config_hash=claim.config_hash,
            data_hash=claim.data_hash,
            run=claim.run,
            topic=claim.topic,
            event_id=claim.event_id,
        )
    )
