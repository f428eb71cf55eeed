"""What the store holds about promotions. Everything read here is written once, so it is read once and kept."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import islice
from threading import Lock
from typing import Generic, TypeVar

from flts.contracts import layout, run_index
from flts.contracts.canonical import is_digest, sha256
from flts.contracts.errors import DamagedObject
from flts.contracts.layout import RunEntry
from flts.contracts.ports import Store, read_checked
from flts.contracts.records.base import parse_stored, require_record
from flts.contracts.records.decision import DecisionRecord, Preview
from flts.contracts.records.live import Live
from flts.contracts.records.log import LogEntry
from flts.contracts.records.model import Manifest
from flts.contracts.records.run import JudgePart
from flts.forecasting.bundle import MANIFEST
from flts.promotion.log import decision_of, listed
from flts.promotion.log_page import entries_to, entry_at, newest_number
from flts.serve.live import live

DECISIONS, LOGS, KEEPS = 64, 16, 5000
"""How many of each are kept."""
NUMBER = re.compile("[1-9][0-9]{0,8}")
"""Of a promotion, as a page names it."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The values that were used last, by key, for several threads. What raises is not kept."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of a key, made where it is not kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            self._values[key] = value
            if len(self._values) > self._most:
                self._values.popitem(last=False)
        return value


@dataclass(frozen=True)
class Current:
    """The promotion that answers in a scope, whether or not its model is in memory. since, stale_since: of `Served`.

    entry_sha256: of the entry as it is stored; manifest: that of its model where it is in memory.
    """

    scope: str
    entry: LogEntry
    entry_sha256: str
    since: float
    stale_since: float | None
    manifest: Manifest | None = None


@dataclass(frozen=True)
class Keep:
    """A decision that promoted nothing, in short. last: the last test origin, UTC nanoseconds; judged: when, ISO."""

    decision_id: str
    winner: str | None
    reason: str
    last: int
    judged: str


@dataclass(frozen=True)
class Keeps:
    """The decisions of some runs that promoted nothing, each once.

    runs: how many were looked at; older: the run to go on after, None where there are no more; complete: whether no
    earlier flts left runs that the index lacks.
    """

    rows: Sequence[Keep]
    runs: int
    older: RunEntry | None
    complete: bool


@dataclass(frozen=True)
class Judgement:
    """A decision, with what a chart of its winner needs. preview and manifest: None where they cannot be read."""

    decision: DecisionRecord
    preview: Preview | None
    manifest: Manifest | None


