"""What the evaluator measures of the whole pipeline: runs without a judgement, dead letters, what became of candidates.

Trainers may be scaled to zero, and a process that ends after one fit is gone before its numbers are read. An evaluator
always runs, and hears of every candidate.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, get_args

from flts.contracts import layout
from flts.contracts.errors import FltsError
from flts.contracts.messages import TOPICS
from flts.contracts.ports import Store
from flts.contracts.records.base import read_record
from flts.contracts.records.run import Outcome, TrainPart
from flts.report.reindex import mend
from flts.runner.services.deadline import open_runs
from flts.runner.services.letters import letters
from flts.wiring import RunContext

if TYPE_CHECKING:
    from prometheus_client.core import Metric

PAUSE = 60.0
"""Seconds between two looks."""
GIVEN_UP = timedelta(days=7)
"""A run that was claimed longer ago waits no more: nobody would mend it now."""

INDEX_AGAIN = timedelta(days=1)
"""How often it looks for runs that are not in the index: an flts that writes none may be at work, too."""

Candidate = Literal["success", "failed", "nondeterministic"]


@dataclass(eq=False)
class Outlook:
    """Counts of one process, and what its last look found. A look that fails leaves no value, rather than an old one.

    waiting: when each run without a judgement was claimed; letters: dead letters that wait, by topic.
    """

    candidates: dict[Candidate, int] = field(default_factory=lambda: dict.fromkeys(get_args(Candidate), 0))
    judged: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(get_args(Outcome), 0))
    waiting: list[datetime] | None = None
    letters: dict[str, int] = field(default_factory=dict)
    _now: datetime | None = None
    _indexed: datetime | None = None

    def watch(self, context: RunContext, stop: threading.Event) -> None:
        """Look from time to time until `stop` is set."""
        self.look(context)
        while not stop.wait(PAUSE):
            self.look(context)

    def look(self, context: RunContext) -> None:
        """Find the runs that wait in the store, by their marks, and the dead letters on the bus."""
        now = context.clock.now()
        try:
            if self._indexed is None or now - self._indexed > INDEX_AGAIN:
                mend(context.store)
                self._indexed = now
            found = open_runs(context.store, now - GIVEN_UP)
            self.waiting = [datetime.fromisoformat(claim.started) for claim in found]
        except FltsError:
            self.waiting = None
        counts: dict[str, int] = {}
        for topic in TOPICS:
            try:
                counts[topic] = sum(not letter.replayed for letter in letters(context.bus, topic))
            except FltsError:
                continue
        self.letters, self._now = counts, now

    def heard(self, status: str) -> None:
        """Count a candidate of which a message says that it has a result or failed."""
        self.candidates["failed" if status == "FAILED" else "success"] += 1

    def decided(self, store: Store, config_hash: str, run: int, models: Iterable[str], outcome: Outcome) -> None:
        """Count a judgement, and the candidates of its run that another fit gave other bytes."""
        self.judged[outcome] += 1
        for name in models:
            part = read_record(store, layout.run_part(config_hash, run, f"train-{name}"), TrainPart)
            if part is not None and part.recomputed == "nondeterminism_detected":
                self.candidates["nondeterministic"] += 1

    def collect(self) -> Iterable[Metric]:
        """The state as metrics."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        candidates = CounterMetricFamily("flts_candidates", "Candidates, by what became of them", labels=["outcome"])
        for outcome, count in self.candidates.items():
            candidates.add_metric([outcome], count)
        judged = CounterMetricFamily("flts_judgements", "Runs that were judged, by decision", labels=["outcome"])
        for decision, count in self.judged.items():
            judged.add_metric([decision], count)
        yield from (candidates, judged)
        waiting = self.waiting
        if waiting is not None and self._now is not None:
            age = (self._now - min(waiting)).total_seconds() if waiting else 0.0
            yield GaugeMetricFamily("flts_runs_open", "Claimed runs without a judgement", value=len(waiting))
            yield GaugeMetricFamily("flts_run_open_seconds", "Time since the oldest of them was claimed", value=age)
        dead = GaugeMetricFamily("flts_dead_letters", "Dead letters that were not replayed", labels=["topic"])
        for topic, count in self.letters.items():
            dead.add_metric([topic], count)
        yield dead

    def describe(self) -> Iterable[Metric]:
        """Nothing: the names are ours alone in the registry of a service."""
        return []
