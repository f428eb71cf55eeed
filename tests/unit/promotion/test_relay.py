"""Pointers and messages are derived from the log, and can be written again at any time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.stored import Watched, chain, contents, grow, put_log

from flts.backends.bus_memory import MemoryBus
from flts.backends.store import memory_store
from flts.contracts import failpoints, layout
from flts.contracts.canonical import digest, sha256
from flts.contracts.messages import ModelSelected
from flts.contracts.ports import Store
from flts.contracts.records.log import LogEntry
from flts.promotion.relay import relay, relay_all, selected


def log_of(*models: str, scope: str = "global") -> list[LogEntry]:
    """Entries whose configuration has the name of the model."""
    entries: list[LogEntry] = []
    for model in models:
        grow(entries, model, scope=scope, config=model)
    return entries


def pointer(store: Store, key: str) -> Any:
    data = store.get(key)
    return None if data is None else json.loads(data)


def published(bus: MemoryBus) -> list[ModelSelected]:
    records = bus.records("model-selected")
    messages = [ModelSelected.parse(record.value) for record in records]
    assert [record.key for record in records] == [message.key for message in messages]
    return messages


def test_an_empty_log_has_no_champion_no_pointer_and_no_message() -> None:
    store, bus = memory_store(), MemoryBus()
    assert relay(store, bus, "global").log.newest is None
    assert contents(store) == {}
    assert published(bus) == []


def test_the_pointers_of_scope_global_are_its_message_as_plain_json() -> None:
    store, bus = memory_store(), MemoryBus()
    entries = log_of("a")
    put_log(store, entries)
    assert relay(store, bus, "global").log.newest == entries[0]
    (message,) = published(bus)
    keys = [layout.root_pointer(), layout.scope_pointer("global"), layout.config_pointer("global", digest("a"))]
    for key in keys:
        assert store.get(key) == message.to_bytes() == selected(chain(entries), entries[0]).to_bytes()
    assert pointer(store, keys[0])["promotion"] == 1
    assert pointer(store, keys[0])["model_type"] == "A"
    assert "model" not in pointer(store, keys[0])
    assert set(contents(store)) == {*keys, layout.log_entry("global", 1)}


def test_another_scope_leaves_the_root_pointer_alone() -> None:
    store = memory_store()
    put_log(store, log_of("a", scope="north"))
    relay(store, MemoryBus(), "north")
    assert store.get(layout.root_pointer()) is None
    assert pointer(store, layout.scope_pointer("north"))["scope"] == "north"
    assert store.get(layout.scope_pointer("global")) is None


def test_when_nothing_changed_nothing_is_written_and_nothing_published() -> None:
    store, bus = memory_store(), MemoryBus()
    entries = log_of("a", "b")
    put_log(store, entries)
    relay(store, bus, "global")
    watched = Watched(store)
    assert relay(watched, bus, "global").log.newest == entries[1]
    assert watched.written == []
    assert [message.promotion for message in published(bus)] == [2]


def test_the_pointers_follow_the_log_to_its_newest_entry() -> None:
    store, bus = memory_store(), MemoryBus()
    entries = log_of("a", "b", "a")
    for count in (1, 2, 3):
        put_log(store, entries[:count])
        relay(store, bus, "global")
        assert pointer(store, layout.root_pointer())["promotion"] == count
        assert pointer(store, layout.scope_pointer("global"))["promotion"] == count
    assert [message.promotion for message in published(bus)] == [1, 2, 3]
    assert pointer(store, layout.config_pointer("global", digest("a")))["promotion"] == 3
    assert pointer(store, layout.config_pointer("global", digest("b")))["promotion"] == 2


class Growing(Watched):
    """A store whose log grows, and is relayed, while the pointers are read."""

    def __init__(self, store: Store, entries: list[LogEntry]) -> None:
        super().__init__(store)
        self.entries = entries

    def get(self, key: str) -> bytes | None:
        if key.endswith("current.json"):
            put_log(self._store, self.entries)
            relay(self._store, MemoryBus(), "global")
        return super().get(key)


def test_a_pointer_that_is_ahead_of_the_log_that_was_read_is_not_moved_back() -> None:
    store, bus = memory_store(), MemoryBus()
    entries = log_of("a", "b")
    put_log(store, entries[:1])
    watched = Growing(store, entries)
    assert relay(watched, bus, "global").log.newest == entries[1]
    assert watched.written == []
    assert published(bus) == []


POINTERS = (layout.root_pointer(), layout.scope_pointer("global"))


def test_a_shortened_log_is_the_new_truth_and_is_announced_as_such() -> None:
    store, bus = memory_store(), MemoryBus()
    entries = log_of("a", "b", "c")
    put_log(store, entries)
    relay(store, bus, "global")
    (first,) = published(bus)
    store.erase(layout.log_entry("global", 3))
    store.erase(layout.log_entry("global", 2))
    assert relay(store, bus, "global", chain(entries)).log.newest == entries[0]
    second = published(bus)[1]
    assert (second.promotion, second.replaces) == (1, first.event_id)
    assert second.event_id != first.event_id
    whole = memory_store()
    put_log(whole, entries[:1])
    relay(whole, MemoryBus(), "global")
    assert contents(store) == contents(whole)  # without pointers of the configurations b and c
    relay(store, bus, "global")
    assert len(published(bus)) == 2


def test_a_replaced_entry_is_announced_although_its_number_is_the_same() -> None:
    store, bus = memory_store(), MemoryBus()
    entries = log_of("a", "b")
    put_log(store, entries)
    relay(store, bus, "global")
    other = entries[:1]
    grow(other, "x", config="x")
    store.replace(layout.log_entry("global", 2), other[1].to_bytes())
    assert relay(store, bus, "global").log.newest == other[1]
    first, second = published(bus)
    assert (first.promotion, second.promotion, second.replaces) == (2, 2, first.event_id)
    assert first.event_id != second.event_id
    assert [pointer(store, key)["model_type"] for key in POINTERS] == ["X", "X"]
    assert store.get(layout.config_pointer("global", digest("b"))) is None


def test_a_number_that_comes_again_has_another_id() -> None:
    store, bus = memory_store(), MemoryBus()
    entries = log_of("a", "b")
    put_log(store, entries)
    relay(store, bus, "global")
    store.erase(layout.log_entry("global", 2))
    relay(store, bus, "global")
    again = entries[:1]
    grow(again, "b", config="b")
    grow(again, "c", config="c")
    put_log(store, [again[0], again[1].model_copy(update={"actor": "later"})])
    relay(store, bus, "global")
    assert [(m.promotion, m.replaces is None) for m in published(bus)] == [(2, True), (1, False), (2, True)]
    assert len({message.event_id for message in published(bus)}) == 3


@pytest.mark.parametrize("number", [7, 99_999_999, 10**9, 0, -1])
def test_a_pointer_with_a_number_that_is_not_in_the_log_is_mended(number: int) -> None:
    store, bus = memory_store(), MemoryBus()
    entries = log_of("a", "b")
    put_log(store, entries)
    relay(store, bus, "global")
    for key in (*POINTERS, layout.config_pointer("global", digest("b"))):
        whole = pointer(store, key)
        del whole["event_id"]
        store.replace(key, json.dumps(whole | {"promotion": number}).encode())
    relay(store, bus, "global")
    for key in (*POINTERS, layout.config_pointer("global", digest("b"))):
        assert store.get(key) == selected(chain(entries), entries[1]).to_bytes()


@pytest.mark.parametrize("point", ["gone", "config", "root", "scope"])
@pytest.mark.parametrize("side", ["before", "after"])
def test_the_next_relay_finishes_the_mending_of_one_that_was_stopped(point: str, side: str) -> None:
    store, bus = memory_store(), MemoryBus()
    entries = log_of("a", "b")
    put_log(store, entries)
    relay(store, bus, "global")
    other = log_of("x")
    for number, data in ((1, other[0].to_bytes()), (2, None)):
        key = layout.log_entry("global", number)
        store.erase(key) if data is None else store.replace(key, data)
    failpoints.arm(f"promote.pointer.{point}.{side}=error")
    try:
        with pytest.raises(OSError, match="failpoint"):
            relay(store, bus, "global")
    finally:
        failpoints.arm("")
    relay(store, bus, "global")
    whole = memory_store()
    put_log(whole, other)
    relay(whole, MemoryBus(), "global")
    assert contents(store) == contents(whole)
    first, *later = published(bus)
    assert {(message.promotion, message.replaces) for message in later} == {(1, first.event_id)}


def test_every_configuration_promoted_since_the_last_relay_gets_its_pointer() -> None:
    store = memory_store()
    put_log(store, log_of("a", "b", "c", "b"))
    relay(store, MemoryBus(), "global")
    numbers = {name: pointer(store, layout.config_pointer("global", digest(name)))["promotion"] for name in "abc"}
    assert numbers == {"a": 1, "b": 4, "c": 3}
    assert pointer(store, layout.scope_pointer("global"))["promotion"] == 4


def test_a_slow_relay_that_replaced_a_newer_pointer_by_an_old_one_corrects_it() -> None:
    store, bus = memory_store(), MemoryBus()
    entries = log_of("a", "b")
    put_log(store, entries[:1])

    def overtake(key: str) -> None:
        if key == layout.scope_pointer("global") and len(store.list(layout.log("global"))) == 1:
            put_log(store, entries)
            relay(store, bus, "global")

    assert relay(Watched(store, overtake), bus, "global").log.newest == entries[1]
    for key in (layout.root_pointer(), layout.scope_pointer("global"), layout.config_pointer("global", digest("b"))):
        assert pointer(store, key)["promotion"] == 2


def test_a_slow_relay_that_wrote_an_old_pointer_of_a_configuration_corrects_it() -> None:
    store, bus = memory_store(), MemoryBus()
    entries = log_of("a")
    put_log(store, entries)
    key = layout.config_pointer("global", digest("a"))
    grow(entries, "other", config="a")

    def overtake(moved: str) -> None:
        if moved == key and len(store.list(layout.log("global"))) == 1:
            put_log(store, entries)
            relay(store, bus, "global")

    assert relay(Watched(store, overtake), bus, "global").log.newest == entries[1]
    assert pointer(store, key)["promotion"] == 2


def test_any_later_relay_corrects_an_old_pointer_of_a_configuration_without_another_message() -> None:
    store, bus = memory_store(), MemoryBus()
    entries = log_of("a", "b", "a")
    put_log(store, entries)
    relay(store, bus, "global")
    key = layout.config_pointer("global", digest("a"))
    store.replace(
        key, selected(chain(entries), entries[0]).to_bytes()
    )  # as a slow relay that was cut off here leaves it
    relay(store, bus, "global")
    assert pointer(store, key)["promotion"] == 3
    assert [message.promotion for message in published(bus)] == [3]


@pytest.mark.parametrize("point", ["config", "root", "scope"])
@pytest.mark.parametrize("side", ["before", "after"])
def test_the_next_relay_finishes_one_that_was_stopped(point: str, side: str) -> None:
    undisturbed, store = memory_store(), memory_store()
    entries = log_of("a", "b")
    put_log(undisturbed, entries)
    put_log(store, entries)
    relay(undisturbed, MemoryBus(), "global")
    failpoints.arm(f"promote.pointer.{point}.{side}=error")
    try:
        with pytest.raises(OSError, match="failpoint"):
            relay(store, MemoryBus(), "global")
    finally:
        failpoints.arm("")
    relay(store, MemoryBus(), "global")
    assert contents(store) == contents(undisturbed)


def test_a_message_that_is_sent_again_has_the_same_id_and_the_same_bytes() -> None:
    (entry,) = log_of("a")
    store = memory_store()
    put_log(store, [entry])
    first, second = MemoryBus(), MemoryBus()
    relay(store, first, "global")
    fresh = memory_store()
    put_log(fresh, [entry])
    relay(fresh, second, "global")
    assert published(first)[0].to_bytes() == published(second)[0].to_bytes()
    assert published(first)[0].event_id == published(second)[0].event_id


def test_a_rollback_moves_the_pointers_to_its_own_entry_and_the_restored_model() -> None:
    store = memory_store()
    entries = log_of("a", "b")
    grow(entries, "a", "rollback", config="a")
    put_log(store, entries)
    relay(store, MemoryBus(), "global")
    current = pointer(store, layout.root_pointer())
    assert (current["promotion"], current["kind"], current["model_type"]) == (3, "rollback", "A")
    assert current["entry_sha256"] == sha256(store.get(layout.log_entry("global", 3)) or b"")


@pytest.mark.parametrize("lost", [layout.root_pointer(), layout.scope_pointer("global")])
@pytest.mark.parametrize("left", [None, b"{", b"[]", b'{"promotion": "x"}'])
def test_a_pointer_that_is_lost_or_unreadable_is_written_again(lost: str, left: bytes | None) -> None:
    store, bus = memory_store(), MemoryBus()
    put_log(store, log_of("a", "b"))
    relay(store, bus, "global")
    whole = store.get(lost)
    other = memory_store()
    put_log(other, log_of("a", "b"))
    for key in (layout.root_pointer(), layout.scope_pointer("global")):
        data = left if key == lost else whole
        if data is not None:
            other.create(key, data)
    relay(other, bus, "global")
    assert other.get(lost) == whole


ODD_TIMES = ["", "yesterday", "2026-01-02T03:04:05", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]


@pytest.mark.parametrize("damage", [b"{", *(json.dumps({"time": time}).encode() for time in ODD_TIMES)])
def test_every_scope_is_brought_up_to_its_log_and_a_damaged_one_does_not_stop_the_others(damage: bytes) -> None:
    store, bus = memory_store(), MemoryBus()
    for scope in ("east", "north", "west"):
        put_log(store, log_of("a", "b", scope=scope))
    newest = layout.log_entry("north", 2)
    edited = (
        damage if damage == b"{" else json.dumps(json.loads(store.get(newest) or b"") | json.loads(damage)).encode()
    )
    store.replace(newest, edited)
    relay_all(store, bus)
    pointers = {scope: pointer(store, layout.scope_pointer(scope)) for scope in ("east", "north", "west")}
    assert {scope: found and found["promotion"] for scope, found in pointers.items()} == {
        "east": 2,
        "north": None,
        "west": 2,
    }
    assert {message.scope for message in published(bus)} == {"east", "west"}


def test_a_folder_whose_name_is_not_a_scope_has_no_log() -> None:
    store, bus = memory_store(), MemoryBus()
    put_log(store, log_of("a"))
    for key in contents(store, layout.log("global")):
        store.create(key.replace("global", "Global"), store.get(key) or b"")
    relay_all(store, bus)
    assert {message.scope for message in published(bus)} == {"global"}
