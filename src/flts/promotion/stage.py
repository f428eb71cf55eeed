"""Promote: judge a finished experiment and record the outcome once, however many judges do so and however often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flts.contracts import events
from flts.contracts.errors import UsageError, nearest
from flts.contracts.ports import Bus, Clock, Store, experiment_of
from flts.contracts.records.decision import CandidateRow, DecisionRecord, UnrankedRow
from flts.contracts.records.log import LogEntry, Promoted
from flts.contracts.records.run import MessageRef
from flts.evaluate.case import Candidate
from flts.evaluate.decide import Decision
from flts.promotion.judge import judge, stored_decision
from flts.promotion.log import EMPTY, Chain, append, next_entry, none_in, read_chain, rollback_target, stored_digest
from flts.promotion.relay import relay
from flts.train.experiment import Experiment


@dataclass(frozen=True)
class Judged:
    """The result of a judgement.

    entry: the log entry of this decision, new or earlier; repeated: it was in the log before; log: as it is now;
    announced: the message about its newest entry, where this judge sent it.
    """

    decision: Decision
    entry: LogEntry | None
    repeated: bool
    log: Chain
    announced: MessageRef | None = None

    @property
    def champion(self) -> LogEntry | None:
        """The entry that is in force now; None when nothing was ever promoted."""
        return self.log.newest


def promote(  # noqa: PLR0913 - the places it works on, and what only its caller knows of the run
    store: Store,
    bus: Bus,
    clock: Clock,
    experiment: Experiment,
    candidates: Sequence[Candidate],
    *,
    scope: str,
    actor: str,
    run_ids: Mapping[str, str | None],
    since: int | None = None,
    known: Chain = EMPTY,
) -> Judged:
    """Decide against the current champion; a decision to promote enters the log exactly once.

    since: number of the newest log entry when the run began. A later promotion of this configuration belongs to this
    run: its judge was stopped before it could report. It is not decided again. known: what was read of the log before.

    A decision that is already in the log is not applied again, so a repeated run does not undo a rollback. When another
    judge logs the same decision first, nothing is left to do. When it promotes another champion, this judge decides
    again against that one.
    """
    decisions: list[Decision] = []
    log = known

    def propose(current: Chain) -> LogEntry | None:
        nonlocal log
        log, entries = current, current.entries
        if decisions and any(e.decision_id == decisions[-1].decision_id for e in entries):
            return None
        own = _own_promotion(entries, experiment.identity.config_hash, since)
        if own is not None:
            decisions.append(stored_decision(store, own, candidates))
            return None
        decision = judge(store, experiment, candidates, scope, entries)
        decisions.append(decision)
        if decision.outcome != "promote" or any(e.decision_id == decision.decision_id for e in entries):
            return None
        return next_entry(
            log,
            scope,
            "promote",
            _promoted(experiment, decision, run_ids),
            decision.decision_id,
            actor,
            clock.now().isoformat(),
            decision_sha256=stored_digest(store, scope, decision.decision_id),
        )

    events.emit(
        events.PromotionAllModelsPresent(
            config_hash=experiment.identity.config_hash, models=[c.name.upper() for c in candidates]
        )
    )
    entry = append(store, scope, propose, known)
    decision = decisions[-1]
    _announce(decision.record, run_ids)
    earlier = next((e for e in log.entries if e.decision_id == decision.decision_id), None)
    relayed = relay(store, bus, scope, log)
    repeated = entry is None and earlier is not None
    return Judged(decision, entry or earlier, repeated, relayed.log, relayed.announced)


def _own_promotion(entries: Sequence[LogEntry], config_hash: str, since: int | None) -> LogEntry | None:
    if since is None:
        return None
    later = (entry for entry in entries[since:] if entry.kind == "promote")
    return next((entry for entry in later if entry.champion.config_hash == config_hash), None)


def rollback(
    store: Store,
    bus: Bus,
    clock: Clock,
    scope: str,
    actor: str,
    *,
    saw: int | None = None,
    reason: str | None = None,
) -> LogEntry:
    """Restore the champion before the current one. Raises UsageError when there is none.

    saw: number of the promotion that the caller wants to undo; by default the one that is newest now. Where another one
    is newest when the entry is written, UsageError is raised: two rollbacks that meet go back one promotion, not two.
    """
    seen = read_chain(store, scope)
    if not seen.entries:
        raise UsageError(none_in(store, scope), code="no-earlier-champion", scope=scope)
    if saw is not None and saw != seen.entries[-1].number:
        raise _changed(seen.entries[-1], saw)

    def propose(log: Chain) -> LogEntry:
        target = rollback_target(log.entries, scope)
        if log.head != seen.head:
            raise _changed(log.entries[-1], len(seen.entries))
        return next_entry(
            log,
            scope,
            "rollback",
            target.champion,
            target.decision_id,
            actor,
            clock.now().isoformat(),
            restores=target.number,
            decision_sha256=target.decision_sha256 or stored_digest(store, scope, target.decision_id),
            reason=reason,
        )

    entry = append(store, scope, propose, seen)
    relay(store, bus, scope)
    assert entry is not None
    return entry


def _changed(newest: LogEntry, saw: int) -> UsageError:
    return UsageError(
        f"the champion of '{newest.scope}' is promotion {newest.number} ({newest.kind} by {newest.actor}), not"
        f" {saw}; nothing was rolled back, look again",
        code="champion-changed",
        scope=newest.scope,
        expected=saw,
        found=newest.number,
    )


def promote_by_hand(
    store: Store,
    bus: Bus,
    clock: Clock,
    scope: str,
    champion: Promoted,
    decision_id: str,
    actor: str,
    *,
    reason: str | None = None,
) -> LogEntry | None:
    """Promote a judged candidate whatever the gates said. None when it is already the champion."""

    def propose(log: Chain) -> LogEntry | None:
        if log.entries and log.entries[-1].champion.bundle_sha256 == champion.bundle_sha256:
            return None
        return next_entry(
            log,
            scope,
            "manual",
            champion,
            decision_id,
            actor,
            clock.now().isoformat(),
            decision_sha256=stored_digest(store, scope, decision_id),
            reason=reason,
        )

    entry = append(store, scope, propose)
    relay(store, bus, scope)
    return entry


def promoted_of(record: DecisionRecord, model: str, data_hash: str, run_id: str | None) -> Promoted:
    """A candidate of a stored decision as the log records it. Raises UsageError when it has no forecast there."""
    row = record.row(model)
    if row is None:
        ranked = [candidate.model for candidate in record.ranked]
        raise UsageError(
            f"'{model}' has no forecast in that run; {nearest(model, ranked)}",
            code="no-forecast",
            model=model,
            valid=ranked,
        )
    return Promoted(
        config_hash=record.config_hash,
        data_hash=data_hash,
        model_hash=row.model_hash,
        model=model,
        model_type=model.upper(),
        bundle_sha256=row.bundle_sha256,
        run_id=run_id,
        model_uri=uri(model, row.bundle_sha256, run_id),
        score=row.score,
        rmse=row.rmse,
        mae=row.mae,
        mse=row.mse,
        weights=record.rules.weights.model_dump(),
    )


def uri(model: str, bundle_sha256: str, run_id: str | None) -> str:
    """Where a model is found: in the tracker, else in the store."""
    return f"runs:/{run_id}/{model.upper()}" if run_id else f"store:bundles/{bundle_sha256}"


def _promoted(experiment: Experiment, decision: Decision, run_ids: Mapping[str, str | None]) -> Promoted:
    assert decision.winner is not None
    name = decision.winner.name
    return promoted_of(decision.record, name, experiment.identity.data_hash, run_ids.get(name))


def _announce(record: DecisionRecord, run_ids: Mapping[str, str | None]) -> None:
    events.emit(
        events.PromotionScoreboard(config_hash=record.config_hash, board=[board_line(row) for row in record.candidates])
    )
    winner = record.row(record.winner)
    run_id = run_ids.get(winner.model) if winner else None
    events.emit(
        events.PromotionDecision(
            config_hash=record.config_hash,
            decision_id=record.decision_id,
            outcome=record.outcome,
            run_id=run_id,
            model_type=winner.model.upper() if winner else None,
            experiment=experiment_of(record.scope),
            model_uri=uri(winner.model, winner.bundle_sha256, run_id) if winner else None,
            score=winner.score if winner else None,
            reason="; ".join(record.reasons),
        )
    )


def board_line(row: CandidateRow | UnrankedRow) -> dict[str, str | float | None]:
    """A row of the scoreboard as an event shows it; without a forecast its errors are None."""
    fields = ("rank", "model", "score", "rmse", "mae", "mse", "status")
    return dict.fromkeys(fields) | row.model_dump(include=set(fields))
