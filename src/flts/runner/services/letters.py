"""Dead letters: messages that could not be handled, kept with the reason until a person replays them.

A letter is never removed. When its message was sent again, a mark behind it says so, in the same topic: it is kept as
long as the letter is, while the messages themselves may go after days.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from flts.contracts.messages import DEAD_LETTERS, LARGEST
from flts.contracts.ports import Bus, Record

PREFIX = "flts-"
"""Prefix of the headers that say where a dead letter comes from."""
REPLAYED = f"{PREFIX}replayed"
"""Header of a replayed message and of its mark: partition:offset of its dead letters, separated by commas."""
_TOPIC, _PARTITION, _OFFSET = (f"{PREFIX}{name}" for name in ("topic", "partition", "offset"))
_GROUP, _ATTEMPTS, _ERROR, _REASON = (f"{PREFIX}{name}" for name in ("group", "attempts", "error", "reason"))
_CUT = f"{PREFIX}cut"
"""Header of a letter that was cut to fit: which part, and how many bytes it had."""
_OWN_HEADERS = (_TOPIC, _PARTITION, _OFFSET, _GROUP, _ATTEMPTS, _ERROR, _REASON, _CUT, REPLAYED)
FIRST = 16
"""Records of each partition that are looked at first for a letter that is named."""
SLACK_MS = 60_000
"""By how much the clock of who replays a letter may be behind that of who wrote it."""
HEAD = 1024
"""Bytes kept of a value or key that is too large."""
LARGEST_ENVELOPE = 1 << 15
"""Bytes of key and headers that fit beside the largest message and the reason."""


@dataclass(frozen=True)
class Letter:
    """A dead letter as people see it. record: the message in the dead-letter topic."""

    record: Record
    replayed: bool = False
    """Whether its message was sent again."""

    @property
    def topic(self) -> str:
        """The topic of the original message."""
        return self.record.topic.removeprefix(DEAD_LETTERS)

    @property
    def position(self) -> str:
        """Where it lies in its dead-letter topic: partition:offset."""
        return f"{self.record.partition}:{self.record.offset}"

    @property
    def id(self) -> str:
        """Its name for people: topic/partition/offset, the last two of the dead letter."""
        return f"{self.topic}/{self.record.partition}/{self.record.offset}"

    @property
    def origin(self) -> str:
        """Where the original message lies, as topic/partition/offset; empty where the letter does not say."""
        return "/".join(self.record.headers.get(name, "") for name in (_TOPIC, _PARTITION, _OFFSET)).strip("/")

    @property
    def when(self) -> datetime:
        """When it became a dead letter, UTC."""
        return datetime.fromtimestamp(self.record.timestamp_ms / 1000, UTC)

    @property
    def group(self) -> str:
        """The group that could not handle it; empty where the letter does not say."""
        return self.record.headers.get(_GROUP, "")

    @property
    def error(self) -> str:
        """Class of the error."""
        return self.record.headers.get(_ERROR, "unknown")

    @property
    def reason(self) -> str:
        """Message of the error."""
        return self.record.headers.get(_REASON, "")

    @property
    def attempts(self) -> int:
        """How often it was tried; 0 where the letter does not say."""
        attempts = self.record.headers.get(_ATTEMPTS, "")
        return int(attempts) if attempts.isdecimal() else 0

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of the original message."""
        return {name: value for name, value in self.record.headers.items() if name not in _OWN_HEADERS}


def topic_of_letters(topic: str) -> str:
    """The dead-letter topic of a topic."""
    return f"{DEAD_LETTERS}{topic}"


def send_to_dead_letters(bus: Bus, record: Record, error: Exception, attempts: int, group: str) -> None:
    """Keep the original bytes, key and headers, with where they were, which group failed and why.

    The topic may accept larger messages than the dead-letter topic does. No service handles such a message, and its
    letter holds only the first bytes: a letter that the topic refuses would block the partition for ever. Raises
    BackendUnavailable.
    """
    where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    why = {"error": type(error).__name__, "reason": str(error)[:4000], "attempts": attempts, "group": group}
    origin = {f"{PREFIX}{name}": str(value) for name, value in (where | why).items()}
    key, value, headers, cut = record.key, record.value, dict(record.headers), []
    if len(value) > LARGEST:
        value, cut = value[:HEAD], [f"value {len(value)}"]
    envelope = sum(len(part.encode(errors="surrogateescape")) for part in (key, *headers, *headers.values()))
    if envelope > LARGEST_ENVELOPE:
        key, headers, cut = key[:HEAD], {}, [*cut, f"key and headers {envelope}"]
    if cut:
        origin[_CUT] = ", ".join(cut)
    topic = topic_of_letters(record.topic)
    bus.ensure([topic])
    bus.publish(topic, key, value, {**headers, **origin})


def letters(bus: Bus, topic: str) -> list[Letter]:
    """All dead letters of a topic, oldest first. Raises BackendUnavailable."""
    found = [placed.letter for placed in _placed(bus.records(topic_of_letters(topic)))]
    return sorted(found, key=lambda one: (one.record.timestamp_ms, one.record.partition, one.record.offset))


