"""Some entries of a promotion log, newest first, however long it is. The judge and `flts verify` read all of it."""

from __future__ import annotations

from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import DataError
from flts.contracts.messages import ModelSelected
from flts.contracts.ports import Store
from flts.contracts.records.log import LogEntry
from flts.promotion.log import broken, entry_in

KEYS = 1000
"""Entries of which one request names the keys."""


def newest_entries(store: Store, scope: str, most: int, before: int | None = None) -> list[LogEntry]:
    """So many entries, newest first. before: only those with a lower number.

    Raises as `entries_to` does, and UsageError for what is not a scope.
    """
    newest = newest_number(store, scope)
    return entries_to(store, scope, newest if before is None else min(before - 1, newest), most)


def entries_to(store: Store, scope: str, last: int, most: int) -> list[LogEntry]:
    """So many entries from this number down, each compared with the digest that the next one names.

    Raises DamagedObject for an entry among these that is absent or not what it should be.
    """
    named: str | None = None
    found: list[LogEntry] = []
    for number in range(last, max(last - most, 0), -1):
        data = store.get(layout.log_entry(scope, number))
        if data is not None and named is not None and sha256(data) != named:
            raise broken(store, layout.log_entry(scope, number + 1))
        found.append(entry_in(store, scope, number, data))
        named = found[-1].previous_sha256
    return found


def entry_at(store: Store, scope: str, number: int) -> LogEntry | None:
    """One entry, compared with the digest that the next one names; None where there is none. Raises DamagedObject."""
    data, after = (store.get(layout.log_entry(scope, each)) for each in (number, number + 1))
    if data is None:
        return None
    if after is not None and entry_in(store, scope, number + 1, after).previous_sha256 != sha256(data):
        raise broken(store, layout.log_entry(scope, number + 1))
    return entry_in(store, scope, number, data)


def newest_number(store: Store, scope: str) -> int:
    """The number of the newest entry; 0 in an empty log. Its pointer tells where to look for it."""
    layout.chosen_scope(scope)
    pointed = _pointed(store, scope)
    return _last(store, scope, pointed - 1) or _last(store, scope, 0)


def _last(store: Store, scope: str, passed: int) -> int:
    """The number of the last entry after one that is passed over; 0 where there is none."""
    folder, last = layout.log(scope), layout.log_entry(scope, passed) if passed > 0 else ""
    found = 0
    while keys := store.first(folder, KEYS, last):
        last = keys[-1]
        numbers = [int(key.rpartition("/")[2].removesuffix(".json")) for key in keys if layout.is_log_entry(key)]
        found = max([found, *numbers])
    return found


def _pointed(store: Store, scope: str) -> int:
    """The number in the pointer of a scope; 0 where nobody can read one."""
    data = store.get(layout.scope_pointer(scope))
    try:
        return 0 if data is None else ModelSelected.parse(data).promotion
    except DataError:
        return 0
