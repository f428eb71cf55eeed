"""The promotion log of a scope: append-only, and every entry names the digest of the one before.

The log alone says which model is champion; pointers, aliases and messages are derived from it. A person may shorten or
replace it, which is how a damaged one is mended: what stands in it now counts, and digests tell it from what was read
before, as numbers may come again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import DamagedObject, Transient, UsageError, without_credentials
from flts.contracts.ports import Store, read_checked, write_once
from flts.contracts.records.base import parse_record, parse_stored, read_record, require_record
from flts.contracts.records.decision import DecisionRecord
from flts.contracts.records.log import Kind, LogEntry, Promoted
from flts.promotion import snapshot

FEW = 100
"""Scopes that are looked into one by one."""
MEND = "restore it from a backup, or move it and every later entry out of the log; the next `flts run` decides again"


@dataclass(frozen=True)
class Chain:
    """The entries of a scope in order, and what the next entry has to name.

    head: SHA-256 of the newest entry as it is stored; None for an empty log. It cannot be computed from the entry:
    the stored bytes may be of an older version of the format, or not canonical.
    """

    entries: Sequence[LogEntry] = ()
    head: str | None = None

    @property
    def newest(self) -> LogEntry | None:
        """The entry in force; None for an empty log."""
        return self.entries[-1] if self.entries else None

    def digest(self, number: int) -> str:
        """SHA-256 of an entry as it is stored."""
        named = self.head if number == len(self.entries) else self.entries[number].previous_sha256
        assert named is not None
        return named

    def holds(self, number: int, entry_sha256: str) -> bool:
        """Whether this entry stands in the log."""
        return number <= len(self.entries) and self.digest(number) == entry_sha256


EMPTY = Chain()


@dataclass(frozen=True)
class Head:
    """The newest entry of a log as it is stored: its number and the SHA-256 of its bytes; 0 and None in an empty log.

    Cheap to ask for, and enough to notice every change at the end of a log, whoever made it.
    """

    number: int = 0
    sha256: str | None = None


NOTHING = Head()


def read_log(store: Store, scope: str) -> list[LogEntry]:
    """All entries in order, for a reader that appends none. Raises the errors of `read_chain`."""
    return list(read_chain(store, scope).entries)


def listed(store: Store, scope: str, *, by_snapshot: bool = True) -> list[LogEntry]:
    """All entries in order, to be shown: a log can be read where the decision of its newest entry is lost.

    by_snapshot: read the beginning of a long log from one object, whose end is compared with the log; without it every
    entry is read where it lies. Raises the errors of `read_chain` but that.
    """
    return list(_entries(store, scope, EMPTY, by_snapshot=by_snapshot).entries)


def read_chain(store: Store, scope: str, known: Chain = EMPTY) -> Chain:
    """The log, with the chain of digests checked.

    known: what was read before. While its newest entry has the same digest, none before it is read again. Raises
    DamagedObject at the first entry that breaks the chain and for a newest entry that is not what its decision says,
    UsageError for what is not a scope: whoever is given one by a caller reads its log.
    """
    chain = _entries(store, scope, known)
    if chain.head != known.head and chain.entries and chain.entries[-1].decision_sha256 is not None:
        decision_of(store, chain.entries[-1])
    return chain


def head(store: Store, scope: str, known: Head = NOTHING) -> Head:
    """The newest entry, unread. known: what this returned before; while that is so, two small requests tell it.

    Only the last entry is looked at: an older one that a person changes counts once the log is read again.
    """
    if known.sha256 is not None and stands_last(store, scope, known.number, known.sha256):
        return known
    keys = [key for key in store.list(layout.log(scope)) if layout.is_log_entry(key)]
    data = store.get(keys[-1]) if keys else None
    if data is None:
        return NOTHING
    return Head(int(keys[-1].rpartition("/")[2].removesuffix(".json")), sha256(data))


def stands_last(store: Store, scope: str, number: int, entry_sha256: str) -> bool:
    """Whether an entry still stands in the log as it was read, with none after it."""
    stored = store.get(layout.log_entry(scope, number))
    same = stored is not None and sha256(stored) == entry_sha256
    return same and not store.exists(layout.log_entry(scope, number + 1))


def served(store: Store, scope: str, known: Chain = EMPTY) -> Chain:
    """The log for a server. A lost or unreadable decision blocks no forecast; one that was edited does.

    known: what was read before, as for `read_chain`. Raises DamagedObject as that does, but for such a decision: the
    judge and whoever shows it name it.
    """
    chain = _entries(store, scope, known)
    newest = chain.entries[-1] if chain.entries else None
    if newest is not None and newest.decision_sha256 is not None and _readable(store, newest):
        decision_of(store, newest)
    return chain


def _readable(store: Store, entry: LogEntry) -> bool:
    """Whether the decision behind an entry exists and is a decision, whatever it says."""
    try:
        return read_record(store, layout.decision(entry.scope, entry.decision_id), DecisionRecord) is not None
    except DamagedObject:
        return False


def _entries(store: Store, scope: str, known: Chain, *, by_snapshot: bool = True) -> Chain:
    layout.chosen_scope(scope)
    if not _stands(store, scope, known):
        known = EMPTY  # nothing was read before, or the log was shortened or replaced
    stored = [key for key in store.list(layout.log(scope)) if layout.is_log_entry(key)]
    if by_snapshot and len(stored) - len(known.entries) > snapshot.EVERY:
        known = _snapshot(store, scope)
    last = len(known.entries)
    if known.entries and stored[last - 1 : last] != [layout.log_entry(scope, last)]:
        known = EMPTY  # an entry before that one is absent, which is found from the start
    return _read_on(store, scope, known, ((key, store.get(key)) for key in stored[len(known.entries) :]))


def _stands(store: Store, scope: str, known: Chain) -> bool:
    """Whether there is something that was read before, and its newest entry is in the log as it was."""
    if known.head is None:
        return False
    last = store.get(layout.log_entry(scope, len(known.entries)))
    return last is not None and sha256(last) == known.head


def _snapshot(store: Store, scope: str) -> Chain:
    """The beginning of the log by its snapshot; EMPTY where that does not fit it, and the log itself then decides."""
    texts = snapshot.texts(store, scope)
    keyed = ((layout.log_entry(scope, number), data) for number, data in enumerate(texts, 1))
    try:
        found = _read_on(store, scope, EMPTY, keyed)
    except DamagedObject:
        return EMPTY
    return found if _stands(store, scope, found) else EMPTY


def _read_on(store: Store, scope: str, known: Chain, further: Iterable[tuple[str, bytes | None]]) -> Chain:
    """The chain with the entries that follow, of which each is given by its key and its bytes."""
    entries, head = list(known.entries), known.head
    in_force = sum(-1 if entry.kind == "rollback" else 1 for entry in entries)
    for number, (key, data) in enumerate(further, len(entries) + 1):
        entry = entry_in(store, scope, number, data if key == layout.log_entry(scope, number) else None)
        if entry.previous_sha256 != head:
            raise broken(store, key)
        if entry.kind == "rollback" and in_force < 2:
            raise DamagedObject(
                f"{key} in {store.url} is damaged: it rolls back, and no earlier champion is left; {MEND}",
                code="log-rollback-unfounded",
                key=key,
            )
        in_force += -1 if entry.kind == "rollback" else 1
        entries.append(entry)
        head = sha256(data or b"")
    return Chain(entries, head)


def entry_in(store: Store, scope: str, number: int, data: bytes | None) -> LogEntry:
    """The entry of this number in these bytes. Raises DamagedObject for another one, and where there is none."""
    key = layout.log_entry(scope, number)
    if data is None:
        raise DamagedObject(
            f"the promotion log of '{scope}' has a gap: {key} is absent; {MEND}", code="log-gap", key=key
        )
    try:
        entry = parse_record(LogEntry, data, f"{key} in {store.url}", key=key)
    except DamagedObject as damage:
        raise DamagedObject(f"{damage}; {MEND}", code=damage.code, **damage.data) from None
    if entry.number != number:
        raise broken(store, key)
    return entry


def broken(store: Store, key: str) -> DamagedObject:
    """The error for an entry that does not name the digest of the one before it."""
    return DamagedObject(
        f"{key} in {store.url} is damaged: it does not follow the entry before it; {MEND}",
        code="log-chain-broken",
        key=key,
    )


def decision_of(store: Store, entry: LogEntry) -> DecisionRecord:
    """The decision behind an entry. Raises DamagedObject where it is absent, was changed, or says something else.

    The entry after it seals an entry; only its decision says whether the newest one was changed.
    """
    key = layout.decision(entry.scope, entry.decision_id)
    if entry.decision_sha256 is None:
        record = require_record(store, key, DecisionRecord)
    else:
        record = parse_stored(store, key, DecisionRecord, read_checked(store, key, entry.decision_sha256))
    champion, row = entry.champion, record.row(entry.champion.model)
    said = row and (record.config_hash, row.model_hash, row.bundle_sha256, row.score)
    named = champion.config_hash, champion.model_hash, champion.bundle_sha256, champion.score
    if said != named or (entry.kind == "promote" and record.winner != champion.model):
        own = layout.log_entry(entry.scope, entry.number)
        raise DamagedObject(
            f"{own} in {store.url} is damaged: it promotes {champion.model} with bundle {champion.bundle_sha256[:12]}…,"
            f" and its decision {key} does not; {MEND}",
            code="log-entry-differs",
            key=own,
        )
    return record


def stored_digest(store: Store, scope: str, decision_id: str) -> str:
    """SHA-256 of a decision as it is stored, which its entry will name. Raises DamagedObject when it is absent."""
    key = layout.decision(scope, decision_id)
    data = store.get(key)
    if data is None:
        raise DamagedObject(f"{key} is absent from {store.url}; {layout.restore(key)}", code="object-missing", key=key)
    return sha256(data)


def append(
    store: Store, scope: str, propose: Callable[[Chain], LogEntry | None], known: Chain = EMPTY
) -> LogEntry | None:
    """Append the entry that `propose` returns for the current log; None when it returns none.

    When another process takes the number first, `propose` is called again with the longer log. known: what was read
    before, which is not read again. Raises DamagedObject for an entry that is not what its decision says.
    """
    log = known
    while True:
        log = read_chain(store, scope, log)
        entry = propose(log)
        if entry is None:
            return None
        if entry.decision_sha256 is not None:
            decision_of(store, entry)
        data = entry.to_bytes()
        if write_once(store, layout.log_entry(scope, entry.number), data, at="promote.log") == data:
            if entry.number % snapshot.EVERY == 0:
                with suppress(Transient):  # the entry stands, and a reader does without a snapshot
                    known_texts = snapshot.texts(store, scope) if _snapshot(store, scope).entries else ()
                    snapshot.keep(store, scope, known_texts, entry.number)
            return entry


def next_entry(  # noqa: PLR0913 - the fields of an entry
    log: Chain,
    scope: str,
    kind: Kind,
    champion: Promoted,
    decision_id: str,
    actor: str,
    time: str,
    *,
    restores: int | None = None,
    decision_sha256: str | None = None,
    reason: str | None = None,
) -> LogEntry:
    """The entry that would come next. decision_sha256: `stored_digest` of the decision, which readers check."""
    return LogEntry(
        scope=scope,
        number=len(log.entries) + 1,
        kind=kind,
        previous_sha256=log.head,
        decision_id=decision_id,
        decision_sha256=decision_sha256,
        actor=actor,
        time=time,
        champion=champion,
        restores=restores,
        reason=reason,
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


def none_in(store: Store, scope: str) -> str:
    """What people are told of a scope in which nothing was promoted: which scopes have a promotion."""
    others = scopes(store)
    hint = f"scopes with one: {', '.join(others)}" if others else "`flts run` can promote one"
    return f"scope '{scope}' of {without_credentials(store.url)} has no promotion; {hint}"


def scopes(store: Store) -> list[str]:
    """Every scope that has a promotion log, sorted.

    Each folder is looked into. Of many, each would be a request, so all keys are listed then, a thousand at a time.
    """
    names = [folder.split("/")[1] for folder in store.folders("model-promotion/")]
    valid = [name for name in names if layout.SCOPE.fullmatch(name)]
    if len(valid) > FEW:
        keys = (key.split("/") for key in store.list("model-promotion/"))
        logs = {parts[1] for parts in keys if len(parts) > 3 and parts[2] == "log"}
        return [name for name in valid if name in logs]
    return [name for name in valid if store.first(layout.log(name), 1)]
