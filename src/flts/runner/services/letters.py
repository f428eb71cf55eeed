"""Dead letters: what could not be handled, with the reason, until a person has it handled again.

A letter is never taken away. A replayed message says in a header which letter it was, so that what was replayed can be
read from the topics alone, by anyone, at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from flts.contracts.messages import LARGEST
from flts.contracts.ports import Bus, Record

DEAD = "DLQ-"
"""How the topics of dead letters begin."""
PREFIX = "flts-"
"""How the headers begin that say where a dead letter comes from."""
REPLAYED = f"{PREFIX}replayed"
"""Header of a replayed message: partition:offset of its dead letters, several with commas."""
_TOPIC, _PARTITION, _OFFSET = (f"{PREFIX}{name}" for name in ("topic", "partition", "offset"))
_GROUP, _ATTEMPTS, _ERROR, _REASON = (f"{PREFIX}{name}" for name in ("group", "attempts", "error", "reason"))
_CUT = f"{PREFIX}cut"
"""Header of a letter that lacks what no topic takes: which part, and how many bytes it had."""
_EPITAPH = (_TOPIC, _PARTITION, _OFFSET, _GROUP, _ATTEMPTS, _ERROR, _REASON, _CUT, REPLAYED)
HEAD = 1024
"""Bytes that are kept of what is too large."""
LARGEST_ENVELOPE = 1 << 15
"""Bytes of key and headers that fit beside the largest message and the reason."""


@dataclass(frozen=True)
class Letter:
    """A dead letter as a person looks at it; `record` lies in the dead-letter topic."""

    record: Record
    replayed: bool = False
    """Whether its message was sent again since."""

    @property
    def topic(self) -> str:
        """Where it was sent first."""
        return self.record.topic.removeprefix(DEAD)

    @property
    def place(self) -> str:
        """Where it lies in its dead-letter topic: partition:offset."""
        return f"{self.record.partition}:{self.record.offset}"

    @property
    def id(self) -> str:
        """How a person names it: topic/partition/offset, the last two of the dead letter."""
        return f"{self.topic}/{self.record.partition}/{self.record.offset}"

    @property
    def origin(self) -> str:
        """Where the original message lies, as topic/partition/offset; empty where the letter does not say."""
        return "/".join(self.record.headers.get(name, "") for name in (_TOPIC, _PARTITION, _OFFSET)).strip("/")

    @property
    def when(self) -> datetime:
        """When it was given up, UTC."""
        return datetime.fromtimestamp(self.record.timestamp_ms / 1000, UTC)

    @property
    def group(self) -> str:
        """Whose members could not handle it; empty where the letter does not say."""
        return self.record.headers.get(_GROUP, "")

    @property
    def error(self) -> str:
        """Class of the error."""
        return self.record.headers.get(_ERROR, "unknown")

    @property
    def reason(self) -> str:
        """What the error said."""
        return self.record.headers.get(_REASON, "")

    @property
    def attempts(self) -> int:
        """How often it was tried; 0 where the letter does not say."""
        said = self.record.headers.get(_ATTEMPTS, "")
        return int(said) if said.isdecimal() else 0

    @property
    def headers(self) -> Mapping[str, str]:
        """Those of the original message."""
        return {name: value for name, value in self.record.headers.items() if name not in _EPITAPH}


def topic_of_letters(topic: str) -> str:
    """The topic that keeps what could not be handled of another."""
    return f"{DEAD}{topic}"


def send_to_dead_letters(bus: Bus, record: Record, error: Exception, attempts: int, group: str) -> None:
    """The original bytes, key and headers, with the original place, who gave it up and why. Raises BackendUnavailable.

    Who made the topic may take larger messages than ours. No service handles one, and its letter holds only its
    beginning: one that no topic took would stop the partition for ever.
    """
    where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    why = {"error": type(error).__name__, "reason": str(error)[:4000], "attempts": attempts, "group": group}
    epitaph = {f"{PREFIX}{name}": str(value) for name, value in (where | why).items()}
    key, value, headers, cut = record.key, record.value, dict(record.headers), []
    if len(value) > LARGEST:
        value, cut = value[:HEAD], [f"value {len(value)}"]
    envelope = sum(len(part.encode(errors="surrogateescape")) for part in (key, *headers, *headers.values()))
    if envelope > LARGEST_ENVELOPE:
        key, headers, cut = key[:HEAD], {}, [*cut, f"key and headers {envelope}"]
    if cut:
        epitaph[_CUT] = ", ".join(cut)
    topic = topic_of_letters(record.topic)
    bus.ensure([topic])
    bus.publish(topic, key, value, {**headers, **epitaph})


def letters(bus: Bus, topic: str) -> list[Letter]:
    """All dead letters of a topic, oldest first. Raises BackendUnavailable."""
    found = bus.records(topic_of_letters(topic))
    if not found:
        return []
    replayed = {place for record in bus.records(topic) for place in record.headers.get(REPLAYED, "").split(",")}
    made = [Letter(record, f"{record.partition}:{record.offset}" in replayed) for record in found]
    return sorted(made, key=lambda letter: (letter.record.timestamp_ms, letter.record.partition, letter.record.offset))


def by_message(found: Sequence[Letter]) -> list[list[Letter]]:
    """The letters of each message together: one that several groups could not handle left one for each of them.

    A message that is sent again comes to every group, so sending it once answers all of its letters.
    """
    together: dict[str, list[Letter]] = {}
    for letter in found:
        together.setdefault(letter.origin or letter.id, []).append(letter)
    return list(together.values())


def topics_with_letters(bus: Bus) -> Sequence[str]:
    """The topics whose dead letters are kept, whether or not there are any. Raises BackendUnavailable."""
    return sorted(name.removeprefix(DEAD) for name in bus.describe().topics if name.startswith(DEAD))


def replay(bus: Bus, *same: Letter) -> None:
    """Send a message again, marked with all letters that it left. Raises BackendUnavailable.

    The letters stay. Whoever cannot know whether the message arrived may send it once more: handling bears that.
    """
    letter, places = same[0], ",".join(one.place for one in same)
    bus.publish(letter.topic, letter.record.key, letter.record.value, {**letter.headers, REPLAYED: places})


def was_replayed(record: Record) -> bool:
    """Whether a person asked for this message to be handled again."""
    return REPLAYED in record.headers