def letter_named(bus: Bus, letter_id: str) -> Letter | None:
    """The dead letter with this id; None where there is none. Raises BackendUnavailable.

    Its topic is read backwards, as far as this letter.
    """
    named = re.fullmatch("(.+)/([0-9]+)/([0-9]+)", letter_id)
    if named is None or named[1] not in topics_with_letters(bus):
        return None
    partition, offset, read = int(named[2]), int(named[3]), FIRST
    while True:
        records = bus.records(topic_of_letters(named[1]), read)
        found = next((placed for placed in _placed(records) if placed.letter.id == letter_id), None)
        there = [record for record in records if record.partition == partition]
        if found is None and (len(there) < read or there[0].offset < offset):
            return None
        if found is not None and _reaches(records, read, found.ms):
            return found.letter
        read *= 2


def newest_letters(bus: Bus, topics: Sequence[str], most: int, before: str | None = None) -> list[Letter] | None:
    """So many dead letters of these topics, newest first. before: the id of one; those after it in that order.

    None where there is no such letter. Topics are read backwards, as far as these letters need. Raises
    BackendUnavailable.
    """
    read = most
    while True:
        dead = [bus.records(topic_of_letters(topic), read) for topic in topics]
        page = _page([placed for records in dead for placed in _placed(records)], most, before)
        oldest = page[-1].ms if page and len(page) == most else None
        if all(_reaches(records, read, oldest) for records in dead):
            return None if page is None else [placed.letter for placed in page]
        read *= 2


@dataclass(frozen=True)
class _Placed:
    """A letter with its place in the list. ms: the earliest time of it and of what follows it in its partition.

    A clock may go back. These times do not, so what was not read yet is never newer than what was.
    """

    letter: Letter
    ms: int

    @property
    def order(self) -> tuple[int, str, int, int]:
        """Sorts the newest first."""
        record = self.letter.record
        return -self.ms, self.letter.topic, record.partition, -record.offset


def _placed(records: Sequence[Record]) -> Iterator[_Placed]:
    """The letters among the newest records of a dead-letter topic; the marks among these tell which were replayed."""
    replayed = {position for record in records if _is_mark(record) for position in record.headers[REPLAYED].split(",")}
    earliest: dict[int, int] = {}
    for record in sorted(records, key=lambda record: record.offset, reverse=True):
        ms = earliest[record.partition] = min(record.timestamp_ms, earliest.get(record.partition, record.timestamp_ms))
        if not _is_mark(record):
            yield _Placed(Letter(record, f"{record.partition}:{record.offset}" in replayed), ms)


def _page(found: Sequence[_Placed], most: int, before: str | None) -> list[_Placed] | None:
    """The newest of the letters that were found, after one of them; None where that one is not among them."""
    ordered = sorted(found, key=lambda placed: placed.order)
    if before is None:
        return ordered[:most]
    place = next((place for place, placed in enumerate(ordered) if placed.letter.id == before), None)
    return None if place is None else ordered[place + 1 :][:most]


def _is_mark(record: Record) -> bool:
    """Whether a record of a dead-letter topic is no letter. That of a replayed message has its header, too."""
    return REPLAYED in record.headers and _TOPIC not in record.headers


def _reaches(records: Sequence[Record], read: int, ms: int | None) -> bool:
    """Whether the newest so many records of each partition are all of it, or go back before the marks of a letter.

    ms: when the letter was written.
    """
    parts: dict[int, list[int]] = {}
    for record in records:
        parts.setdefault(record.partition, []).append(record.timestamp_ms)
    return all(len(times) < read or (ms is not None and min(times) < ms - SLACK_MS) for times in parts.values())


def by_message(several: Sequence[Letter]) -> list[list[Letter]]:
    """Letters grouped by their original message; each group that could not handle it left one.

    A message that is sent again reaches every group, so one replay answers all of its letters.
    """
    grouped: dict[str, list[Letter]] = {}
    for letter in several:
        grouped.setdefault(letter.origin or letter.id, []).append(letter)
    return list(grouped.values())


def topics_with_letters(bus: Bus) -> Sequence[str]:
    """Topics that have a dead-letter topic, even an empty one. Raises BackendUnavailable."""
    return sorted(name.removeprefix(DEAD_LETTERS) for name in bus.describe().topics if name.startswith(DEAD_LETTERS))


def replay(bus: Bus, *same: Letter) -> None:
    """Send a message again, then leave a mark that names all of its letters. Raises BackendUnavailable.

    The letters stay. If it is unknown whether the message arrived, or the mark is absent, the letters wait on, and the
    message is sent once more: handlers are idempotent.
    """
    letter, positions = same[0], ",".join(one.position for one in same)
    bus.publish(letter.topic, letter.record.key, letter.record.value, {**letter.headers, REPLAYED: positions})
    bus.publish(letter.record.topic, letter.record.key, b"", {REPLAYED: positions})


def was_replayed(record: Record) -> bool:
    """Whether this message is a replay of a dead letter."""
    return REPLAYED in record.headers
