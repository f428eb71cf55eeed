"""What the store holds about promotions. Everything read here is written once, so it is read once and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Generic, TypeVar

from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import DamagedObject
from flts.contracts.ports import Store, read_checked
from flts.contracts.records.base import parse_stored, require_record
from flts.contracts.records.decision import DecisionRecord, Preview
from flts.contracts.records.live import Live
from flts.contracts.records.log import LogEntry
from flts.contracts.records.model import Manifest
from flts.forecasting.bundle import MANIFEST
from flts.promotion.log import decision_of, listed
from flts.serve.live import live

DECISIONS, LOGS, KEEPS = 64, 16, 5000
"""How many of each are kept."""

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
    """A decision that promoted nothing, in short. last: the last test origin, UTC nanoseconds."""

    decision_id: str
    winner: str | None
    reason: str
    last: int


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
        self._keeps: Recent[str, Keep | None] = Recent(KEEPS)

    def log(self, current: Current) -> Sequence[LogEntry]:
        """The promotions of a scope in order. Raises DamagedObject."""
        key = current.scope, current.entry_sha256, current.stale_since
        return self._logs.get(key, lambda: listed(self._store, current.scope))

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

    def keeps(self, current: Current) -> list[Keep]:
        """The decisions of a scope that promoted nothing, those on the newest rows first.

        Each is read once. One that cannot be read is left out.
        """
        promoted = {layout.decision(current.scope, entry.decision_id) for entry in self.log(current)}
        keys = [key for key in self._store.list(layout.decisions(current.scope)) if layout.identity(key)]
        found = [self._keeps.get(key, partial(self._keep, key)) for key in keys if key not in promoted]
        return sorted(filter(None, found), key=lambda keep: (-keep.last, keep.decision_id))

    def _keep(self, key: str) -> Keep | None:
        try:
            record = require_record(self._store, key, DecisionRecord)
        except DamagedObject:
            return None
        return Keep(record.decision_id, record.winner, _why_kept(record), record.windows.last)

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
