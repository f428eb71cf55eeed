"""The decision deadline: a model without a result by then is recorded as failed, so that the judge need not wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from flts.contracts import events, layout, runs
from flts.contracts.errors import NEEDS_A_PERSON, DeadlineExceeded, Terminal, Transient
from flts.contracts.ports import Store
from flts.contracts.records.base import require_record
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

    The keys under `runs/` are listed, because nothing else in the store tells which runs are open and a message about
    them may be lost. Only the claims of runs without a judgement are read, and the newest claim of their scope: apart
    from that one listing, the cost of a check does not grow with the number of finished runs.
    """
    latest = context.clock.now() - timedelta(seconds=seconds)
    for config_hash, numbers in _unjudged(context.store.list("runs/")).items():
        try:
            for claim in _overdue(context.store, config_hash, numbers, latest):
                overdue = NamedRun(config_hash, claim.data_hash, claim.scope, claim.run)
                _fail_missing_models(context, overdue, seconds)
        except NEEDS_A_PERSON:
            raise
        except Terminal as error:  # another version of flts, or damaged: check the other configurations
            events.emit(events.DeadlinePassedOver(config_hash=config_hash, reason=str(error)))


def open_runs(store: Store, latest: datetime) -> Iterator[RunClaim]:
    """The claim of every run claimed before `latest` that waits for its judgement, whatever else cannot be read.

    Raises Transient and what a person has to mend.
    """
    for config_hash, numbers in _unjudged(store.list("runs/")).items():
        try:
            yield from _overdue(store, config_hash, numbers, latest)
        except NEEDS_A_PERSON:
            raise
        except Terminal:  # another version of flts, or damaged: the deadline and `flts runs` name it
            continue


def _unjudged(keys: Sequence[str]) -> dict[str, list[int]]:
    """Numbers of the claimed runs without a judgement, by config_hash and in order; from keys alone."""
    parts = [key.split("/") for key in keys]
    judged = {(config_hash, number) for _, config_hash, number, *rest in parts if rest == ["judge.json"]}
    numbers: dict[str, list[int]] = {}
    for _, config_hash, number, *rest in parts:
        if rest == ["claim.json"] and (config_hash, number) not in judged:
            numbers.setdefault(config_hash, []).append(int(number))
    return numbers


def _overdue(store: Store, config_hash: str, numbers: Sequence[int], latest: datetime) -> Iterator[RunClaim]:
    """Those of these runs that are late and the newest of their scope; a newer run replaces older ones."""
    for number in numbers:
        claim = require_record(store, layout.run_part(config_hash, number, "claim"), RunClaim)
        late = datetime.fromisoformat(claim.started) < latest
        if late and runs.newest(store, config_hash, claim.scope) == number:
            yield claim


def _fail_missing_models(context: RunContext, overdue: NamedRun, seconds: float) -> None:
    experiment = load_experiment(context.store, overdue.config_hash, overdue.data_hash)
    complete = completeness(context.store, experiment, overdue.identifier, overdue.run)
    if isinstance(complete, Waiting):
        reason = f"no result {seconds:g} s after the run began, which is the decision_deadline"
        for name in complete.missing:
            record_dead_letter(context, overdue, name, DeadlineExceeded(reason))
