"""The end of a run, for `flts run` and for an evaluator alike: judge, record, tell the tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flts.contracts import events, layout, run_index, runs
from flts.contracts.canonical import sha256
from flts.contracts.errors import StageFailed
from flts.contracts.ports import Store, Tracker
from flts.contracts.records.base import read_record, require_sealed, write_record
from flts.contracts.records.decision import DecisionRecord
from flts.contracts.records.log import LogEntry
from flts.contracts.records.run import (
    DecidedBy,
    FailurePart,
    JudgePart,
    JudgeSeal,
    MessageRef,
    RunClaim,
    ScaledErrors,
    TrainPart,
)
from flts.evaluate.case import Candidate
from flts.promotion.judge import Waiting, ensemble_of, gather_trained
from flts.promotion.log import EMPTY, Chain, stored_digest
from flts.promotion.stage import Judged, promote
from flts.runner.ensemble import finish_ensemble
from flts.runner.stopwatch import Stopwatch
from flts.runner.tell import NamedRun
from flts.spec.models import ENSEMBLE
from flts.train.experiment import Experiment
from flts.train.machine import machine
from flts.wiring import RunContext


@dataclass(frozen=True)
class Complete:
    """Every expected model has a result or a reason, and the part of the run that records it."""

    candidates: Sequence[Candidate]
    run_ids: Mapping[str, str | None]


def completeness(store: Store, experiment: Experiment, scope: str, run: int) -> Complete | Waiting:
    """The trained candidates of a run, or which models it still waits for; never for its ensemble, which it makes.

    A model counts only when its part of the run is stored, too. A result alone has no tracker run id yet; whether the
    log names one for the winner would then depend on who was faster.
    """
    config_hash = experiment.identity.config_hash
    candidates = gather_trained(store, experiment, run)
    if isinstance(candidates, Waiting):
        return candidates
    parts = {c.name: _part_of(store, config_hash, scope, run, c) for c in candidates}
    missing = [name for name, part in parts.items() if part is None]
    if missing:
        return Waiting([name for name in parts if name not in missing], missing)
    return Complete(candidates, {name: part.run_id for name, part in parts.items() if part is not None})


@dataclass(frozen=True)
class JudgedRun:
    """A run that is judged and promoted, of which neither the tracker knows nor the judge's part of the run."""

    judged: Judged
    part: JudgePart
    config_hash: str
    claim: RunClaim | None


def judge_run(
    context: RunContext,
    experiment: Experiment,
    scope: str,
    run: int,
    *,
    actor: str,
    known: Chain = EMPTY,
    message: MessageRef | None = None,
) -> Judged | Waiting:
    """Judge what the store holds for a configuration, tell the tracker, and record it.

    known: what was read of the log before, which is not read again; message: the one that led here, on a broker.
    """
    judgement = promote_run(context, experiment, scope, run, actor=actor, known=known, message=message)
    if isinstance(judgement, Waiting):
        return judgement
    tell_tracker(context, judgement)
    record_judgement(context, judgement)
    return judgement.judged


def promote_run(
    context: RunContext,
    experiment: Experiment,
    scope: str,
    run: int,
    *,
    actor: str,
    known: Chain = EMPTY,
    message: MessageRef | None = None,
) -> JudgedRun | Waiting:
    """Judge what the store holds for a configuration; afterwards the log and the pointers name the champion.

    Raises StageFailed when the judge's score of a candidate differs from the one recorded after training.
    """
    watch = Stopwatch.start(context.clock)
    store, config_hash = context.store, experiment.identity.config_hash
    complete = completeness(store, experiment, scope, run)
    if isinstance(complete, Waiting):
        return complete
    claim = read_record(store, layout.run_part(config_hash, run, "claim"), RunClaim)
    if ENSEMBLE in experiment.identity.model_hashes:
        named = NamedRun(config_hash, experiment.identity.data_hash, scope, run)
        recompute = claim is not None and claim.recompute
        complete = _with_ensemble(context, named, experiment, complete, recompute=recompute, message=message)
    judged = promote(
        store,
        context.bus,
        context.clock,
        experiment,
        complete.candidates,
        scope=scope,
        actor=actor,
        run_ids=complete.run_ids,
        since=claim.promotion if claim else None,
        known=known,
    )
    return judgement_of(
        context, config_hash, scope, run, judged, complete.run_ids, watch=watch, claim=claim, message=message
    )


