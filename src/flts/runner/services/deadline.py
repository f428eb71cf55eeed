"""A model that never answers: after the deadline of a run its absence becomes a failure, which the judge can count."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from flts.contracts import events, layout, runs
from flts.contracts.errors import DeadlineExceeded, Terminal, Transient, UsageError
from flts.contracts.ports import Store
from flts.contracts.records.run import RunClaim
from flts.promotion.judge import Waiting
from flts.runner.candidate import record_dead_letter
from flts.runner.judgement import completeness
from flts.runner.stored import load_experiment
from flts.wiring import RunContext

OFTEN = 0.25
"""Share of the deadline between two looks."""


@dataclass(frozen=True)
class Overdue:
    """A run that was claimed longer ago than the deadline and is not judged."""

    config_hash: str
    data_hash: str
    identifier: str
    run: int


def watch(context: RunContext, seconds: float, stop: threading.Event) -> None:
    """Look from time to time until `stop` is set. Any number may watch: a failure is recorded once."""
    while not stop.wait(max(0.05, min(30.0, OFTEN * seconds))):
        try:
            look(context, seconds)
        except Transient:
            continue  # the next look finds the same


def look(context: RunContext, seconds: float) -> None:
    """Record a failure for every expected model of an overdue run that has neither result nor reason."""
    latest = context.clock.now() - timedelta(seconds=seconds)
    for config_hash in sorted({key.split("/")[1] for key in context.store.list("runs/")}):
        try:
            for overdue in _overdue(context.store, config_hash, latest):
                _fail_what_is_missing(context, overdue, seconds)
        except UsageError:
            raise
        except Terminal as error:  # of another version of flts, or damaged: those beside it are not held up
            events.emit(events.DeadlinePassedOver(config_hash=config_hash, reason=str(error)))


def _overdue(store: Store, config_hash: str, latest: datetime) -> Iterator[Overdue]:
    """The newest run of each scope, where it is late."""
    seen: set[str] = set()
    for claim in runs.parts(store, config_hash, "claim", RunClaim):
        if claim.scope in seen:
            continue
        seen.add(claim.scope)
        judged = store.exists(layout.run_part(config_hash, claim.run, "judge"))
        if not judged and datetime.fromisoformat(claim.started) < latest:
            yield Overdue(config_hash, claim.data_hash, claim.scope, claim.run)


def _fail_what_is_missing(context: RunContext, overdue: Overdue, seconds: float) -> None:
    experiment = load_experiment(context.store, overdue.config_hash, overdue.data_hash)
    found = completeness(context.store, experiment, overdue.identifier, overdue.run)
    if isinstance(found, Waiting):
        reason = f"no result {seconds:g} s after the run began, which is the decision_deadline"
        for name in found.missing:
            record_dead_letter(context, overdue, name, DeadlineExceeded(reason))
