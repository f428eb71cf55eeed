"""One service on a bus: take a record, do its work, commit after the effect; nothing stops the partition.

A Transient error is tried again with back-off, for as long as the settings say; what then remains, and every other
error, goes to the dead-letter topic with its reason. Work runs in a thread of its own, so that the member stays in its
group while a fit takes an hour.
"""

from __future__ import annotations

import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from flts import events
from flts.errors import FltsError, Interrupted, Transient
from flts.failpoints import failpoint
from flts.ports import Bus, Record, Subscription
from flts.worker import trace
from flts.worker.letters import send_to_dead_letters
from flts.worker.meters import Meters

IDLE = 0.25
"""Seconds between two looks at whether to stop."""
LONGEST_PAUSE = 10.0


class Service(Protocol):
    """What is done with the records of one topic."""

    @property
    def topic(self) -> str:
        """What it reads."""

    @property
    def group(self) -> str:
        """Whose place in the topic it has."""

    def handle(self, record: Record) -> None:
        """Return when the effect is stored. It may be asked twice for the same record."""

    def bury(self, record: Record, error: Exception) -> None:
        """Write down what others wait for before the record becomes a dead letter."""


@dataclass
class Loop:
    """A member of a service's group.

    patience: seconds of trying again; grace: seconds that work in hand gets after a stop.
    """

    bus: Bus
    service: Service
    patience: float
    grace: float
    meters: Meters
    stop: threading.Event
    turned: float = field(default_factory=time.monotonic)
    """When the loop was last alive, by the monotonic clock."""

    def run(self) -> None:
        """Until `stop` is set. A broker that is away is waited for."""
        while not self.stop.is_set():
            try:
                subscription = self.bus.subscribe([self.service.topic], self.service.group)
            except Transient as error:
                self._wait_for_backend(error)
                continue
            try:
                self._serve(subscription)
            except Transient as error:
                self._wait_for_backend(error)
            finally:
                with suppress(Transient):  # the broker is away: it will find out by itself
                    subscription.close()

    def _serve(self, subscription: Subscription) -> None:
        while not self.stop.is_set():
            self.turned = time.monotonic()
            record = subscription.poll(IDLE)
            if record is not None:
                self._one(subscription, record)

    def _one(self, subscription: Subscription, record: Record) -> None:
        work = _Work(self.service, record, self.patience, self.stop)
        work.start()
        deadline: float | None = None
        while not work.ended.wait(IDLE):
            self.turned = time.monotonic()
            subscription.stay(record, 0.0)
            if self.stop.is_set():
                deadline = deadline or time.monotonic() + self.grace
                if time.monotonic() > deadline:
                    break
        if not work.ended.is_set() or isinstance(work.error, Interrupted):
            return  # uncommitted: whoever is next begins again
        outcome = "done"
        if work.error is not None:
            outcome = "dead"
            self._bury(record, work.error, work.attempts)
        failpoint("bus.commit.before")
        subscription.commit(record)
        failpoint("bus.commit.after")
        self.meters.handled(record.topic, outcome, time.monotonic() - work.started)

    def _bury(self, record: Record, error: Exception, attempts: int) -> None:
        """Raises Transient when that cannot be stored either; the record then comes again."""
        self.service.bury(record, error)
        send_to_dead_letters(self.bus, record, error, attempts)
        events.dead_letter(
            service=self.service.group,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            error=type(error).__name__,
            reason=str(error),
            attempts=attempts,
            traceback=None if isinstance(error, FltsError) else "".join(traceback.format_exception(error)),
        )

    def _wait_for_backend(self, error: Transient) -> None:
        events.backend_lost(service=self.service.group, reason=str(error))
        self.meters.lost(self.service.topic)
        self.stop.wait(1.0)


class _Work(threading.Thread):
    """One record's work. `error` is None when its effect is stored."""

    def __init__(self, service: Service, record: Record, patience: float, stop: threading.Event) -> None:
        super().__init__(name=f"work-{service.group}", daemon=True)
        self._service, self._record, self._patience, self._stop_asked = service, record, patience, stop
        self.error: Exception | None = None
        self.attempts = 0
        self.ended = threading.Event()
        self.started = time.monotonic()

    def run(self) -> None:
        try:
            with trace.continued(self._record, self._service.group):
                self._try()
        except Exception as error:  # noqa: BLE001 - whatever a record does, the partition goes on
            self.error = error
        finally:
            self.ended.set()

    def _try(self) -> None:
        import stamina

        for attempt in stamina.retry_context(
            on=Transient, attempts=None, timeout=self._patience, wait_initial=0.1, wait_max=LONGEST_PAUSE
        ):
            with attempt:
                self.attempts = attempt.num
                if attempt.num > 1 and self._stop_asked.is_set():
                    raise Interrupted("asked to stop while a backend was away")
                self._service.handle(self._record)
