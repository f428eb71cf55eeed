"""A message that ends its process again and again becomes a dead letter; a process that ends in order counts not."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.raising import raises
from tests.support.services import LONG, context_on, serving, wait_until
from tests.support.stored import contents

from flts.backends.bus_memory import MemoryBus
from flts.backends.store import memory_store
from flts.contracts.errors import BackendUnavailable, StageFailed, UsageError
from flts.contracts.messages import TrainingData
from flts.contracts.ports import Record, Store
from flts.runner.services import marks
from flts.runner.services.host import Conditions
from flts.runner.services.letters import letters
from flts.runner.services.marks import SLOTS, Marks
from flts.wiring import open_store

TOPIC = TrainingData.topic

POISON = """
import os, sys, threading
from flts.backends import bus_memory
from flts.backends.bus_memory import MemoryBus
from flts.runner.services.host import Conditions, serve
from flts.runner.services.registry import Staff
from tests.support.services import context_on
from flts.wiring import open_store

class Poisoned:
    topic, group, concurrency = "training-data", "poisoned", 4
    def handle(self, record):
        if record.value == b"poison":
            os.abort()
        threading.Event().wait(0.2)
    def dead_letter(self, record, error):
        print("dead", record.value.decode(), error.code, flush=True)

bus_memory.time.time_ns = lambda: 17 * 10**17  # the same messages in every process
bus, stop = MemoryBus(), threading.Event()
bus.publish("training-data", "k", b"before")
bus.publish("training-data", "k", b"poison")
bus.publish("training-data", "k", b"after")
def ended():
    while bus.lag("training-data", "poisoned"):
        stop.wait(0.05)
    stop.set()
threading.Thread(target=ended).start()
serve("poisoned", context_on(open_store(sys.argv[1]), bus), Staff([Poisoned()]), Conditions(patience=2.0), stop)
"""


def record(offset: int = 0, sent: int = 1) -> Record:
    return Record(TOPIC, 0, offset, "k", b"v", {}, sent)


def killed(store: Store, message: Record, times: int = 1) -> None:
    """Leave the mark of processes that ended without a word."""
    Marks(store, "g", 9)._write(message, times)


@pytest.mark.slow
def test_a_message_that_aborts_its_process_is_given_up_after_two_and_no_other_is(tmp_path: Path) -> None:
    store = (tmp_path / "objects").as_uri()

    def serve() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", POISON, store]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=LONG)

    for _ in range(2):
        assert serve().returncode < 0
    last = serve()
    assert last.returncode == 0, last.stderr
    assert last.stdout == "dead poison process-killed\n"


def test_a_message_may_end_as_many_processes_as_are_allowed() -> None:
    store = memory_store()
    killed(store, record(), 2)
    with Marks(store, "g", 3).working(record()):
        assert b'"begun":3' in next(iter(contents(store).values()))
    killed(store, record(), 3)
    with raises(StageFailed, code="process-killed", times=3), Marks(store, "g", 3).working(record()):
        raise AssertionError("work was begun")


def test_only_the_same_message_of_the_same_group_counts() -> None:
    store = memory_store()
    killed(store, record(), 2)
    for group, message in (("g", record(sent=2)), ("g", record(offset=1)), ("other", record())):
        with Marks(store, group, 1).working(message):
            pass


def test_a_retry_in_the_same_process_counts_once() -> None:
    store = memory_store()
    own = Marks(store, "g", 2)
    for _ in range(5):
        with suppress(BackendUnavailable), own.working(record()):
            raise BackendUnavailable("away")
    with Marks(store, "g", 2).working(record()):
        pass


def test_work_that_was_left_undone_in_order_does_not_count() -> None:
    store = memory_store()
    for _ in range(5):
        own = Marks(store, "g", 1)
        with own.working(record()):
            pass
        own.left()


def test_a_committed_message_is_forgotten_and_takes_no_place() -> None:
    store = memory_store()
    own = Marks(store, "g", 1)
    for offset in range(100):
        with own.working(record(offset)):
            pass
        own.committed(record(offset))
    assert len(contents(store)) == SLOTS
    before = contents(store)
    own.left()
    assert contents(store) == before


def test_a_mark_that_cannot_be_read_counts_as_none() -> None:
    store = memory_store()
    killed(store, record(), 2)
    (key,) = store.list("")
    store.replace(key, b"[" * 100_000)
    with Marks(store, "g", 1).working(record()):
        pass


def test_messages_that_were_in_work_when_a_process_died_are_worked_on_one_at_a_time() -> None:
    store = memory_store()
    killed(store, record(0))
    killed(store, record(1))
    own, began = Marks(store, "g", 2), threading.Event()
    with own.working(record(0)):

        def other() -> None:
            with own.working(record(1)):
                began.set()

        thread = threading.Thread(target=other)
        thread.start()
        assert not began.wait(0.2)
        key = own._key(record(1))
        assert b'"begun":1' in (store.get(key) or b"")
    assert began.wait(LONG)
    thread.join()
    assert not marks._ALONE.locked()


class Busy:
    """A service whose work ends when it is told to."""

    topic, group, concurrency = TOPIC, "busy", 1

    def __init__(self, error: Exception | None = None) -> None:
        self.begun, self.end, self.error = threading.Event(), threading.Event(), error

    def handle(self, record: Record) -> None:
        self.begun.set()
        self.end.wait(LONG)
        if self.error is not None:
            raise self.error

    def dead_letter(self, record: Record, error: Exception) -> None:
        return None


def test_a_stop_during_work_and_a_service_without_rights_do_not_count(tmp_path: Path) -> None:
    store = open_store((tmp_path / "objects").as_uri())
    bus = MemoryBus()
    bus.publish(TOPIC, "k", b"v")
    for _ in range(3):
        busy = Busy()
        with serving(context_on(store, bus), [busy], Conditions(patience=2.0, grace=0.0)):
            assert busy.begun.wait(LONG)
        busy.end.set()
    for _ in range(3):
        refused = Busy(UsageError("no rights"))
        refused.end.set()
        with (
            pytest.raises(UsageError, match="no rights"),
            serving(context_on(store, bus), [refused], Conditions(patience=2.0, grace=5.0)) as stop,
        ):
            assert stop.wait(LONG)
    able = Busy()
    able.end.set()
    with serving(context_on(store, bus), [able]):
        wait_until(lambda: bus.lag(TOPIC, "busy") == 0, "the commit")
    assert not letters(bus, TOPIC)
