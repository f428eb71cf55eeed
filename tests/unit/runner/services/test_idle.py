"""A worker that was started for its messages ends by itself, and what is in work counts as waiting until it is done."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from tests.support.services import LONG, context_on, wait_until

from flts.backends.bus_memory import MemoryBus
from flts.backends.store import memory_store
from flts.contracts.messages import TrainingData
from flts.contracts.ports import Record
from flts.runner.services.host import Conditions, serve
from flts.runner.services.registry import Staff

IDLE = 0.6
"""Seconds; a loop turns a few times in it."""


@dataclass
class Gated:
    """A service that works on a record until a test opens its gate."""

    group: str
    gate: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    topic: str = TrainingData.topic
    concurrency: int = 1

    def handle(self, record: Record) -> None:
        self.begun.set()
        assert self.gate.wait(LONG)

    def dead_letter(self, record: Record, error: Exception) -> None:
        return None


def test_it_ends_when_no_member_had_a_message_for_so_long_and_not_while_one_is_in_work() -> None:
    bus, first, second = MemoryBus(), Gated("first"), Gated("second")
    second.gate.set()
    stop, conditions = threading.Event(), Conditions(2.0, 5.0, idle=IDLE)
    bus.publish("training-data", "k", b"1")
    thread = threading.Thread(
        target=serve, args=("tests", context_on(memory_store(), bus), Staff([first, second]), conditions, stop)
    )
    thread.start()
    assert first.begun.wait(LONG)
    thread.join(3 * IDLE)
    assert thread.is_alive()
    wait_until(lambda: bus.lag("training-data", "second") == 0, "the commit of the other group")
    assert bus.lag("training-data", "first") == 1
    first.gate.set()
    thread.join(LONG)
    assert not thread.is_alive()
    assert stop.is_set()
    assert bus.lag("training-data", "first") == 0


def test_without_a_limit_it_waits_for_ever() -> None:
    stop = threading.Event()
    thread = threading.Thread(
        target=serve,
        args=("tests", context_on(memory_store(), MemoryBus()), Staff([Gated("one")]), Conditions(2.0, 5.0), stop),
    )
    thread.start()
    thread.join(3 * IDLE)
    assert thread.is_alive()
    stop.set()
    thread.join(LONG)
    assert not thread.is_alive()
