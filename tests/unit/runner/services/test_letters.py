"""A dead letter keeps the whole message, is replayed unchanged, and the topics tell which letters were replayed."""

from __future__ import annotations

from dataclasses import replace

from flts.backends.bus_memory import MemoryBus
from flts.contracts.errors import DataError
from flts.contracts.messages import LARGEST
from flts.contracts.ports import Record
from flts.runner.services.letters import (
    HEAD,
    LARGEST_ENVELOPE,
    REPLAYED,
    by_message,
    letters,
    replay,
    send_to_dead_letters,
    topics_with_letters,
    was_replayed,
)

ODD = b"\xff\xfe".decode(errors="surrogateescape")


def sent(bus: MemoryBus, value: bytes = b"rows", **headers: str) -> Record:
    """A message in the topic `training-data`."""
    bus.publish("training-data", "key", value, headers)
    return bus.records("training-data")[-1]


def test_a_replay_has_the_bytes_key_and_headers_of_the_message_and_the_position_of_its_letter() -> None:
    bus = MemoryBus()
    record = sent(bus, b"\xff\x00", traceparent="00-1-2-01", who=ODD)
    send_to_dead_letters(bus, record, DataError("no such column"), 3, "train-gru")
    (letter,) = letters(bus, "training-data")
    assert (letter.id, letter.origin, letter.replayed) == ("training-data/0/0", "training-data/0/0", False)
    assert (letter.error, letter.reason, letter.attempts) == ("DataError", "no such column", 3)
    assert letter.group == "train-gru"
    assert letter.headers == {"traceparent": "00-1-2-01", "who": ODD}
    replay(bus, letter)
    again = bus.records("training-data")[-1]
    assert (again.value, again.key) == (record.value, record.key)
    assert again.headers == {**record.headers, REPLAYED: "0:0"}
    assert was_replayed(again)
    assert letters(bus, "training-data")[0].replayed


def test_a_replayed_message_that_fails_again_leaves_a_letter_of_its_own_with_the_headers_of_the_first() -> None:
    bus = MemoryBus()
    send_to_dead_letters(bus, sent(bus, who="someone"), DataError("first"), 1, "train-gru")
    replay(bus, *letters(bus, "training-data"))
    send_to_dead_letters(bus, bus.records("training-data")[-1], DataError("second"), 1, "train-gru")
    first, second = letters(bus, "training-data")
    assert (first.replayed, second.replayed) == (True, False)
    assert (second.reason, second.origin, second.headers) == ("second", "training-data/0/1", {"who": "someone"})


def test_one_replay_answers_the_letters_of_several_groups() -> None:
    bus = MemoryBus()
    record, other = sent(bus), sent(bus)
    for one, group in ((record, "train-gru"), (other, "train-gru"), (record, "train-lstm")):
        send_to_dead_letters(bus, one, DataError("no"), 1, group)
    grouped = by_message(letters(bus, "training-data"))
    assert [[letter.group for letter in same] for same in grouped] == [["train-gru", "train-lstm"], ["train-gru"]]
    assert [[letter.id for letter in same] for same in grouped] == [
        ["training-data/0/0", "training-data/0/2"],
        ["training-data/0/1"],
    ]
    replay(bus, *grouped[0])
    assert [letter.replayed for letter in letters(bus, "training-data")] == [True, False, True]
    assert bus.records("training-data")[-1].headers[REPLAYED] == "0:0,0:2"


def test_a_letter_is_marked_as_long_as_it_is_kept_however_short_messages_are() -> None:
    bus = MemoryBus()
    for value in (b"first", b"second"):
        send_to_dead_letters(bus, sent(bus, value), DataError("no"), 1, "train-gru")
    replay(bus, letters(bus, "training-data")[0])
    del bus._topics["training-data"]
    assert [letter.replayed for letter in letters(bus, "training-data")] == [True, False]


def test_a_replay_without_its_mark_waits_on() -> None:
    bus = MemoryBus()
    send_to_dead_letters(bus, sent(bus), DataError("no"), 1, "train-gru")
    replay(bus, *letters(bus, "training-data"))
    bus._topics["DLQ-training-data"][0].pop()
    (letter,) = letters(bus, "training-data")
    assert not letter.replayed
    replay(bus, letter)
    assert [one.replayed for one in letters(bus, "training-data")] == [True]


def test_a_letter_without_headers_can_still_be_read() -> None:
    bus = MemoryBus()
    bus.publish("DLQ-training-data", "key", b"x", {"flts-attempts": "many"})
    bus.publish("DLQ-training-data", "key", b"y")
    first, second = letters(bus, "training-data")
    assert (first.error, first.reason, first.attempts, first.origin, first.group) == ("unknown", "", 0, "", "")
    assert by_message([first, second]) == [[first], [second]]


def test_topics_are_found_by_their_dead_letter_topics_even_empty_ones() -> None:
    bus = MemoryBus()
    bus.ensure(["training-data", "DLQ-training-data", "DLQ-inference-data"])
    assert topics_with_letters(bus) == ["inference-data", "training-data"]
    assert letters(bus, "inference-data") == []


def test_a_letter_of_a_message_too_large_for_our_topics_is_cut_and_says_so() -> None:
    bus = MemoryBus()
    whole, long, wide = sent(bus, b"x" * LARGEST, h="y" * 100), sent(bus, b"x" * (LARGEST + 1)), sent(bus)
    wide = replace(wide, headers={"h": "y" * LARGEST_ENVELOPE})
    for record in (whole, long, wide):
        send_to_dead_letters(bus, record, DataError("no"), 1, "train-gru")
    kept, head, bare = (letter.record for letter in letters(bus, "training-data"))
    assert (kept.value, kept.headers["h"]) == (whole.value, "y" * 100)
    assert (head.value, head.headers["flts-cut"]) == (b"x" * HEAD, f"value {LARGEST + 1}")
    assert (bare.value, bare.key) == (b"rows", "key")
    assert bare.headers["flts-cut"] == f"key and headers {LARGEST_ENVELOPE + 4}"
    assert "h" not in bare.headers
    assert "flts-cut" not in kept.headers
    assert all("flts-cut" not in letter.headers for letter in letters(bus, "training-data"))
