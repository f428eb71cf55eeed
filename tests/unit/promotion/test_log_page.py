"""A page of a promotion log costs what it shows, and names what is damaged in it."""

from __future__ import annotations

import pytest
from tests.support.counted import requests
from tests.support.raising import raises
from tests.support.stored import MOMENT, promoted

from flts.backends.store import ObjectStoreAdapter, memory_store
from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import DamagedObject, UsageError
from flts.contracts.records.log import LogEntry
from flts.promotion.log import Chain, next_entry
from flts.promotion.log_page import entry_at, newest_entries, newest_number
from flts.promotion.relay import selected


def log_of(count: int) -> ObjectStoreAdapter:
    """A log of so many promotions, with its pointer."""
    store, entries, head = memory_store(), list[LogEntry](), None
    for _ in range(count):
        entries.append(
            next_entry(Chain(entries, head), "global", "promote", promoted("ridge"), "d" * 64, "tests", MOMENT)
        )
        data = entries[-1].to_bytes()
        head = sha256(data)
        store.create(layout.log_entry("global", entries[-1].number), data)
    store.create(layout.scope_pointer("global"), selected(Chain(entries, head), entries[-1]).to_bytes())
    return store


@pytest.mark.parametrize("count", [10, 3000])
def test_a_page_and_an_entry_cost_the_same_however_long_the_log_is(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    store = log_of(count)
    with requests(monkeypatch) as counted:
        page = newest_entries(store, "global", 5)
        assert [entry.number for entry in page] == list(range(count, count - 5, -1))
        assert [entry.number for entry in newest_entries(store, "global", 2, before=4)] == [3, 2]
        assert entry_at(store, "global", 3) == newest_entries(store, "global", 1, before=4)[0]
        assert entry_at(store, "global", count + 1) is None
    assert counted == {"get": 3 * 1 + 5 + 2 + 1 + 2 + 2, "first": 3 * 2}


def test_the_newest_entry_is_found_whatever_its_pointer_says() -> None:
    store = log_of(12)
    pages = [newest_entries(store, "global", 5, before) for before in (None, 8, 3, 1, 99)]
    assert [[entry.number for entry in page] for page in pages] == [
        [12, 11, 10, 9, 8],
        [7, 6, 5, 4, 3],
        [2, 1],
        [],
        [12, 11, 10, 9, 8],
    ]
    pointer = store.get(layout.scope_pointer("global"))
    for number in (12, 11, 10):
        store.erase(layout.log_entry("global", number))
    assert newest_number(store, "global") == 9
    for data in (b"{}", None):
        store.erase(layout.scope_pointer("global"))
        if data is not None:
            store.create(layout.scope_pointer("global"), data)
        assert newest_number(store, "global") == 9
    assert pointer is not None
    assert newest_number(memory_store(), "global") == 0
    with raises(UsageError, code="scope-invalid"):
        newest_number(store, "../x")


def test_what_is_damaged_among_the_entries_that_are_shown_is_named() -> None:
    store = log_of(9)
    key = layout.log_entry("global", 7)
    data = store.get(key) or b""
    store.replace(key, data.replace(b'"actor":"', b'"actor":"other '))
    with raises(DamagedObject, code="log-chain-broken", key=layout.log_entry("global", 8)):
        newest_entries(store, "global", 5)
    with raises(DamagedObject, code="log-chain-broken"):
        entry_at(store, "global", 7)
    assert len(newest_entries(store, "global", 2)) == 2
    store.erase(key)
    with raises(DamagedObject, code="log-gap", key=key):
        newest_entries(store, "global", 5)
