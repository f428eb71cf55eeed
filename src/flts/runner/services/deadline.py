"""A model that never answers: after the deadline of a run its absence becomes a failure, which the judge can count."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flts.contracts import events, layout, runs
from flts.contracts.errors import DeadlineExceeded, Terminal, Transient, UsageError
from flts.contracts.ports import Store
from flts.contracts.records.base import require_record
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
    """Record a failure for every expected model of an overdue run that has neither result nor reason.

    The names under `runs/` are listed, because nothing else in the store tells which runs are open and a message about
    them may have been lost. Of the objects, only the claims of runs without a judgement are read, and the newest claim
    of their scope: what a look costs beyond that one listing does not grow with the runs that have ended.
    """
    latest = context.clock.now() - timedelta(seconds=seconds)
    for config_hash, numbers in _unjudged(context.store.list("runs/")).items():
        try:
            for overdue in _overdue(context.store, config_hash, numbers, latest):
                _fail_what_is_missing(context, overdue, seconds)
        except UsageError:
            raise
        except Terminal as error:  # of another version of flts, or damaged: those beside it are not held up
            events.emit(events.DeadlinePassedOver(config_hash=config_hash, reason=str(error)))


def _unjudged(keys: Sequence[str]) -> dict[str, list[int]]:
    """Numbers of the claimed runs without a judgement by config_hash, both in their order; from names alone."""
    parts = [key.split("/") for key in keys]
    judged = {(config_hash, number) for _, config_hash, number, *rest in parts if rest == ["judge.json"]}
    found: dict[str, list[int]] = {}
    for _, config_hash, number, *rest in parts:
        if rest == ["claim.json"] and (config_hash, number) not in judged:
            found.setdefault(config_hash, []).append(int(number))
    return found


def _overdue(store: Store, config_hash: str, numbers: Sequence[int], latest: datetime) -> Iterator[Overdue]:
    """Of these runs, those that are late and the newest of their scope; a newer one takes the place of the others."""
    for number in numbers:
        claim = require_record(store, layout.run_part(config_hash, number, "claim"), RunClaim)
        late = datetime.fromisoformat(claim.started) < latest
        if late and runs.newest(store, config_hash, claim.scope) == number:
            yield Overdue(config_hash, claim.data_hash, claim.scope, number)


def _fail_what_is_missing(context: RunContext, overdue: Overdue, seconds: float) -> None:
    experiment = load_experiment(context.store, overdue.config_hash, overdue.data_hash)
    found = completeness(context.store, experiment, overdue.identifier, overdue.run)
    if isinstance(found, Waiting):
        reason = f"no result {seconds:g} s after the run began, which is the decision_deadline"
        for name in found.missing:
            record_dead_letter(context, overdue, name, DeadlineExceeded(reason))
