"""The decision deadline: a model without a result by then is recorded as failed, so that the judge need not wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta

from flts.contracts import events, layout, run_index, runs
from flts.contracts.errors import NEEDS_A_PERSON, DeadlineExceeded, Terminal, Transient
from flts.contracts.layout import RunEntry
from flts.contracts.ports import Store
from flts.contracts.records.run import RunClaim
from flts.promotion.judge import Waiting
from flts.runner.candidate import record_dead_letter
from flts.runner.judgement import completeness
from flts.runner.stored import load_experiment
from flts.runner.tell import NamedRun
from flts.wiring import RunContext

CHECK_INTERVAL = 0.25
"""Time between two checks, as a share of the deadline."""


def watch(context: RunContext, seconds: float, stop: threading.Event) -> None:
    """Check from time to time until `stop` is set. Any number of processes may watch: a failure is recorded once."""
    while not stop.wait(max(0.05, min(30.0, CHECK_INTERVAL * seconds))):
        try:
            check(context, seconds)
        except Transient:
            continue  # the next check sees the same runs


def check(context: RunContext, seconds: float) -> None:
    """Record a failure for every expected model of an overdue run that has neither result nor reason.

    The marks of open runs tell which these are, as a message about one may be lost. So a check costs what open runs
    cost, however many have ended.
    """
    latest = context.clock.now() - timedelta(seconds=seconds)
    for entry in run_index.waiting(context.store):
        try:
            claim = _open(context.store, entry)
            if claim is not None and entry.began < latest:
                overdue = NamedRun(entry.config_hash, claim.data_hash, claim.scope, claim.run)
                _fail_missing_models(context, overdue, seconds)
        except NEEDS_A_PERSON:
            raise
        except Terminal as error:  # another version of flts, or damaged: check the other runs
            events.emit(events.DeadlinePassedOver(config_hash=entry.config_hash, reason=str(error)))


def open_runs(store: Store, since: datetime) -> Iterator[RunClaim]:
    """The claim of every run claimed since then that waits for its judgement, whatever else cannot be read.

    Raises Transient and what a person has to mend.
    """
    for entry in run_index.waiting(store):
        try:
            claim = _open(store, entry) if entry.began > since else None
        except NEEDS_A_PERSON:
            raise
        except Terminal:  # another version of flts, or damaged: the deadline and `flts runs` name it
            continue
        if claim is not None:
            yield claim


def _open(store: Store, entry: RunEntry) -> RunClaim | None:
    """The claim of a run that waits for its judgement; the mark of one that does not is taken away.

    A newer run of a configuration and scope replaces older ones. A mark without a claim may be that of a process that
    is about to claim.
    """
    if not store.exists(layout.run_part(entry.config_hash, entry.run, "judge")):
        claim = run_index.claimed(store, entry)
        if claim is None and not store.exists(layout.run_part(entry.config_hash, entry.run, "claim")):
            return None
        if claim is not None and runs.newest(store, entry.config_hash, claim.scope) == claim.run:
            return claim
    run_index.settled(store, entry)
    return None


def _fail_missing_models(context: RunContext, overdue: NamedRun, seconds: float) -> None:
    experiment = load_experiment(context.store, overdue.config_hash, overdue.data_hash)
    complete = completeness(context.store, experiment, overdue.identifier, overdue.run)
    if isinstance(complete, Waiting):
        reason = f"no result {seconds:g} s after the run began, which is the decision_deadline"
        for name in complete.missing:
            record_dead_letter(context, overdue, name, DeadlineExceeded(reason))