class PageReader:
    """Reads a store for the page, in the threads of the page."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._logs: Recent[Hashable, Sequence[LogEntry]] = Recent(LOGS)
        self._decisions: Recent[str, DecisionRecord] = Recent(DECISIONS)
        self._judgements: Recent[tuple[str, str], Judgement] = Recent(LOGS)
        self._manifests: Recent[str, Manifest] = Recent(LOGS)
        self._keeps: Recent[str, Keep] = Recent(KEEPS)
        self._judges: Recent[str, JudgePart] = Recent(KEEPS)
        self._pages: Recent[Hashable, tuple[Sequence[LogEntry], int]] = Recent(LOGS)

    def log(self, current: Current) -> Sequence[LogEntry]:
        """The promotions of a scope in order. Raises DamagedObject."""
        key = current.scope, current.entry_sha256, current.stale_since
        return self._logs.get(key, lambda: listed(self._store, current.scope))

    def entries(self, current: Current, most: int, before: int | None) -> tuple[Sequence[LogEntry], int]:
        """So many promotions of a scope, newest first, and how many there are. before: only those with a lower number.

        Raises DamagedObject for one among these that is absent or not what it should be.
        """
        key = current.scope, current.entry_sha256, current.stale_since, most, before
        return self._pages.get(key, lambda: self._entries(current.scope, most, before))

    def _entries(self, scope: str, most: int, before: int | None) -> tuple[Sequence[LogEntry], int]:
        total = newest_number(self._store, scope)
        last = total if before is None else min(before - 1, total)
        return entries_to(self._store, scope, last, most), total

    def newest(self, scope: str) -> int:
        """The number of the newest promotion."""
        return newest_number(self._store, scope)

    def promotions_of(self, current: Current, name: str) -> Sequence[LogEntry]:
        """The promotion with this number, or those of the decision with this id, of which the log keeps no index."""
        if is_digest(name):
            return [entry for entry in self.log(current) if entry.decision_id == name]
        entry = entry_at(self._store, current.scope, int(name)) if NUMBER.fullmatch(name) else None
        return [] if entry is None else [entry]

    def live(self, scope: str) -> Live | None:
        """The live error as it is now; None where it was never computed, or cannot be read."""
        try:
            return live(self._store, scope)
        except DamagedObject:
            return None

    def manifest(self, bundle_sha256: str) -> Manifest:
        """The manifest of a bundle. Raises DamagedObject."""
        key = layout.bundle(bundle_sha256, MANIFEST)
        return self._manifests.get(
            bundle_sha256,
            lambda: parse_stored(self._store, key, Manifest, read_checked(self._store, key, bundle_sha256)),
        )

    def decision(self, entry: LogEntry) -> DecisionRecord:
        """The decision behind a promotion. Raises DamagedObject."""
        return self._decisions.get(_digest(entry), lambda: decision_of(self._store, entry))

    def behind(self, entry: LogEntry) -> Judgement:
        """The same with its preview."""
        key = entry.scope, _digest(entry)
        return self._judgements.get(key, lambda: self._with_preview(self.decision(entry)))

    def judgement(self, scope: str, decision_id: str) -> Judgement:
        """A decision by its id, promoted or not. Raises DamagedObject where it is absent or damaged."""
        key = layout.decision(scope, decision_id)
        return self._judgements.get(
            (scope, decision_id), lambda: self._with_preview(require_record(self._store, key, DecisionRecord))
        )

    def keeps(self, scope: str, most: int, before: RunEntry | None = None) -> Keeps:
        """What became of so many runs of a scope, newest first. before: only of those after this one in that order.

        A run that was not judged, and what cannot be read, is left out.
        """
        looked = list(islice(run_index.entries(self._store, scope, before), most + 1))
        found = [keep for entry in looked[:most] if (keep := self._keep(scope, entry)) is not None]
        newest = {keep.decision_id: keep for keep in reversed(found)}  # of a decision that was made again, the last
        since = run_index.complete_since(self._store)
        return Keeps(
            sorted(newest.values(), key=found.index),
            len(looked[:most]),
            looked[most - 1] if len(looked) > most else None,
            since == run_index.BEGINNING,
        )

    def _keep(self, scope: str, entry: RunEntry) -> Keep | None:
        key = layout.run_part(entry.config_hash, entry.run, "judge")
        try:
            judge = self._judges.get(key, lambda: require_record(self._store, key, JudgePart))
            if judge.outcome == "promote" or judge.scope != scope:
                return None
            return self._keeps.get(key, lambda: self._kept(judge))
        except DamagedObject:
            return None

    def _kept(self, judge: JudgePart) -> Keep:
        record = require_record(self._store, layout.decision(judge.scope, judge.decision_id), DecisionRecord)
        return Keep(record.decision_id, record.winner, _why_kept(record), record.windows.last, judge.ended)

    def _with_preview(self, decision: DecisionRecord) -> Judgement:
        return Judgement(decision, self._preview(decision), self._manifest(decision))

    def _preview(self, decision: DecisionRecord) -> Preview | None:
        if decision.preview_sha256 is None:
            return None
        key = layout.preview(decision.scope, decision.decision_id)
        try:
            return parse_stored(self._store, key, Preview, read_checked(self._store, key, decision.preview_sha256))
        except DamagedObject:
            return None

    def _manifest(self, decision: DecisionRecord) -> Manifest | None:
        winner = decision.row(decision.winner)
        if winner is None:
            return None
        try:
            return self.manifest(winner.bundle_sha256)
        except DamagedObject:
            return None


def _why_kept(decision: DecisionRecord) -> str:
    """The verdicts that were not passed; the first reason where there are none."""
    failed = [verdict.reason for verdict in decision.gates.values() if not verdict.passed]
    return "; ".join(failed or decision.reasons[:1])


def _digest(entry: LogEntry) -> str:
    return sha256(entry.to_bytes())
