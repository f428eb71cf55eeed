"""The loop of a service: what happens to a record when work, bus or store fail, and on a stop."""

from __future__ import annotations

import errno
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support.raising import raises
from tests.support.services import LONG, QUICK, context_on, serving, wait_until

from flts.backends.bus_memory import MemoryBus, MemorySubscription
from flts.contracts.errors import (
    BackendUnavailable,
    DataError,
    FltsError,
    MachineFailed,
    MissingExtra,
    NoChampion,
    UsageError,
)
from flts.contracts.messages import TOPICS, TrainingData
from flts.contracts.ports import BusState, Place, Record, Store
from flts.runner.services import loop, patience
from flts.runner.services.evaluate import Evaluator
from flts.runner.services.host import Conditions, serve, stop_on_signals
from flts.runner.services.letters import letters, topic_of_letters
from flts.runner.services.registry import Staff
from flts.wiring import open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "objects").as_uri())


@dataclass
class Moody:
    """A service that raises given errors in turn."""

    moods: list[Exception | None]
    handled: list[bytes] = field(default_factory=list)
    topic: str = TrainingData.topic
    group: str = "moody"
    concurrency: int = 1

    def handle(self, record: Record) -> None:
        self.handled.append(record.value)
        mood = self.moods.pop(0) if self.moods else None
        if mood is not None:
            raise mood

    def dead_letter(self, record: Record, error: Exception) -> None:
        return None


def test_a_backend_that_comes_back_in_time_costs_no_dead_letter(store: Store) -> None:
    bus = MemoryBus()
    context, service = context_on(store, bus), Moody([BackendUnavailable("away")] * 2)
    with serving(context, [service], Conditions(patience=LONG, grace=5.0)):
        bus.publish("training-data", "k", b"1")
        wait_until(lambda: bus.lag("training-data", "moody") == 0, "the commit")
    assert service.handled == [b"1"] * 3
    assert not letters(bus, "training-data")


