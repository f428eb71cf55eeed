"""The index of runs by time: which runs are the newest, and which wait for their judgement, without looking at all.

It is a projection of the claims under `runs/`. Whoever claims a run enters it first, so no run that counts is without
its entry; an entry whose run never was, or is no longer there, is passed over. What an entry says is its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from flts.contracts import layout
from flts.contracts.errors import DamagedObject, Terminal, Transient
from flts.contracts.layout import RunEntry
from flts.contracts.ports import Store, point_at, take_away, write_once
from flts.contracts.records.base import read_record
from flts.contracts.records.run import RunClaim, RunIndex

AT_ONCE = 128
"""Entries of a folder that are read together; of one that holds more, its folders are read one by one."""
SKEW = timedelta(minutes=1)
"""By how much the clock of a process that claims a run may be ahead of another one, or of that of the store."""
BEGINNING = datetime.min.replace(tzinfo=UTC)


def entry_of(config_hash: str, claim: RunClaim) -> RunEntry:
    """What the index says of a claimed run."""
    return RunEntry(datetime.fromisoformat(claim.started).astimezone(UTC), config_hash, claim.run)


def begin(store: Store, claim: RunClaim) -> None:
    """Say from when on runs are entered: in a new store all are, in an older one those from this one on."""
    if store.exists(layout.run_index()):
        return
    older = any(layout.run_number(key) for key in store.list("runs/") if key.endswith("/claim.json"))
    since = datetime.fromisoformat(claim.started) + SKEW
    record = RunIndex(since=since.isoformat() if older else None)
    write_once(store, layout.run_index(), record.to_bytes(), at="run.index.begin")


def enter(store: Store, config_hash: str, claim: RunClaim, *, waits: bool = True) -> None:
    """Enter a run that is about to be claimed, or was claimed by an flts that writes no index.

    waits: mark it as one that waits for its judgement.
    """
    entry = entry_of(config_hash, claim)
    write_once(store, layout.run_entry(entry), b"", at="run.index.time")
    write_once(store, layout.run_entry(entry, claim.scope), b"", at="run.index.scope")
    if waits:
        write_once(store, layout.open_run(entry), b"", at="run.index.open")


def enter_late(store: Store, config_hash: str, run: int) -> None:
    """Enter a run that somebody works on, where an flts that writes no index claimed it."""
    claim = read_record(store, layout.run_part(config_hash, run, "claim"), RunClaim)
    if claim is not None and not store.exists(layout.run_entry(entry_of(config_hash, claim), claim.scope)):
        enter(store, config_hash, claim)


def completed(store: Store) -> None:
    """Say that every run has an entry."""
    point_at(store, layout.run_index(), RunIndex(since=None).to_bytes(), at="run.index.complete")


def complete_since(store: Store) -> datetime | None:
    """From when on every run has an entry: the beginning of time where all have; None where nobody knows."""
    try:
        record = read_record(store, layout.run_index(), RunIndex)
    except DamagedObject:  # it can be made again, and without it all runs are listed
        return None
    if record is None:
        return None
    return datetime.fromisoformat(record.since) if record.since else BEGINNING


def entries(store: Store, scope: str | None = None, before: RunEntry | None = None) -> Iterator[RunEntry]:
    """The entries of all runs or of those of a scope, newest first. before: those after this one in that order."""
    root = layout.run_entries(scope)
    yield from _in_folders(store, root, before, layout.run_entry(before, scope) if before else None)


def _in_folders(store: Store, folder: str, before: RunEntry | None, key: str | None) -> Iterator[RunEntry]:
    """key: of `before`, which tells the folders of later times."""
    for one in reversed(store.folders(folder)):
        if key is None or one <= key[: len(one)]:
            yield from _below(store, one, before, key)


def _below(store: Store, folder: str, before: RunEntry | None, key: str | None) -> Iterator[RunEntry]:
    keys = store.first(folder, AT_ONCE + 1)
    if len(keys) > AT_ONCE:
        if keys[0].rpartition("/")[0] != folder.rstrip("/"):
            yield from _in_folders(store, folder, before, key)
            return
        keys = store.list(folder)  # the runs of one minute
    found = filter(None, map(layout.run_entry_of, keys))
    yield from sorted((e for e in found if before is None or e.order > before.order), key=lambda e: e.order)


def claimed(store: Store, entry: RunEntry) -> RunClaim | None:
    """The claim of an entry; None where its run was never claimed, or is no longer there.

    Of two processes that want a number, one enters a run that the other claims. Raises DamagedObject.
    """
    claim = read_record(store, layout.run_part(entry.config_hash, entry.run, "claim"), RunClaim)
    return claim if claim is not None and entry_of(entry.config_hash, claim) == entry else None


def waiting(store: Store) -> list[RunEntry]:
    """The runs that may wait for their judgement, oldest first."""
    return sorted(filter(None, map(layout.run_entry_of, store.list(layout.open_runs()))))


def settled(store: Store, entry: RunEntry) -> None:
    """Take the mark of a run away that waits no more. One that stays is looked at again, and does no harm."""
    with suppress(Terminal, Transient):  # and no wish to stop
        take_away(store, layout.open_run(entry), at="run.index.settled")
