"""Topics in memory: what one process needs to run all stages, and the double that tests use."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence

from flts.ports import Record


class MemoryBus:
    """A Bus inside one process. Records live as long as it does."""

    def __init__(self) -> None:
        self._topics: dict[str, list[Record]] = defaultdict(list)
        self._committed: dict[tuple[str, str], int] = defaultdict(int)
        self._arrived = threading.Condition()

    def publish(self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None) -> None:
        with self._arrived:
            records = self._topics[topic]
            records.append(Record(topic, key, value, dict(headers or {}), len(records)))
            self._arrived.notify_all()

    def subscribe(self, topics: Sequence[str], group: str) -> MemorySubscription:
        return MemorySubscription(self, topics, group)


class MemorySubscription:
    """One member of a group; it starts behind the group's last commit."""

    def __init__(self, bus: MemoryBus, topics: Sequence[str], group: str) -> None:
        self._bus, self._topics, self._group = bus, tuple(topics), group
        with bus._arrived:
            self._next = {topic: bus._committed[group, topic] for topic in topics}

    def poll(self, timeout: float) -> Record | None:
        with self._bus._arrived:
            self._bus._arrived.wait_for(self._waiting, timeout)
            topic = self._waiting()
            if topic is None:
                return None
            record = self._bus._topics[topic][self._next[topic]]
            self._next[topic] += 1
            return record

    def commit(self, record: Record) -> None:
        with self._bus._arrived:
            place = self._group, record.topic
            self._bus._committed[place] = max(self._bus._committed[place], record.offset + 1)

    def close(self) -> None:
        self._topics = ()

    def _waiting(self) -> str | None:
        return next((t for t in self._topics if self._next[t] < len(self._bus._topics[t])), None)
