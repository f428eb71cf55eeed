"""Dead letters: what could not be handled, with the reason, until a person has it handled again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flts.ports import Bus, Record

PREFIX = "flts-"
"""How the headers begin that say where a dead letter comes from."""
REPLAYED = f"{PREFIX}replayed"
_ATTEMPTS, _ERROR, _REASON = (f"{PREFIX}{name}" for name in ("attempts", "error", "reason"))


@dataclass(frozen=True)
class Letter:
    """A dead letter as a person looks at it; `record` lies in the dead-letter topic."""

    record: Record

    @property
    def topic(self) -> str:
        """Where it was sent first."""
        return self.record.topic.removeprefix("DLQ-")

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
        """How often it was tried."""
        return int(self.record.headers.get(_ATTEMPTS, 0))


def topic_of_letters(topic: str) -> str:
    """The topic that keeps what could not be handled of another."""
    return f"DLQ-{topic}"


def send_to_dead_letters(bus: Bus, record: Record, error: Exception, attempts: int) -> None:
    """The original bytes, key and headers, with the original place and the reason. Raises BackendUnavailable."""
    where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    why = {"error": type(error).__name__, "reason": str(error)[:4000], "attempts": attempts}
    epitaph = {f"{PREFIX}{name}": str(value) for name, value in (where | why).items()}
    topic = topic_of_letters(record.topic)
    bus.ensure([topic])
    bus.publish(topic, record.key, record.value, {**record.headers, **epitaph})


def letters(bus: Bus, topic: str) -> list[Letter]:
    """All dead letters of a topic, oldest first."""
    found = bus.records(topic_of_letters(topic))
    return [Letter(record) for record in sorted(found, key=lambda r: (r.timestamp_ms, r.partition, r.offset))]


def replay(bus: Bus, letter: Letter) -> None:
    """Send the original message again, marked as replayed."""
    bus.publish(letter.topic, letter.record.key, letter.record.value, {**_original(letter.record), REPLAYED: "1"})


def was_replayed(record: Record) -> bool:
    """Whether a person asked for this message to be handled again."""
    return REPLAYED in record.headers


def _original(record: Record) -> Mapping[str, str]:
    return {name: value for name, value in record.headers.items() if not name.startswith(PREFIX)}
