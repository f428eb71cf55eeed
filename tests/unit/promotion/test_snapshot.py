"""A long log is read from one object and its end, and whatever is wrong with that object, the log itself decides."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.stored import MOMENT, Watched, as_json, grow, promoted, put_log

from flts.backends.store import memory_store
from flts.contracts import failpoints, layout
from flts.contracts.canonical import canonical_json
from flts.contracts.errors import BackendUnavailable, DamagedObject
from flts.contracts.ports import Store
from flts.contracts.records.log import LogEntry
from flts.promotion import snapshot
from flts.promotion.log import EMPTY, Chain, append, head, listed, next_entry, read_chain, served

SNAPSHOT = layout.log_snapshot("global")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "EVERY", 4)


def another(log: Chain) -> LogEntry:
    """The next promotion."""
    return next_entry(log, "global", "promote", promoted("gru"), "d" * 64, "tests", MOMENT)


def long_log(entries: int) -> Store:
    """A log that judges appended to, one after the other."""
    store = memory_store()
    for _ in range(entries):
        assert append(store, "global", another) is not None
    return store


def read(store: Store) -> tuple[int, Chain]:
    """How many objects a reader who knows nothing asks for, and what it finds."""
    watched = Watched(store)
    chain = read_chain(watched, "global")
    return len(watched.read), chain


def test_the_judge_keeps_one_and_a_reader_asks_for_it_and_for_what_came_after() -> None:
    store = long_log(10)
    assert len(as_json(store, SNAPSHOT)["entries"]) == 8
    requests, chain = read(store)
    assert requests == 1 + 1 + 2  # the snapshot, its last entry where it lies, the two after it
    assert [entry.number for entry in chain.entries] == list(range(1, 11))
    assert chain.head == head(store, "global").sha256
    store.erase(SNAPSHOT)
    assert read(store) == (1 + 10, chain)


def test_a_short_log_has_none_and_costs_no_request_for_it() -> None:
    store = long_log(3)
    assert not store.exists(SNAPSHOT)
    watched = Watched(store)
    read_chain(watched, "global")
    assert SNAPSHOT not in watched.read


def test_it_is_written_again_where_it_was_lost() -> None:
    store = long_log(8)
    before = store.get(SNAPSHOT)
    for number in range(5, 9):
        store.erase(layout.log_entry("global", number))
    store.erase(SNAPSHOT)
    for _ in range(4):
        append(store, "global", another)
    assert store.get(SNAPSHOT) == before


def cut(store: Store) -> None:
    """A person took the end of the log away."""
    for number in range(3, 11):
        store.erase(layout.log_entry("global", number))


def continued_otherwise(store: Store) -> None:
    """A person took the end of the log away, and other entries came."""
    cut(store)
    entries = list(listed(store, "global"))
    for _ in range(9):
        grow(entries, "ridge")
    put_log(store, entries)


def damage(store: Store) -> None:
    store.replace(SNAPSHOT, b"{")


def newer(store: Store) -> None:
    store.replace(SNAPSHOT, canonical_json({**as_json(store, SNAPSHOT), "v": 99}))


def of_another_history(store: Store) -> None:
    entries: list[LogEntry] = []
    for _ in range(8):
        grow(entries, "lstm")
    record = {**as_json(store, SNAPSHOT), "entries": [entry.to_bytes().decode() for entry in entries]}
    store.replace(SNAPSHOT, canonical_json(record))


@pytest.mark.parametrize("change", [cut, continued_otherwise, damage, newer, of_another_history])
def test_one_that_does_not_fit_the_log_counts_for_nothing(change: Callable[[Store], None]) -> None:
    store = long_log(10)
    change(store)
    chain = served(store, "global")
    store.erase(SNAPSHOT)
    assert chain == served(store, "global")


def test_a_damaged_end_of_the_log_is_found_and_the_beginning_by_whoever_reads_every_entry() -> None:
    store = long_log(10)
    store.replace(layout.log_entry("global", 2), b"{}")
    assert len(listed(store, "global")) == 10
    with pytest.raises(DamagedObject, match=layout.log_entry("global", 2)):
        listed(store, "global", by_snapshot=False)
    store.replace(layout.log_entry("global", 9), b"{}")
    with pytest.raises(DamagedObject, match=layout.log_entry("global", 9)):
        listed(store, "global")


def test_an_absent_entry_is_named_and_not_the_one_after_the_snapshot() -> None:
    store = long_log(10)
    known = read_chain(store, "global")
    store.erase(layout.log_entry("global", 2))
    for read_before in (EMPTY, known):
        with pytest.raises(DamagedObject, match=layout.log_entry("global", 2)):
            read_chain(store, "global", read_before)


def test_an_entry_that_stands_is_no_failure_where_the_store_goes_away_at_the_snapshot() -> None:
    def away(key: str) -> None:
        if key == SNAPSHOT:
            raise BackendUnavailable("the store is away", url="memory://")

    store = long_log(7)
    entry = append(Watched(store, away), "global", another)
    assert entry is not None
    assert entry.number == 8
    assert len(as_json(store, SNAPSHOT)["entries"]) == 4, "that of the fourth entry"


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_judge_that_ends_beside_the_write_leaves_a_whole_log(side: str) -> None:
    store = long_log(7)
    failpoints.arm(f"log.snapshot.{side}=error")
    try:
        with pytest.raises(OSError, match="failpoint"):
            append(store, "global", another)
    finally:
        failpoints.arm("")
    assert store.exists(SNAPSHOT)  # that of the fourth entry, or the new one
    assert [entry.number for entry in read_chain(store, "global").entries] == list(range(1, 9))
    assert read_chain(store, "global", EMPTY).head == head(store, "global").sha256
