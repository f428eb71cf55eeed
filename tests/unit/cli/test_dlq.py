"""`flts dlq` from the command line, on a bus in memory; tests/integration runs it on brokers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.cli.conftest import Flts

from flts import wiring
from flts.backends.bus_memory import MemoryBus
from flts.contracts.errors import BackendUnavailable, DataError
from flts.contracts.ports import Place, Record
from flts.runner.services.letters import letter_named, letters, newest_letters, replay, send_to_dead_letters


class SharedBus(MemoryBus):
    """A bus in memory that passes for a shared one, and may go away after some more messages."""

    url = "kafka://tests"
    left: int | None = None

    def publish(self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None) -> Place | None:
        if self.left == 0:
            raise BackendUnavailable("the broker is away")
        self.left = None if self.left is None else self.left - 1
        return super().publish(topic, key, value, headers)


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> SharedBus:
    """What the settings name."""
    made = SharedBus()
    monkeypatch.setattr(wiring, "open_bus", lambda *_: made)
    return made


def dead(bus: MemoryBus, topic: str, value: bytes, reason: str = "no") -> Record:
    """A message and its dead letter."""
    bus.publish(topic, "key", value, {"who": "someone"})
    record = bus.records(topic)[-1]
    send_to_dead_letters(bus, record, DataError(reason), 2, "train-gru")
    return record


def values(bus: MemoryBus, topic: str) -> Sequence[bytes]:
    return [record.value for record in bus.records(topic)]


def test_without_dead_letters_the_list_says_so(flts: Flts, bus: SharedBus) -> None:
    bus.ensure(["DLQ-training-data"])
    done = flts("dlq", "list")
    assert (done.code, done.out) == (0, "no dead letters\n")
    assert flts("dlq", "replay", "--all").out == "nothing to replay\n"


def test_the_list_has_one_line_per_letter_with_place_time_and_reason(flts: Flts, bus: SharedBus) -> None:
    dead(bus, "training-data", b"a", "set [evaluate] windows\nand " + "x" * 200)
    dead(bus, "inference-data", b"b", "\x1b[2Jgone")
    shown = flts("dlq", "list")
    first, second = (next(line for line in shown.out.splitlines() if name in line) for name in ("training", "inferenc"))
    assert "training-data/0/0" in first
    assert "train-gru" in first
    assert "set [evaluate] windows and xxx" in first
    assert first.split()[-2:] == ["2", "no"]
    assert "…" in first
    assert "\\x1b[2Jgone" in second
    assert "\x1b" not in shown.out
    only = flts("dlq", "list", "--topic", "inference-data", "--json")
    (row,) = json.loads(only.out)
    assert (row["id"], row["group"], row["error"], row["attempts"], row["replayed"]) == (
        "inference-data/0/0",
        "train-gru",
        "DataError",
        2,
        False,
    )


def test_a_letter_is_shown_whole(flts: Flts, bus: SharedBus) -> None:
    dead(bus, "training-data", b'{"rows": 1}\xff', "reason " * 40)
    shown = flts("dlq", "show", "training-data/0/0").out
    for part in (
        "reason " * 40,
        "header    who: someone",
        '{"rows": 1}\\xff',
        "12 bytes",
        "message   training-data/0/0",
        "given up  by train-gru, ",
    ):
        assert part.strip() in shown
    record = json.loads(flts("dlq", "show", "training-data/0/0", "--json").out)
    assert (record["value"], record["headers"]) == ('{"rows": 1}\\xff', {"who": "someone"})


def test_a_letter_without_a_group_is_shown_without_one(flts: Flts, bus: SharedBus) -> None:
    bus.publish("DLQ-training-data", "key", b"x")
    shown = flts("dlq", "show", "training-data/0/0").out
    assert "UTC after 0 attempts" in shown
    assert "given up  by" not in shown
    assert json.loads(flts("dlq", "show", "training-data/0/0", "--json").out)["group"] is None


def test_a_letter_is_replayed_by_name_and_then_listed_as_replayed(flts: Flts, bus: SharedBus) -> None:
    for value in (b"a", b"b"):
        dead(bus, "training-data", value)
    done = flts("dlq", "replay", "training-data/0/1")
    assert (done.code, done.out) == (0, "sent again to training-data: training-data/0/1\n")
    assert values(bus, "training-data") == [b"a", b"b", b"b"]
    assert [row["replayed"] for row in json.loads(flts("dlq", "list", "--json").out)] == [True, False]


def test_replay_all_skips_letters_that_were_replayed(flts: Flts, bus: SharedBus) -> None:
    for value in (b"a", b"b", b"c"):
        dead(bus, "training-data", value)
    flts("dlq", "replay", "training-data/0/1")
    assert flts("dlq", "replay", "--all").code == 0
    assert values(bus, "training-data") == [b"a", b"b", b"c", b"b", b"a", b"c"]
    assert flts("dlq", "replay", "--all").out == "nothing to replay\n"


def test_a_replay_cut_off_by_the_broker_can_be_continued_later(flts: Flts, bus: SharedBus) -> None:
    for value in (b"a", b"b", b"c"):
        dead(bus, "training-data", value)
    bus.left = 2  # the first message and its mark
    cut = flts("dlq", "replay", "--all")
    assert cut.code == 3
    assert cut.error is not None
    assert (cut.error.code, dict(cut.error.data)) == ("replay-interrupted", {"sent": 1, "messages": 3})
    bus.left = None
    assert flts("dlq", "replay", "--all").code == 0
    assert values(bus, "training-data")[3:] == [b"a", b"b", b"c"]
    assert all(letter.replayed for letter in letters(bus, "training-data"))


@pytest.mark.parametrize("command", [["show", "training-data/0/9"], ["replay", "training-data/0/0", "nothing"]])
def test_an_unknown_letter_is_one_message_with_the_valid_ids_and_nothing_is_sent(
    flts: Flts, bus: SharedBus, command: list[str]
) -> None:
    dead(bus, "training-data", b"a")
    done = flts("dlq", *command)
    assert done.code == 2
    assert done.err == f"error: there is no dead letter '{command[-1]}'; valid: training-data/0/0\n"
    assert values(bus, "training-data") == [b"a"]


def test_an_unknown_letter_among_many_names_only_the_newest(flts: Flts, bus: SharedBus) -> None:
    for number in range(23):
        dead(bus, "training-data", str(number).encode())
    done = flts("dlq", "show", "x")
    assert done.error is not None
    assert done.error.code == "letter-unknown"
    assert "; valid: training-data/0/22, " in done.err
    assert "training-data/0/3, and older ones by `flts dlq list`" in done.err


@pytest.mark.parametrize("arguments", [[], ["training-data/0/0", "--all"]])
def test_replay_requires_letters_or_all(flts: Flts, bus: SharedBus, arguments: list[str]) -> None:
    done = flts("dlq", "replay", *arguments)
    assert done.error is not None
    assert (done.error.code, done.code) == ("no-letters-named", 2)


def test_an_unknown_topic_is_named_with_the_valid_ones(flts: Flts, bus: SharedBus) -> None:
    dead(bus, "training-data", b"a")
    done = flts("dlq", "list", "--topic", "trainig-data")
    assert done.error is not None
    assert (done.error.code, done.code) == ("topic-unknown", 2)
    assert "did you mean 'training-data'?" in done.err


def test_a_bus_in_memory_is_refused(flts: Flts) -> None:
    done = flts("dlq", "list")
    assert done.error is not None
    assert (done.error.code, done.code) == ("bus-not-shared", 2)


@pytest.mark.parametrize("partitions", [1, 3])
def test_letters_are_listed_page_by_page_newest_first(
    flts: Flts, monkeypatch: pytest.MonkeyPatch, partitions: int
) -> None:
    bus = SharedBus(partitions)
    monkeypatch.setattr(wiring, "open_bus", lambda *_: bus)
    for number in range(40):
        topic = "training-data" if number % 4 else "inference-data"
        bus.publish(topic, f"key {number}", b"x")
        record = next(r for r in bus.records(topic) if r.key == f"key {number}")
        send_to_dead_letters(bus, record, DataError("no"), 1, "train-gru")
    every = json.loads(flts("dlq", "list", "--json").out)
    assert [row["when"] for row in every] == sorted((row["when"] for row in every), reverse=True)
    assert len({row["id"] for row in every}) == 40
    flts("dlq", "replay", every[0]["id"], every[-1]["id"])
    pages: list[Any] = []
    while True:
        before = ["--before", pages[-1]["id"]] if pages else []
        done = flts("dlq", "list", "--json", "--limit", "7", *before)
        page = json.loads(done.out)
        pages += page
        if len(page) < 7:
            break
        assert f"older ones: `flts dlq list --limit 7 --before {page[-1]['id']}`" in done.err
    assert [row["id"] for row in pages] == [row["id"] for row in every]
    assert [row["replayed"] for row in pages] == [True, *[False] * 38, True]
    assert flts("dlq", "list", "--before", pages[-1]["id"]).out == "no older dead letters\n"
    unknown = flts("dlq", "list", "--before", "training-data/0/99")
    assert unknown.error is not None
    assert unknown.error.code == "letter-unknown"


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_hold_every_letter_once_where_a_clock_goes_back(limit: int) -> None:
    bus = MemoryBus()
    times = [9_000, 100_000, 5_000, 5_000, 70_000, 60_000]
    for number in range(len(times)):
        bus.publish("DLQ-training-data", "key", b"%d" % number)
    [partition] = bus._topics["DLQ-training-data"]
    partition[:] = [replace(record, timestamp_ms=ms) for record, ms in zip(partition, times, strict=True)]
    found: list[bytes] = []
    before: str | None = None
    while page := newest_letters(bus, ["training-data"], limit, before):
        found += [letter.record.value for letter in page]
        before = page[-1].id
    assert found == [b"5", b"4", b"3", b"2", b"1", b"0"]


def grown(count: int) -> tuple[MemoryBus, list[int]]:
    """A bus with so many letters of an hour ago and a new one; and how much each call read."""
    bus = MemoryBus()
    for number in range(count):
        bus.publish("DLQ-training-data", "old", b"%d" % number)
    for partition in (partition for partitions in bus._topics.values() for partition in partitions):
        partition[:] = [replace(record, timestamp_ms=record.timestamp_ms - 3_600_000) for record in partition]
    dead(bus, "training-data", b"new")
    read: list[int] = []
    records = bus.records

    def counting(topic: str, newest: int | None = None) -> Sequence[Record]:
        found = records(topic, newest)
        read.append(len(found))
        return found

    bus.records = counting  # type: ignore[method-assign]
    return bus, read


@pytest.mark.parametrize("letters_before", [0, 5000])
def test_a_page_reads_no_more_where_there_are_more_letters(letters_before: int) -> None:
    bus, read = grown(letters_before)
    found = newest_letters(bus, ["training-data"], 1)
    assert found is not None
    assert [letter.record.value for letter in found] == [b"new"]
    assert sum(read) <= 1 + 2 + 2


@pytest.mark.parametrize("letters_before", [0, 5000])
def test_a_letter_that_is_named_is_found_as_cheaply(letters_before: int) -> None:
    bus, read = grown(letters_before)
    found = letter_named(bus, f"training-data/0/{letters_before}")
    assert found is not None
    assert (found.record.value, found.replayed) == (b"new", False)
    assert sum(read) <= 16


def test_a_letter_far_back_is_found_and_one_that_never_was_is_not() -> None:
    bus, _ = grown(100)
    far = letter_named(bus, "training-data/0/3")
    assert far is not None
    assert far.record.value == b"3"
    replay(bus, far)
    again = letter_named(bus, "training-data/0/3")
    assert again is not None
    assert again.replayed
    for absent in ("training-data/0/999", "training-data/7/3", "other/0/3", "training-data/0/x", "training-data"):
        assert letter_named(bus, absent) is None
