"""The promotion log of a scope: append-only, and every entry names the digest of the one before.

The log alone says which model is champion; pointers, aliases and messages are derived from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import DamagedObject, UsageError
from flts.contracts.ports import Store, write_once
from flts.contracts.records.base import parse_record
from flts.contracts.records.log import Kind, LogEntry, Promoted

MEND = "restore it from a backup, or move it and every later entry out of the log; the next `flts run` decides again"


@dataclass(frozen=True)
class Chain:
    """The entries of a scope in order, and what the next entry has to name.

    head: SHA-256 of the newest entry as it is stored; None for an empty log. It cannot be computed from the entry:
    the stored bytes may be of an older version of the format, or not canonical.
    """

    entries: Sequence[LogEntry] = ()
    head: str | None = None


EMPTY = Chain()


def read_log(store: Store, scope: str) -> list[LogEntry]:
    """All entries in order, for a reader that appends none. Raises the errors of `read_chain`."""
    return list(read_chain(store, scope).entries)


def read_chain(store: Store, scope: str, known: Chain = EMPTY) -> Chain:
    """The log, with the chain of digests checked.

    known: what was read before. No entry ever changes, so none of it is read again. Raises DamagedObject at the first
    entry that breaks the chain, UsageError for what is not a scope: whoever is given one by a caller reads its log.
    """
    try:
        layout.scope_name(scope)
    except ValueError as error:
        raise UsageError(str(error), code="scope-invalid", scope=scope) from None
    entries, head = list(known.entries), known.head
    stored = [key for key in store.list(layout.log(scope)) if layout.is_log_entry(key)]
    for number, key in enumerate(stored[len(entries) :], len(entries) + 1):
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
        if entry.number != number or entry.previous_sha256 != head:
            raise DamagedObject(
                f"{key} in {store.url} is damaged: it does not follow the entry before it; {MEND}",
                code="log-chain-broken",
                key=key,
            )
        entries.append(entry)
        head = sha256(data)
    return Chain(entries, head)


def append(
    store: Store, scope: str, propose: Callable[[Chain], LogEntry | None], known: Chain = EMPTY
) -> LogEntry | None:
    """Append the entry that `propose` returns for the current log; None when it returns none.

    When another process takes the number first, `propose` is called again with the longer log. known: what was read
    before, which is not read again.
    """
    log = known
    while True:
        log = read_chain(store, scope, log)
        entry = propose(log)
        if entry is None:
            return None
        data = entry.to_bytes()
        if write_once(store, layout.log_entry(scope, entry.number), data, at="promote.log") == data:
            return entry


def next_entry(
    log: Chain,
    scope: str,
    kind: Kind,
    champion: Promoted,
    decision_id: str,
    actor: str,
    time: str,
    restores: int | None = None,
) -> LogEntry:
    """The entry that would come next."""
    return LogEntry(
        scope=scope,
        number=len(log.entries) + 1,
        kind=kind,
        previous_sha256=log.head,
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
    names = {parts[1] for parts in keys if len(parts) > 3 and parts[2] == "log"}
    return sorted(filter(layout.SCOPE.fullmatch, names))