def test_work_that_took_longer_than_the_patience_is_retried_when_its_last_write_meets_a_backend_that_is_away(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = iter(range(100))
    monkeypatch.setattr(patience, "monotonic", lambda: 3600.0 * next(hours))
    bus = MemoryBus()
    context, service = context_on(store, bus), Moody([BackendUnavailable("away for a moment")])
    with serving(context, [service]):
        bus.publish("training-data", "k", b"1")
        wait_until(lambda: bus.lag("training-data", "moody") == 0, "the commit")
    assert service.handled == [b"1"] * 2
    assert not letters(bus, "training-data")


@pytest.mark.parametrize(
    "error",
    [
        *(DataError("no"), KeyError("defect"), BackendUnavailable("away for good")),
        *(MissingExtra("this model", "torch"), MemoryError()),
    ],
)
def test_a_record_that_cannot_be_handled_does_not_block_the_partition(store: Store, error: Exception) -> None:
    bus = MemoryBus()
    moods: list[Exception | None] = [error] * (1 if not isinstance(error, BackendUnavailable) else 50)
    context, service = context_on(store, bus), Moody(moods)
    with serving(context, [service]):
        bus.publish("training-data", "k", b"bad")
        wait_until(lambda: len(letters(bus, "training-data")) == 1, "the dead letter")
        service.moods.clear()
        bus.publish("training-data", "k", b"good")
        wait_until(lambda: bus.lag("training-data", "moody") == 0, "both commits")
    assert service.handled[-1] == b"good"
    assert letters(bus, "training-data")[0].error == type(error).__name__


class Leaving(MemoryBus):
    """A bus that fails once at each of three moments: at a poll, a commit and a dead letter."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    def away_once(self, what: str) -> None:
        self.asked[what] += 1
        if self.asked[what] == 1:
            raise BackendUnavailable(f"away: {what}")

    def publish(self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None) -> Place | None:
        if topic == topic_of_letters(TrainingData.topic):
            self.away_once("letter")
        return super().publish(topic, key, value, headers)

    def subscribe(self, topics: Sequence[str], group: str) -> MemorySubscription:
        self.asked["subscribe"] += 1
        return LeavingSubscription(self, topics, group)


class LeavingSubscription(MemorySubscription):
    """A member of a group on a bus that is away."""

    def __init__(self, bus: Leaving, topics: Sequence[str], group: str) -> None:
        super().__init__(bus, topics, group)
        self._leaving = bus

    def poll(self, timeout: float) -> Record | None:
        self._leaving.away_once("poll")
        return super().poll(timeout)

    def commit(self, record: Record) -> None:
        self._leaving.away_once("commit")
        super().commit(record)


def test_a_member_stays_in_its_group_while_the_bus_is_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "AWAY", 0.01)
    bus = Leaving()
    context, service = context_on(store, bus), Moody([DataError("no"), DataError("no"), None])
    with serving(context, [service]):
        bus.publish("training-data", "k", b"bad")
        bus.publish("training-data", "k", b"good")
        wait_until(lambda: bus.lag("training-data", "moody") == 0, "both commits")
    assert service.handled == [b"bad", b"bad", b"good"]
    assert [letter.error for letter in letters(bus, "training-data")] == ["DataError"]
    assert bus.asked["subscribe"] == 1
    assert bus.asked["letter"] == 2
    assert bus.asked["commit"] == 3


def test_a_stop_does_not_wait_for_a_bus_that_is_away(store: Store) -> None:
    class Gone(Leaving):
        def away_once(self, what: str) -> None:
            if what == "commit":
                self.asked[what] += 1
                raise BackendUnavailable("away for good")

    bus = Gone()
    context, service = context_on(store, bus), Moody([])
    with serving(context, [service]):
        bus.publish("training-data", "k", b"1")
        wait_until(lambda: bus.asked["commit"] > 0, "a commit that fails")
    assert bus.lag("training-data", "moody") == 1
    assert service.handled == [b"1"]


def test_a_record_reassigned_while_the_bus_was_away_is_left_to_the_other_member(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "AWAY", 0.01)

    class Taken(Leaving):
        """While a commit fails another member joins and gets the record: it is now the first in line."""

        def away_once(self, what: str) -> None:
            if what == "commit" and not joined:
                joined.append(MemorySubscription(self, [TrainingData.topic], "moody"))
                self._members["moody"].reverse()
                raise BackendUnavailable("away")

    joined = list[MemorySubscription]()
    bus = Taken()
    context, service = context_on(store, bus), Moody([])
    with serving(context, [service]):
        bus.publish("training-data", "k", b"1")
        wait_until(lambda: bool(joined), "the other member")
        again = joined[0].poll(LONG)
        assert again is not None
        assert again.value == b"1"
        assert bus.lag("training-data", "moody") == 1
        joined[0].close()
        wait_until(lambda: bus.lag("training-data", "moody") == 0, "the record to come back")
    assert service.handled == [b"1", b"1"]


def test_a_store_that_is_away_for_longer_than_the_patience_makes_no_dead_letter(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "AWAY", 0.01)

    class Storing(Moody):
        """Its work and its dead letters both need the store."""

        failed = 0

        def handle(self, record: Record) -> None:
            super().handle(record)
            if self.failed < 2:
                raise BackendUnavailable("the store is away")

        def dead_letter(self, record: Record, error: Exception) -> None:
            self.failed += 1
            raise BackendUnavailable("the store is away")

    bus = MemoryBus()
    context, service = context_on(store, bus), Storing([])
    with serving(context, [service], Conditions(patience=0.1, grace=5.0)):
        bus.publish("training-data", "k", b"1")
        wait_until(lambda: bus.lag("training-data", "moody") == 0, "the commit")
    assert service.failed == 2
    assert not letters(bus, "training-data")


def test_concurrent_records_are_committed_in_order(store: Store) -> None:
    bus, free = MemoryBus(), threading.Event()

    class First(Moody):
        """The first record takes until the others are done."""

        def handle(self, record: Record) -> None:
            super().handle(record)
            if record.value == b"0":
                free.wait(LONG)

    context, service = context_on(store, bus), First([], concurrency=3)
    with serving(context, [service]):
        for number in range(5):
            bus.publish("training-data", "k", str(number).encode())
        wait_until(lambda: len(service.handled) == 5, "the others to be done beside it")
        assert bus.lag("training-data", "moody") == 5
        free.set()
        wait_until(lambda: bus.lag("training-data", "moody") == 0, "the commits")
    assert sorted(service.handled) == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (UsageError("wrong credentials", code="access-denied"), UsageError, "access-denied"),
        (MachineFailed("no space left", code="disk-full"), MachineFailed, "disk-full"),
        (OSError(errno.EMFILE, "Too many open files"), MachineFailed, "no-descriptors"),
    ],
)
def test_a_service_that_needs_a_person_ends_and_no_message_is_lost(
    error: Exception, kind: type[FltsError], code: str, store: Store
) -> None:
    bus = MemoryBus()
    context, refused = context_on(store, bus), Moody([error])
    bus.publish("training-data", "k", b"1")
    with raises(kind, code=code):
        serve("tests", context, Staff([refused]), QUICK, threading.Event())
    assert not letters(bus, "training-data")
    working = Moody([])
    with serving(context_on(store, bus), [working]):
        wait_until(lambda: bus.lag("training-data", "moody") == 0, "the commit")
    assert (refused.handled, working.handled) == ([b"1"], [b"1"])


def test_work_cut_off_by_a_stop_is_done_again(store: Store) -> None:
    bus, free = MemoryBus(), threading.Event()

    class Slow(Moody):
        def handle(self, record: Record) -> None:
            super().handle(record)
            free.wait(LONG)

    context, service = context_on(store, bus), Slow([])
    with serving(context, [service], type(QUICK)(patience=2.0, grace=0.1)):
        bus.publish("training-data", "k", b"1")
        wait_until(lambda: service.handled == [b"1"], "the work to begin")
    free.set()
    assert bus.lag("training-data", "moody") == 1
    again = Moody([])
    with serving(context, [again]):
        wait_until(lambda: bus.lag("training-data", "moody") == 0, "the second")
    assert again.handled == [b"1"]


def test_a_signal_delivered_to_another_thread_ends_a_service(store: Store) -> None:
    """The system may deliver a signal to any thread, and the waiting main thread then does not wake."""
    bus, asked = MemoryBus(), signal.SIGTERM
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    late = threading.Timer(LONG, signal.pthread_kill, (threading.main_thread().ident, asked))

    def ask() -> None:
        wait_until(lambda: bool(bus.describe(["moody"]).members["moody"]), "the service to be at work")
        signal.pthread_kill(threading.get_ident(), asked)

    stop = stop_on_signals()
    asker = threading.Thread(target=ask)
    try:
        late.start()
        asker.start()
        serve("tests", context_on(store, bus), Staff([Moody([])]), QUICK, stop)
        assert late.is_alive(), "it ended only when the main thread was told"
    finally:
        late.cancel()
        asker.join()
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_service_creates_all_topics_once_before_anything_else(store: Store) -> None:
    asked: list[str] = []
    topics: list[str] = []
    stop = threading.Event()

    class CountingBus(MemoryBus):
        def ensure(self, topics: Sequence[str]) -> None:
            asked.append("ensure")
            super().ensure(topics)

        def describe(self, groups: Sequence[str] = ()) -> BusState:
            asked.append("describe")
            return super().describe(groups)

    bus = CountingBus()
    context = context_on(store, bus)

    def first() -> None:
        assert asked == ["ensure"]
        topics.extend(bus.describe().topics)
        stop.set()

    serve("tests", context, Staff([Evaluator(context)], first), QUICK, stop)
    assert {*TOPICS, *map(topic_of_letters, TOPICS)} <= set(topics)


@dataclass
class Scoped(Moody):
    """Knows a champion for the healthy scope and, once they are promoted, for the others."""

    promoted: bool = False

    def handle(self, record: Record) -> None:
        if record.value != b"healthy" and not self.promoted:
            raise NoChampion(f"{record.value!r} has no champion yet")
        super().handle(record)


def test_scopes_without_a_champion_hold_up_no_other(store: Store) -> None:
    bus = MemoryBus()
    context, service = context_on(store, bus), Scoped([], concurrency=2)
    with serving(context, [service], Conditions(patience=LONG, grace=5.0)):
        for number in range(40):
            bus.publish("training-data", f"waiting-{number}", b"waiting")
        wait_until(lambda: bus.lag("training-data", "moody") == 40, "the claims")
        began = time.monotonic()
        bus.publish("training-data", "healthy", b"healthy")
        wait_until(lambda: service.handled == [b"healthy"], "the healthy scope")
        assert time.monotonic() - began < LONG / 4
        assert not letters(bus, "training-data")
        service.promoted = True
        wait_until(lambda: bus.lag("training-data", "moody") == 0, "all others")
    assert Counter(service.handled) == {b"healthy": 1, b"waiting": 40}


def test_a_scope_that_gets_no_champion_in_time_is_a_dead_letter_and_those_behind_it_are_committed(
    store: Store,
) -> None:
    bus = MemoryBus()
    context, service = context_on(store, bus), Scoped([])
    with serving(context, [service], Conditions(patience=1.0, grace=5.0)):
        bus.publish("training-data", "k", b"waiting")
        bus.publish("training-data", "k", b"healthy")
        wait_until(lambda: service.handled == [b"healthy"], "the one behind it")
        assert bus.lag("training-data", "moody") == 2, "not committed before the one in front"
        wait_until(lambda: bus.lag("training-data", "moody") == 0, "the commit of both")
    (letter,) = letters(bus, "training-data")
    assert (letter.error, letter.record.value) == ("NoChampion", b"waiting")
    assert letter.attempts > 1


def test_a_stop_does_not_wait_for_a_champion_and_its_claim_comes_again(store: Store) -> None:
    bus = MemoryBus()
    context, service = context_on(store, bus), Scoped([])
    began = time.monotonic()
    with serving(context, [service], Conditions(patience=LONG, grace=LONG)):
        bus.publish("training-data", "k", b"waiting")
        bus.publish("training-data", "k", b"healthy")
        wait_until(lambda: service.handled == [b"healthy"], "the one behind it")
    assert time.monotonic() - began < LONG / 2
    assert not letters(bus, "training-data")
    again = Scoped([], promoted=True)
    with serving(context_on(store, bus), [again]):
        wait_until(lambda: bus.lag("training-data", "moody") == 0, "both again")
    assert again.handled == [b"waiting", b"healthy"]


def test_no_more_records_are_taken_than_may_wait(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "MOST_IN_HAND", 3)
    bus, seen = MemoryBus(), set[bytes]()

    class Looking(Moody):
        def handle(self, record: Record) -> None:
            seen.add(record.value)
            raise NoChampion("not yet")

    context, service = context_on(store, bus), Looking([], concurrency=2)
    with serving(context, [service], Conditions(patience=LONG, grace=1.0)):
        for number in range(9):
            bus.publish("training-data", "k", str(number).encode())
        wait_until(lambda: len(seen) == 3, "three")
        time.sleep(0.5)
    assert len(seen) == 3
