"""A promotion is followed by itself: at once where a message announces it, else with the next poll."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import pytest
from structlog.testing import capture_logs
from tests.support.promotions import promote, two_bundles
from tests.support.services import wait_until
from tests.support.stored import Watched, chain

from flts.backends.bus_memory import MemoryBus
from flts.contracts.errors import BackendUnavailable
from flts.contracts.messages import ModelSelected
from flts.contracts.records.log import LogEntry
from flts.promotion.relay import selected
from flts.server import following
from flts.server.following import Following, Hints
from flts.server.models import ServedModels

NEVER = 3600.0
"""Seconds between two polls, so that only a hint explains one."""


@contextmanager
def followed(models: ServedModels, seconds: float, bus: MemoryBus | None = None) -> Iterator[None]:
    with closing(Following(models, seconds)) as polls:
        polls.start()
        if bus is None:
            yield
        else:
            with closing(Hints(models, bus)) as hints:
                hints.start()
                yield


def serves(models: ServedModels, number: int, scope: str = "global") -> bool:
    served = models.served.get(scope)
    return served is not None and served.champion.entry.number == number


def announce(bus: MemoryBus, entries: Sequence[LogEntry]) -> None:
    """Send the message about the newest of these entries, as the judge does."""
    message = selected(chain(entries), entries[-1])
    bus.publish(message.topic, message.key, message.to_bytes())


def test_the_logs_are_polled_again_and_again_and_at_once_when_asked() -> None:
    store, first, second = two_bundles()
    promote(first, store=store)
    models = ServedModels(store)
    with followed(models, 0.01):
        wait_until(lambda: serves(models, 1), "the first promotion")
        promote(first, second, store=store)
        wait_until(lambda: serves(models, 2), "the second promotion")
    other = ServedModels(store)
    with followed(other, NEVER):
        wait_until(lambda: serves(other, 2), "the promotion that was there")
        promote(first, second, first, store=store)
        other.hurry()
        wait_until(lambda: serves(other, 3), "the poll that was asked for")


def test_a_message_brings_every_replica_to_poll_at_once() -> None:
    store, first, second = two_bundles()
    bus, replicas = MemoryBus(), [ServedModels(store), ServedModels(store)]
    promote(first, store=store)
    with followed(replicas[0], NEVER, bus), followed(replicas[1], NEVER, bus):
        for models in replicas:
            wait_until(lambda models=models: serves(models, 1), "the promotion that was there")  # type: ignore[misc]
        announce(bus, promote(first, second, store=store))
        for models in replicas:
            wait_until(lambda models=models: serves(models, 2), "the message")  # type: ignore[misc]
        announce(bus, promote(first, store=store, scope="north"))
        for models in replicas:
            wait_until(lambda models=models: serves(models, 1, "north"), "a new scope")  # type: ignore[misc]


def test_old_messages_and_those_that_are_none_cause_no_poll() -> None:
    store, first, second = two_bundles()
    bus = MemoryBus()
    entries = promote(first, second, store=store)
    for number in (1, 2):
        announce(bus, entries[:number])
    bus.publish(ModelSelected.topic, "global", b"no message")
    models = ServedModels(store)
    models.catch_up()
    hints = Hints(models, bus)
    parsed = [ModelSelected.parse(record.value) for record in bus.records(ModelSelected.topic)[:2]]
    assert [hints._is_news(message) for message in parsed] == [False, False]
    with closing(hints):
        hints.start()
        announce(bus, promote(first, second, first, store=store))
        assert models.asked.wait(60.0)
    assert bus.lag(ModelSelected.topic, hints._group) == 4  # nothing is committed


def test_a_bus_that_is_away_is_said_once_and_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "AWAY_SECONDS", 0.001)
    store, first, second = two_bundles()
    promote(first, store=store)
    models, tried = ServedModels(store), threading.Event()

    class Away(MemoryBus):
        tries = 0

        def ensure(self, topics: Sequence[str]) -> None:
            self.tries += 1
            if self.tries <= 5:
                raise BackendUnavailable("no broker", code="no-answer")
            super().ensure(topics)
            tried.set()

    models.catch_up()
    bus = Away()
    with capture_logs() as events, closing(Hints(models, bus)) as hints:
        hints.start()
        assert tried.wait(60.0)
        announce(bus, promote(first, second, store=store))
        assert models.asked.wait(60.0)
    assert [event["event"] for event in events] == ["backend_lost"]


def test_a_poll_that_hangs_does_not_keep_the_process() -> None:
    store, first, _ = two_bundles()
    promote(first, store=store)
    entered, released = threading.Event(), threading.Event()

    class Hangs(Watched):
        def get(self, key: str) -> bytes | None:
            entered.set()
            released.wait()
            return super().get(key)

    polls = Following(ServedModels(Hangs(store)), 0.01)
    polls.start()
    assert entered.wait(60.0)
    polls.close()
    assert polls._thread.is_alive()
    assert polls._thread.daemon
    released.set()
    polls._thread.join(60.0)
