"""The end of a run, for `flts run` and for an evaluator on a bus alike: judged, recorded, told to the tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flts.contracts import layout, runs
from flts.contracts.errors import StageFailed
from flts.contracts.ports import Store, read_json, write_json_once
from flts.contracts.records.base import read_record
from flts.contracts.records.decision import DecisionRecord
from flts.contracts.records.log import LogEntry
from flts.contracts.records.run import FailurePart, JudgePart, TrainPart
from flts.evaluate.case import Candidate
from flts.promotion.judge import Waiting, gather
from flts.promotion.stage import Judged, promote
from flts.train.experiment import Experiment
from flts.wiring import RunContext


@dataclass(frozen=True)
class Complete:
    """Every expected model has a result or a reason, and its trainer has written down what it made of it."""

    candidates: Sequence[Candidate]
    run_ids: Mapping[str, str | None]


def completeness(store: Store, experiment: Experiment, scope: str, run: int) -> Complete | Waiting:
    """What the store holds for a run, and who is still awaited.

    A model counts when the record of its run is there, too: a result alone has no run id yet, and the log would name
    the winner with or without one by who was faster.
    """
    config_hash = experiment.identity.config_hash
    candidates = gather(store, experiment, scope)
    if isinstance(candidates, Waiting):
        return candidates
    known = {c.name: _record_of(store, config_hash, scope, run, c) for c in candidates}
    unwritten = [name for name, record in known.items() if record is None]
    if unwritten:
        return Waiting([name for name in known if name not in unwritten], unwritten)
    return Complete(candidates, {name: record.run_id for name, record in known.items() if record is not None})


def judge_run(context: RunContext, experiment: Experiment, scope: str, run: int, *, actor: str) -> Judged | Waiting:
    """Judge what the store holds for a configuration, record it, and tell the tracker."""
    store, config_hash = context.store, experiment.identity.config_hash
    found = completeness(store, experiment, scope, run)
    if isinstance(found, Waiting):
        return found
    began = read_json(store, layout.run_part(config_hash, run, "claim")) or {}
    judged = promote(
        store,
        context.bus,
        context.clock,
        experiment,
        found.candidates,
        scope=scope,
        actor=actor,
        run_ids=found.run_ids,
        since=began.get("promotion"),
    )
    record_judgement(context, config_hash, scope, run, judged, found.run_ids)
    return judged


def _record_of(
    store: Store, config_hash: str, scope: str, run: int, candidate: Candidate
) -> TrainPart | FailurePart | None:
    """What was written down of a candidate: by its trainer, in any run; of a failure, in this run."""
    records = runs.parts(store, config_hash, f"train-{candidate.name}", TrainPart)
    trained = next((record for record in records if record.scope == scope), None)
    failed = read_record(store, layout.failure(config_hash, run, candidate.name), FailurePart)
    return trained or failed if candidate.status == "SUCCESS" else failed or trained


def record_judgement(
    context: RunContext, config_hash: str, scope: str, run: int, judged: Judged, run_ids: Mapping[str, str | None]
) -> None:
    """Tell the tracker what only the judge knows, then write the judge's part of the run.

    Raises StageFailed when the judge's score of a candidate is not the one it was trained with.
    """
    _compare_scores(context.store, config_hash, run, judged.decision.record)
    champion = judged.champion
    part = {
        "v": 1,
        "run": run,
        "scope": scope,
        "environment": context.environment,
        "decision_id": judged.decision.decision_id,
        "outcome": judged.decision.outcome,
        "repeated": judged.repeated,
        "promotion": champion.number if champion else None,
        "run_ids": dict(run_ids),
        "ended": context.clock.now().isoformat(),
    }
    if context.tracker is not None and not _told_before(context.store, config_hash, part):
        for row in judged.decision.record.ranked:
            run_id = run_ids.get(row.model)
            if run_id is not None:
                promoted = champion is not None and champion.champion.model_hash == row.model_hash
                numbers = row.model_dump(include={"score", "rank", "skill", "skill_vs_naive"})
                metrics = {name: float(value) for name, value in numbers.items() if value is not None}
                context.tracker.annotate(run_id, metrics, {"flts.promoted": str(promoted).lower()})
        point_tracker(context, champion)
    write_json_once(context.store, layout.run_part(config_hash, run, "judge"), part, at="run.judge")


def point_tracker(context: RunContext, champion: LogEntry | None) -> None:
    """Make the tracker's alias `champion` follow the log."""
    if context.tracker is not None and champion is not None and champion.champion.run_id is not None:
        promoted = champion.champion
        context.tracker.promote(champion.scope, champion.champion.run_id, promoted.model_type, promoted.bundle_sha256)


def _told_before(store: Store, config_hash: str, part: Mapping[str, Any]) -> bool:
    """Whether an earlier judgement of this configuration and scope told the tracker the same."""
    told = {name: part[name] for name in ("scope", "run_ids", "promotion")}
    earlier = runs.parts(store, config_hash, "judge", JudgePart)
    return any(told.items() <= record.model_dump(mode="json").items() for record in earlier)


def _compare_scores(store: Store, config_hash: str, run: int, record: DecisionRecord) -> None:
    """The judge scored the same bytes as the trainer's process did: another figure is a defect, and said."""
    for row in record.ranked:
        part = read_record(store, layout.run_part(config_hash, run, f"train-{row.model}"), TrainPart)
        if part is not None:
            first, second = part.errors.model_dump(), row.model_dump(include={"rmse", "mae", "mse"})
            if first != second:
                raise StageFailed(
                    f"{row.model} was scored twice from the same stored forecasts, with different results:"
                    f" {first} when it was trained, {second} by the judge"
                )
