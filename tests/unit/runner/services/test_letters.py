"""A dead letter keeps everything, is sent again as it was, and what was sent again can be read from the topics."""

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


def test_a_message_is_sent_again_with_its_bytes_key_and_headers_and_the_place_of_its_letter() -> None:
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


def test_letters_that_one_message_left_in_several_groups_are_answered_by_sending_it_once() -> None:
    bus = MemoryBus()
    record, other = sent(bus), sent(bus)
    for one, group in ((record, "train-gru"), (other, "train-gru"), (record, "train-lstm")):
        send_to_dead_letters(bus, one, DataError("no"), 1, group)
    together = by_message(letters(bus, "training-data"))
    assert [[letter.group for letter in same] for same in together] == [["train-gru", "train-lstm"], ["train-gru"]]
    assert [[letter.id for letter in same] for same in together] == [
        ["training-data/0/0", "training-data/0/2"],
        ["training-data/0/1"],
    ]
    replay(bus, *together[0])
    assert [letter.replayed for letter in letters(bus, "training-data")] == [True, False, True]
    assert bus.records("training-data")[-1].headers[REPLAYED] == "0:0,0:2"


def test_a_letter_that_says_nothing_of_itself_is_still_a_letter() -> None:
    bus = MemoryBus()
    bus.publish("DLQ-training-data", "key", b"x", {"flts-attempts": "many"})
    bus.publish("DLQ-training-data", "key", b"y")
    first, second = letters(bus, "training-data")
    assert (first.error, first.reason, first.attempts, first.origin, first.group) == ("unknown", "", 0, "", "")
    assert by_message([first, second]) == [[first], [second]]


def test_topics_are_found_by_their_letters_and_a_topic_without_any_has_none() -> None:
    bus = MemoryBus()
    bus.ensure(["training-data", "DLQ-training-data", "DLQ-inference-data"])
    assert topics_with_letters(bus) == ["inference-data", "training-data"]
    assert letters(bus, "inference-data") == []


def test_a_letter_of_a_message_that_no_topic_of_ours_takes_holds_its_beginning_and_says_so() -> None:
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
