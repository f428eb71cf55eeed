"""The threads that follow the promotion logs: a poll every few seconds is the truth, a message on the bus a hint.

Neither is on the way of a request. A hint that is lost costs a few seconds, and one that comes twice one cheap poll.
"""

from __future__ import annotations

import random
import threading
import uuid
from contextlib import suppress

from flts.contracts import events
from flts.contracts.errors import DataError, FltsError
from flts.contracts.messages import ModelSelected
from flts.contracts.ports import Bus, Subscription
from flts.server.models import ServedModels

JITTER = 0.2
"""Share by which the time between two polls varies, so that replicas do not ask at once."""
_CHANCE = random.SystemRandom()  # of its own: those of a program that uses FLTS may be seeded
LEAST_SECONDS = 0.1
"""Between two polls, however many hints come."""
WAIT_SECONDS = 0.5
"""The longest wait for a message before the thread sees that it should end."""
AWAY_SECONDS = 30.0
"""Before a bus that failed is asked again."""


class Following:
    """Polls the logs in a thread of its own until it is closed."""

    def __init__(self, models: ServedModels, seconds: float) -> None:
        self._models, self._seconds = models, seconds
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follow", daemon=True)

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def close(self) -> None:
        """End the thread; one that waits for a store ends with the process."""
        self._closed.set()
        self._models.asked.set()
        if self._thread.is_alive():
            self._thread.join(WAIT_SECONDS)

    def _follow(self) -> None:
        while not self._closed.is_set():
            self._models.asked.clear()
            self._models.poll()
            self._closed.wait(LEAST_SECONDS)
            self._models.asked.wait(self._seconds * _CHANCE.uniform(1.0 - JITTER, 1.0 + JITTER))


class Hints:
    """Hears of promotions on a bus, and asks for a poll at once.

    Each process has a group of its own and commits nothing, so that every replica gets every message; a new group
    starts at the oldest one, and what it says of promotions that are served already is passed over.
    """

    def __init__(self, models: ServedModels, bus: Bus) -> None:
        self._models, self._bus = models, bus
        self._group = f"serve-{uuid.uuid4().hex}"
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="hints", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """Leave the group; a thread that waits for brokers ends with the process."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(2 * WAIT_SECONDS)

    def _listen(self) -> None:
        said: str | None = None
        while not self._closed.is_set():
            try:
                self._bus.ensure([ModelSelected.topic])
                subscription = self._bus.subscribe([ModelSelected.topic], self._group)
                try:
                    said = None
                    self._hear(subscription)
                finally:
                    with suppress(FltsError):
                        subscription.close()
            except FltsError as error:  # no error of a bus ends the service: the polls go on
                if error.code != said:
                    said = error.code
                    events.emit(events.BackendLost(service="serve", reason=str(error)))
                self._closed.wait(AWAY_SECONDS)

    def _hear(self, subscription: Subscription) -> None:
        while not self._closed.is_set():
            record = subscription.poll(WAIT_SECONDS)
            if record is None:
                continue
            try:
                message = ModelSelected.parse(record.value)
            except DataError:
                continue  # a message that says nothing is no hint
            if self._is_news(message):
                self._models.hurry()

    def _is_news(self, message: ModelSelected) -> bool:
        served = self._models.served.get(message.scope)
        if served is None or message.replaces is not None:
            return True
        number = served.champion.entry.number
        return message.promotion > number or (
            message.promotion == number and message.entry_sha256 not in {None, served.entry_sha256}
        )