def _with_ensemble(
    context: RunContext,
    run: NamedRun,
    experiment: Experiment,
    trained: Complete,
    *,
    recompute: bool,
    message: MessageRef | None,
) -> Complete:
    """The candidates with their ensemble, which is made and recorded here."""
    told = finish_ensemble(context, run, experiment, trained.candidates, recompute=recompute, message=message)
    ensemble = ensemble_of(context.store, experiment, trained.candidates, run.run)
    if ensemble is None:  # the run has a part of it, which names what is no longer there
        raise StageFailed(
            f"run {run.run} of {run.config_hash[:12]}… records an ensemble that is not stored; `flts run --recompute`"
            " makes it again",
            code="result-missing",
            models=[ENSEMBLE],
        )
    candidates = sorted([*trained.candidates, ensemble], key=lambda candidate: candidate.name)
    return Complete(candidates, {**trained.run_ids, ENSEMBLE: told.run_id})


def judgement_of(
    context: RunContext,
    config_hash: str,
    scope: str,
    run: int,
    judged: Judged,
    run_ids: Mapping[str, str | None],
    *,
    watch: Stopwatch,
    claim: RunClaim | None = None,
    message: MessageRef | None = None,
) -> JudgedRun:
    """What a judge has to say of a run. Raises StageFailed when its scores differ from the recorded ones."""
    decision, champion = judged.decision.record, judged.champion
    _compare_scores(context.store, config_hash, run, decision)
    part = JudgePart(
        run=run,
        scope=scope,
        environment=context.environment,
        decision_id=judged.decision.decision_id,
        decision_sha256=stored_digest(context.store, scope, judged.decision.decision_id),
        outcome=judged.decision.outcome,
        repeated=judged.repeated,
        promotion=champion.number if champion else None,
        entry_sha256=judged.log.head,
        run_ids=dict(run_ids),
        rests_on=_rests_on(context.store, config_hash, run, decision),
        started=watch.started.isoformat(),
        ended=context.clock.now().isoformat(),
        duration_ms=watch.elapsed_ms,
        deployment=context.deployment,
        machine=machine(),
        message=message,
        announced=judged.announced,
    )
    return JudgedRun(judged, part, config_hash, claim)


def tell_tracker(context: RunContext, judgement: JudgedRun) -> None:
    """Tell the tracker what only the judge knows, unless an earlier judgement told it the same."""
    judged, part = judgement.judged, judgement.part
    if context.tracker is not None and not _told_before(context.store, judgement.config_hash, part):
        _annotate(context.tracker, judged.decision.record, judged.champion, part.run_ids)
        point_tracker(context, judged.log)


def record_judgement(context: RunContext, judgement: JudgedRun, *, untold: bool = False) -> None:
    """Write the judge's part of the run, the last one. untold: the tracker does not know of all of it."""
    part = judgement.part.model_copy(update={"untold": True}) if untold else judgement.part
    store, config_hash, claim = context.store, judgement.config_hash, judgement.claim
    noted = DecidedBy(decision_id=part.decision_id, config_hash=config_hash, run=part.run)
    write_record(store, layout.decided_by(part.decision_id), noted, at="run.decided")
    _write_sealed(store, config_hash, part)
    if claim is not None:
        run_index.settled(store, run_index.entry_of(config_hash, claim))


