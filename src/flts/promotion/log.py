"""The promotion log of a scope: append-only, and every entry names the digest of the one before.

The log alone says which model is champion; pointers, aliases and messages are derived from it.
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
    """All entries in order, with the chain of digests checked. Raises DamagedObject at the first entry that breaks it.

    known: entries that were read before. No entry ever changes, so they are not read again.
    """
    entries = list(known)
    previous = sha256(known[-1].to_bytes()) if known else None
    for number, key in enumerate(store.list(layout.log(scope))[len(known) :], len(known) + 1):
        data = store.get(key)
        if data is None or key != layout.log_entry(scope, number):
            absent = layout.log_entry(scope, number)
            raise DamagedObject(
                f"the promotion log of '{scope}' has a gap: {absent} is absent; {MEND}", code="log-gap", key=absent
            )
        try:
            entry = parse_record(LogEntry, data, f"{key} in {store.url}", key=key)
        except DamagedObject as damage:
            raise DamagedObject(f"{damage}; {MEND}", code=damage.code, **damage.data) from None
        if entry.number != number or entry.previous_sha256 != previous:
            raise DamagedObject(
                f"{key} in {store.url} is damaged: it does not follow the entry before it; {MEND}",
                code="log-chain-broken",
                key=key,
            )
        entries.append(entry)
        previous = sha256(data)
    return entries


def append(store: Store, scope: str, propose: Callable[[Sequence[LogEntry]], LogEntry | None]) -> LogEntry | None:
    """Append the entry that `propose` returns for the current log; None when it returns none.

    When another process takes the number first, `propose` is called again with the longer log.
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
    """The entry that would come next."""
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
    """The entry whose champion a rollback restores: the one in force before the current champion was promoted.

    Rolling back twice goes back two promotions. Raises UsageError when there is no earlier champion.
    """
    stack: list[LogEntry] = []
    for entry in entries:
        if entry.kind == "rollback":
            stack.pop()
        else:
            stack.append(entry)
    if len(stack) < 2:
        raise UsageError(
            f"scope '{scope}' has no earlier champion to roll back to", code="no-earlier-champion", scope=scope
        )
    return stack[-2]


def scopes(store: Store) -> list[str]:
    """Every scope that has a promotion log, sorted."""
    keys = (key.split("/") for key in store.list("model-promotion/"))
    return sorted({parts[1] for parts in keys if len(parts) > 3 and parts[2] == "log"})
