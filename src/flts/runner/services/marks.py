"""Marks of messages in work: a message that ends its process again and again is found out by the next one.

A process that is killed can tell nobody why. It therefore leaves a mark in the store before it begins the work, and
takes it back where it ends in order with the work undone. The marks of a partition take turns in a few objects, so
marks of finished work need not be deleted.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field

from flts.contracts import layout
from flts.contracts.errors import DamagedObject, FltsError, StageFailed
from flts.contracts.ports import Record, Store, point_at
from flts.contracts.records.base import read_record
from flts.contracts.records.work import WorkMark

SLOTS = 16
"""Objects for the marks of a partition: more than any service works on at once."""
_ALONE = threading.Lock()
"""Held while this process works on a message that was in work when a process died. Several may have been, and only the
one that kills its process again, alone among them, is to blame."""

Place = tuple[str, int, int]


@dataclass
class Marks:
    """The marks of one member of a group. most: processes that a message may end."""

    store: Store
    group: str
    most: int
    _begun: dict[Place, tuple[Record, int]] = field(default_factory=dict)
    """Messages in work, and how many processes each had ended before this one began its work."""

    @contextmanager
    def working(self, record: Record) -> Iterator[None]:
        """Mark a message while the block works on it; nothing new where this process has marked it already.

        Raises StageFailed for a message that has ended as many processes as are allowed. Raises Transient.
        """
        place = _place(record)
        ended = self._begun[place][1] if place in self._begun else self._ended(record)
        if ended >= self.most:
            raise StageFailed(
                f"the process that worked on this message ended without a word {ended} times; it may need more memory"
                " than there is, or crash a library",
                code="process-killed",
                times=ended,
            )
        with _ALONE if ended else nullcontext():
            if place not in self._begun:
                self._write(record, ended + 1)
                self._begun[place] = record, ended
            try:
                yield
            finally:
                if ended:  # it did no harm; the next one might, before this one is committed
                    self.undone(record)

    def committed(self, record: Record) -> None:
        """Forget this message and those before it in its partition: they will not come again."""
        topic, partition, last = _place(record)
        for place in list(self._begun):
            if place[:2] == (topic, partition) and place[2] <= last:
                del self._begun[place]

    def undone(self, record: Record) -> None:
        """Take back the mark of a message that another process will begin, while this one lives."""
        begun = self._begun.pop(_place(record), None)
        if begun is not None:
            with suppress(FltsError):  # a mark that stays counts as one process, and it takes several
                self._write(*begun)

    def left(self) -> None:
        """Take back the marks of all work that was not committed: this member leaves its group in order."""
        for record, _ in list(self._begun.values()):
            self.undone(record)

    def _ended(self, record: Record) -> int:
        try:
            mark = read_record(self.store, self._key(record), WorkMark)
        except DamagedObject:  # it is only a count, and the next mark replaces it
            return 0
        same = mark is not None and (mark.offset, mark.sent_ms) == (record.offset, record.timestamp_ms)
        return mark.begun if mark is not None and same else 0

    def _write(self, record: Record, begun: int) -> None:
        mark = WorkMark(offset=record.offset, sent_ms=record.timestamp_ms, begun=begun)
        point_at(self.store, self._key(record), mark.to_bytes(), at="work.mark")

    def _key(self, record: Record) -> str:
        return layout.work_mark(self.group, record.topic, record.partition, record.offset % SLOTS)


def _place(record: Record) -> Place:
    return record.topic, record.partition, record.offset
