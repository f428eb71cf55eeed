"""The promotion log of a scope: it only grows, every entry names the digest of the one before.

The log is the truth about who the champion is; pointers, aliases and messages are projections of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import DamagedObject, UsageError
from flts.contracts.ports import Store, write_once
from flts.contracts.records.base import parse_record
from flts.contracts.records.log import Kind, LogEntry, Promoted

MEND = "restore it from a backup, or move it and every later entry out of the log; the next `flts run` decides again"


def read_log(store: Store, scope: str, known: Sequence[LogEntry] = ()) -> list[LogEntry]:
    """All entries in order, their chain checked. Raises DamagedObject at the first entry that does not fit.

    known: the entries of an earlier reading. No entry ever changes, so they are not read again.
    """
    entries = list(known)
    previous = sha256(known[-1].to_bytes()) if known else None
    for number, key in enumerate(store.list(layout.log(scope))[len(known) :], len(known) + 1):
        data = store.get(key)
        if data is None or key != layout.log_entry(scope, number):
            raise DamagedObject(
                f"the promotion log of '{scope}' has a gap: {layout.log_entry(scope, number)} is absent; {MEND}"
            )
        try:
            entry = parse_record(LogEntry, data, f"{key} in {store.url}")
        except DamagedObject as damage:
            raise DamagedObject(f"{damage}; {MEND}") from None
        if entry.number != number or entry.previous_sha256 != previous:
            raise DamagedObject(f"{key} is damaged: it does not follow the entry before it; {MEND}")
        entries.append(entry)
        previous = sha256(data)
    return entries


def append(store: Store, scope: str, propose: Callable[[Sequence[LogEntry]], LogEntry | None]) -> LogEntry | None:
    """Add what `propose` makes of the log as it stands, or nothing when it makes nothing.

    When another process takes the number first, `propose` is asked again with the longer log.
    """
    entries: Sequence[LogEntry] = ()
    while True:
        entries = read_log(store, scope, entries)
        entry = propose(entries)
        if entry is None:
            return None
        data = entry.to_bytes()
        if write_once(store, layout.log_entry(scope, entry.number), data, at="promote.log") == data:
            return entry


def next_entry(
    entries: Sequence[LogEntry],
    scope: str,
    kind: Kind,
    champion: Promoted,
    decision_id: str,
    actor: str,
    time: str,
    restores: int | None = None,
) -> LogEntry:
    """The entry that would follow."""
    previous = sha256(entries[-1].to_bytes()) if entries else None
    return LogEntry(
        scope=scope,
        number=len(entries) + 1,
        kind=kind,
        previous_sha256=previous,
        decision_id=decision_id,
        actor=actor,
        time=time,
        champion=champion,
        restores=restores,
    )


def rollback_target(entries: Sequence[LogEntry], scope: str) -> LogEntry:
    """The entry whose champion a rollback brings back: the one that stood before the current champion was made so.

    Rolling back twice goes back two promotions. Raises UsageError when there is nothing before.
    """
    stack: list[LogEntry] = []
    for entry in entries:
        if entry.kind == "rollback":
            stack.pop()
        else:
            stack.append(entry)
    if len(stack) < 2:
        raise UsageError(f"scope '{scope}' has no earlier champion to roll back to")
    return stack[-2]
