"""One service on a bus: take a record, do its work, commit after the effect; nothing stops the partition.

A Transient error is tried again with back-off, for as long as the settings say; what then remains, and every other
error, goes to the dead-letter topic with its reason. But where this service itself is set up wrongly, wrong credentials
for instance, no message is to blame: it ends, and the record comes again when a person has acted. Work runs in a thread
of its own, so that the member stays in its group while a fit takes an hour.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from flts.contracts import events
from flts.contracts.errors import FltsError, Interrupted, MissingExtra, StageFailed, Transient, UsageError
from flts.contracts.failpoints import failpoint
from flts.contracts.ports import Bus, Record, Subscription
from flts.runner.services import trace
from flts.runner.services.letters import send_to_dead_letters
from flts.runner.services.metrics import ServiceMetrics

IDLE = 0.25
"""Seconds between two looks at whether to stop."""
MORE = 0.005
"""Seconds between two looks for another record while some are worked on."""
AWAY = 1.0
"""Seconds until a backend that is away is asked again."""
LONGEST_PAUSE = 10.0


class Service(Protocol):
    """What is done with the records of one topic."""

    @property
    def topic(self) -> str:
        """What it reads."""

    @property
    def group(self) -> str:
        """Whose place in the topic it has."""

    @property
    def concurrency(self) -> int:
        """How many records it works on at once."""

    def handle(self, record: Record) -> None:
        """Return when the effect is stored. It may be asked twice for the same record."""

    def dead_letter(self, record: Record, error: Exception) -> None:
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
    meters: ServiceMetrics
    stop: threading.Event
    turned: float = field(default_factory=time.monotonic)
    """When the loop was last alive, by the monotonic clock."""

    def run(self) -> None:
        """Until `stop` is set. A broker that is away is waited for by the same member of the group.

        A new member each time would join and leave just while the broker comes back, and not every group survives that.
        Raises UsageError when this service may not do what it has to; the record in hand is then not committed.
        """
        while not self.stop.is_set():
            try:
                subscription = self.bus.subscribe([self.service.topic], self.service.group)
            except Transient as error:
                self._wait_for_backend(error)
                continue
            try:
                self._serve(subscription)
            except Transient as error:  # the place in a partition is not sure any more: begin behind the last commit
                self._wait_for_backend(error)
            finally:
                with suppress(Transient):  # the broker is away: it will find out by itself
                    subscription.close()

    def _serve(self, subscription: Subscription) -> None:
        hand: deque[_Work] = deque()
        deadline: float | None = None
        while not self.stop.is_set() or hand:
            self.turned = time.monotonic()
            if self.stop.is_set():
                deadline = deadline or self.turned + self.grace
                if self.turned > deadline:
                    return  # what is not done is not committed: whoever is next begins again
            elif not self._fill(hand, subscription):
                continue
            full = len(hand) >= self.service.concurrency or self.stop.is_set()
            if not hand[0].ended.wait(IDLE if full else MORE):
                if full:
                    subscription.stay(hand[0].record, 0.0)
            elif not self._settle(hand, subscription):
                return

    def _fill(self, hand: deque[_Work], subscription: Subscription) -> bool:
        """Take up what has come; False when there is nothing to work on."""
        while len(hand) < self.service.concurrency:
            try:
                record = subscription.poll(0.0 if hand else IDLE)
            except Transient as error:
                self._wait_for_backend(error)
                break
            if record is None:
                break
            hand.append(self._begin(record))
        return bool(hand)

    def _begin(self, record: Record) -> _Work:
        work = _Work(self.service, record, self.patience, self.stop)
        work.start()
        return work

    def _settle(self, hand: deque[_Work], subscription: Subscription) -> bool:
        """Commit what has ended, in the order it came; False when that was abandoned because of a stop."""
        last: dict[tuple[str, int], Record] = {}
        while hand and hand[0].ended.is_set():
            work = hand.popleft()
            if isinstance(work.error, Interrupted):
                return False
            if isinstance(work.error, UsageError) and not isinstance(work.error, MissingExtra):
                raise work.error  # but a missing library stops one model, not the others
            if work.error is not None:
                try:
                    self._bury(work.record, work.error, work.attempts)
                except Transient as error:  # when the backend is back, the work itself may succeed, too
                    self._wait_for_backend(error)
                    if self.stop.is_set():
                        return False
                    hand.appendleft(self._begin(work.record))
                    break
            last[work.record.topic, work.record.partition] = work.record
            outcome = "done" if work.error is None else "dead"
            self.meters.handled(work.record.topic, outcome, time.monotonic() - work.started)
        return all(self._commit(subscription, record) for record in last.values())

    def _commit(self, subscription: Subscription, record: Record) -> bool:
        """However long the broker is away; False when asked to stop meanwhile."""
        failpoint("bus.commit.before")
        while True:
            try:
                subscription.commit(record)
            except Transient as error:
                self._tell(error)
            else:
                failpoint("bus.commit.after")
                return True
            self.turned = time.monotonic()
            if self.stop.is_set():
                return False
            subscription.stay(record, AWAY)

    def _bury(self, record: Record, error: Exception, attempts: int) -> None:
        """Raises Transient when that cannot be stored either; the record is then worked on again.

        A record that cannot even be written down for those who wait stops no partition: the letter says so.
        """
        try:
            self.service.dead_letter(record, error)
        except (Transient, UsageError):
            raise
        except Exception as second:  # noqa: BLE001 - see above
            why = f"{type(error).__name__}: {error}; who waits could not be told: {type(second).__name__}: {second}"
            error = StageFailed(why)
        send_to_dead_letters(self.bus, record, error, attempts, self.service.group)
        events.emit(
            events.DeadLetter(
                service=self.service.group,
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                error=type(error).__name__,
                reason=str(error),
                attempts=attempts,
                traceback=None if isinstance(error, FltsError) else "".join(traceback.format_exception(error)),
            )
        )

    def _wait_for_backend(self, error: Transient) -> None:
        self._tell(error)
        self.stop.wait(AWAY)

    def _tell(self, error: Transient) -> None:
        events.emit(events.BackendLost(service=self.service.group, reason=str(error)))
        self.meters.lost(self.service.topic)


class _Work(threading.Thread):
    """One record's work. `error` is None when its effect is stored."""

    def __init__(self, service: Service, record: Record, patience: float, stop: threading.Event) -> None:
        super().__init__(name=f"work-{service.group}", daemon=True)
        self._service, self.record, self._patience, self._stop_asked = service, record, patience, stop
        self.error: Exception | None = None
        self.attempts = 0
        self.ended = threading.Event()
        self.started = time.monotonic()

    def run(self) -> None:
        try:
            with trace.continued(self.record, self._service.group):
                self._try()
        except Exception as error:  # noqa: BLE001 - whatever a record does, the partition goes on
            self.error = error
        except BaseException as error:  # noqa: BLE001 - a panic of a compiled library is no Exception, and no success
            self.error = StageFailed(f"{type(error).__name__}: {error}")
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
                self._service.handle(self.record)
