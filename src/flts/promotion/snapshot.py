"""A copy of the beginning of a long promotion log in one object, so that a reader need not ask for every entry.

The log stays the truth. A snapshot counts only while its last entry stands in the log with the same bytes:
the digests in the chain then seal every entry before it. Whoever finds it absent or damaged reads the log itself, and
the judge writes it again.
"""

from __future__ import annotations

from collections.abc import Sequence

from flts.contracts import layout
from flts.contracts.errors import DamagedObject
from flts.contracts.ports import Store, point_at
from flts.contracts.records.base import read_record
from flts.contracts.records.log import LogSnapshot

EVERY = 256
"""Entries between two snapshots, and so the most that are read one by one after it."""


def texts(store: Store, scope: str) -> Sequence[bytes]:
    """The entries in the snapshot as they are stored, oldest first; none where there is no snapshot to read."""
    try:
        record = read_record(store, layout.log_snapshot(scope), LogSnapshot)
    except DamagedObject:
        return ()
    return () if record is None else [entry.encode() for entry in record.entries]


def keep(store: Store, scope: str, known: Sequence[bytes], upto: int) -> None:
    """Write the snapshot of the entries up to a number. known: those at its beginning, as they are stored."""
    entries = [entry.decode() for entry in known[:upto]]
    for number in range(len(entries) + 1, upto + 1):
        data = store.get(layout.log_entry(scope, number))
        if data is None:
            return  # somebody mends the log now
        entries.append(data.decode())
    record = LogSnapshot(scope=scope, entries=entries)
    point_at(store, layout.log_snapshot(scope), record.to_bytes(), at="log.snapshot")