def _rests_on(store: Store, config_hash: str, run: int, decision: DecisionRecord) -> dict[str, str]:
    """Digests by key of the records that the decision does not name."""
    seals, judge = layout.seals(config_hash, run), layout.run_part(config_hash, run, "judge")
    parts = [key for key in store.list(layout.run_folder(config_hash, run)) if key != judge]
    limited = decision.rules.max_latency_ms != "off"
    latencies = [layout.latency(row.model_hash) for row in decision.ranked if limited]
    named = [layout.spec(config_hash), *(key for key in parts if not key.startswith(seals)), *latencies]
    return {key: sha256(data) for key in named if (data := store.get(key)) is not None}


def _write_sealed(store: Store, config_hash: str, part: JudgePart) -> None:
    """Write the judge's part after its seal: no record that counts is ever without one."""
    key = layout.run_part(config_hash, part.run, "judge")
    if not store.exists(key):
        seal = JudgeSeal(run=part.run, judge_sha256=sha256(part.to_bytes()))
        write_record(store, layout.seal(config_hash, part.run, seal.judge_sha256), seal, at="run.seal")
        write_record(store, key, part, at="run.judge")
    stored, digest = require_sealed(store, key, JudgePart)  # an earlier flts may have written other bytes
    events.emit(
        events.RunJudged(config_hash=config_hash, run=part.run, decision_id=stored.decision_id, judge_sha256=digest)
    )


def point_tracker(context: RunContext, log: Chain) -> None:
    """Make the tracker's alias `champion` follow the log, and its version name the digest of the newest entry."""
    if context.tracker is None or log.newest is None or log.head is None:
        return
    scope, promoted = log.newest.scope, log.newest.champion
    if promoted.run_id is not None:
        context.tracker.promote(scope, promoted.run_id, promoted.model_type, promoted.bundle_sha256, log.head)


def _part_of(
    store: Store, config_hash: str, scope: str, run: int, candidate: Candidate
) -> TrainPart | FailurePart | None:
    """The recorded part of a candidate: a result from any run, a failure from this run only."""
    parts = runs.parts(store, config_hash, f"train-{candidate.name}", TrainPart)
    trained = next((part for part in parts if part.scope == scope), None)
    failed = read_record(store, layout.failure(config_hash, run, candidate.name), FailurePart)
    return trained or failed if candidate.status == "SUCCESS" else failed or trained


def _annotate(
    tracker: Tracker, decision: DecisionRecord, champion: LogEntry | None, run_ids: Mapping[str, str | None]
) -> None:
    """Add the judge's figures to every tracked run."""
    for row in decision.ranked:
        run_id = run_ids.get(row.model)
        if run_id is None:
            continue
        promoted = champion is not None and champion.champion.model_hash == row.model_hash
        figures = {"score": row.score, "rank": row.rank, "skill": row.skill, "skill_vs_naive": row.skill_vs_naive}
        metrics = {name: float(value) for name, value in figures.items() if value is not None}
        tracker.annotate(run_id, metrics, {"flts.promoted": str(promoted).lower()})


def _told_before(store: Store, config_hash: str, part: JudgePart) -> bool:
    """Whether the judgement of this configuration and scope that told the tracker last told it the same."""
    earlier = runs.parts(store, config_hash, "judge", JudgePart)
    last = next((record for record in earlier if record.scope == part.scope and not record.untold), None)
    told = (part.run_ids, part.promotion, part.entry_sha256)
    return last is not None and (last.run_ids, last.promotion, last.entry_sha256) == told


def _compare_scores(store: Store, config_hash: str, run: int, decision: DecisionRecord) -> None:
    """Raise when the judge's figures differ from the trainer's: both scored the same bytes, so that is a defect."""
    for row in decision.ranked:
        part = read_record(store, layout.run_part(config_hash, run, f"train-{row.model}"), TrainPart)
        if part is None:
            continue
        first, second = part.errors, ScaledErrors(rmse=row.rmse, mae=row.mae, mse=row.mse)
        if first != second:
            raise StageFailed(
                f"{row.model} was scored twice from the same stored forecasts, with different results:"
                f" {first.model_dump()} when it was trained, {second.model_dump()} by the judge",
                code="scores-differ",
                model=row.model,
            )
