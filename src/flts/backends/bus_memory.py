"""A Bus in memory: for runs in one process, and as the test double of every Bus."""

from __future__ import annotations

import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

from flts.contracts.ports import BusState, Place, Record

Partition = tuple[str, int]
"""Topic and number of the partition."""


class MemoryBus:
    """A Bus inside one process. Records live as long as it does.

    lasting: whether it stands for a broker, which still has a message where `publish` said that it lies.
    """

    url = "memory://"

    def __init__(self, partitions: int = 1, *, lasting: bool = True) -> None:
        self._partitions, self._lasting = partitions, lasting
        self._topics: dict[str, list[list[Record]]] = {}
        self._committed: dict[tuple[str, Partition], int] = defaultdict(int)
        self._members: dict[str, list[MemorySubscription]] = defaultdict(list)
        self._changed = threading.Condition()

    def ensure(self, topics: Sequence[str]) -> None:
        with self._changed:
            for topic in topics:
                self._topics.setdefault(topic, [[] for _ in range(self._partitions)])

    def publish(self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None) -> Place | None:
        self.ensure([topic])
        with self._changed:
            partition = zlib.crc32(key.encode(errors="surrogateescape")) % self._partitions
            records, now = self._topics[topic][partition], time.time_ns() // 1_000_000
            place = Place(topic, partition, len(records))
            records.append(Record(topic, partition, place.offset, key, value, dict(headers or {}), now))
            self._changed.notify_all()
        return place if self._lasting else None

    def subscribe(self, topics: Sequence[str], group: str) -> MemorySubscription:
        self.ensure(topics)
        return MemorySubscription(self, topics, group)

    def records(self, topic: str, newest: int | None = None) -> Sequence[Record]:
        with self._changed:
            partitions = self._topics.get(topic, [])
            return [record for records in partitions for record in records[-(newest or len(records)) :]]

    def lag(self, topic: str, group: str) -> int:
        with self._changed:
            partitions = enumerate(self._topics.get(topic, []))
            return sum(len(records) - self._committed[group, (topic, number)] for number, records in partitions)

    def describe(self, groups: Sequence[str] = ()) -> BusState:
        with self._changed:
            members = {group: [member.name for member in self._members[group]] for group in groups}
            return BusState((), {topic: len(partitions) for topic, partitions in self._topics.items()}, members)

    def close(self) -> None:
        """There is no connection to close."""


class MemorySubscription:
    """One member of a group; partitions are dealt to the members in the order in which they joined."""

    def __init__(self, bus: MemoryBus, topics: Sequence[str], group: str) -> None:
        self.topics, self._bus, self._group = tuple(topics), bus, group
        self._next: dict[Partition, int] = {}
        with bus._changed:
            bus._members[group].append(self)
            self.name = f"{group}-{len(bus._members[group])}"
            bus._changed.notify_all()

    def poll(self, timeout: float) -> Record | None:
        with self._bus._changed:
            self._bus._changed.wait_for(self._waiting, timeout)
            partition = self._waiting()
            if partition is None:
                return None
            topic, number = partition
            self._next[partition] += 1
            return self._bus._topics[topic][number][self._next[partition] - 1]

    def stay(self, record: Record, timeout: float) -> bool:
        with self._bus._changed:
            self._bus._changed.wait_for(lambda: not self._holds(record), timeout)
            return self._holds(record)

    def commit(self, record: Record) -> None:
        with self._bus._changed:
            if self._holds(record):
                partition = self._group, (record.topic, record.partition)
                self._bus._committed[partition] = max(self._bus._committed[partition], record.offset + 1)

    def close(self) -> None:
        with self._bus._changed:
            members = self._bus._members[self._group]
            if self in members:
                members.remove(self)
            self._bus._changed.notify_all()

    def _waiting(self) -> Partition | None:
        """A partition of this member with a record that it has not delivered yet."""
        self._settle()
        return next((p for p in self._next if self._next[p] < len(self._bus._topics[p[0]][p[1]])), None)

    def _holds(self, record: Record) -> bool:
        """Whether this member delivered the record and still owns its partition."""
        self._settle()
        return self._next.get((record.topic, record.partition), 0) > record.offset

    def _settle(self) -> None:
        """Drop the partitions that other members own now; read new ones from the last commit of the group on."""
        mine: dict[Partition, int] = {}
        for topic in self.topics:
            members = [member for member in self._bus._members[self._group] if topic in member.topics]
            for number in range(len(self._bus._topics[topic])):
                if members and members[number % len(members)] is self:
                    partition = topic, number
                    mine[partition] = self._next.get(partition, self._bus._committed[self._group, partition])
        self._next = mine
