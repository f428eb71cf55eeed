"""One service on a bus: take a record, do its work, commit after the effect; no record blocks its partition.

A Transient error is retried with back-off for as long as the settings say. After that, and for every other error, the
record goes to the dead-letter topic with its reason, and so does one that has ended its process several times. A
UsageError, such as wrong credentials, is no fault of the message: the service ends, and the record comes again once a
person has acted. Work runs in a thread of its own, so that the member stays in its group while a fit takes an hour.
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
from flts.contracts.errors import FltsError, Interrupted, MissingExtra, StageFailed, Transient, UsageError, shortened
from flts.contracts.failpoints import failpoint
from flts.contracts.ports import Bus, Record, Subscription
from flts.runner.services import trace
from flts.runner.services.letters import send_to_dead_letters
from flts.runner.services.marks import Marks
from flts.runner.services.metrics import ServiceMetrics

IDLE = 0.25
"""Seconds between two checks for a stop."""
MORE = 0.005
"""Seconds between two polls for another record while some are in hand."""
AWAY = 1.0
"""Seconds before an unavailable backend is asked again."""
LONGEST_PAUSE = 10.0


class Service(Protocol):
    """Handles the records of one topic."""

    @property
    def topic(self) -> str:
        """The topic that it reads."""

    @property
    def group(self) -> str:
        """The consumer group that it joins."""

    @property
    def concurrency(self) -> int:
        """How many records it works on at once."""

    def handle(self, record: Record) -> None:
        """Return when the effect is stored. Must be idempotent: the same record may come twice."""

    def dead_letter(self, record: Record, error: Exception) -> None:
        """Record the failure for those that wait, before the record becomes a dead letter."""


@dataclass
class Loop:
    """A member of a service's group.

    patience: seconds of retries after a Transient error; grace: seconds to finish work in hand after a stop.
    """

    bus: Bus
    service: Service
    patience: float
    grace: float
    metrics: ServiceMetrics
    stop: threading.Event
    marks: Marks
    turned: float = field(default_factory=time.monotonic)
    """When the loop last turned, by the monotonic clock."""

    def run(self) -> None:
        """Run until `stop` is set. While the broker is away, the same member of the group waits for it.

        A new member for each attempt would join and leave while the broker comes back, which not every broker survives.
        Raises UsageError when the service lacks the rights it needs; the record in hand is then not committed.
        """
        while not self.stop.is_set():
            try:
                subscription = self.bus.subscribe([self.service.topic], self.service.group)
            except Transient as error:
                self._wait_for_backend(error)
                continue
            try:
                self._serve(subscription)
            except Transient as error:  # the position is uncertain: resume after the last commit
                self._wait_for_backend(error)
            finally:
                self.marks.left()
                with suppress(Transient):  # the broker is away, and will notice that the member left
                    subscription.close()

    def _serve(self, subscription: Subscription) -> None:
        hand: deque[_Work] = deque()
        deadline: float | None = None
        while not self.stop.is_set() or hand:
            self.turned = time.monotonic()
            if self.stop.is_set():
                deadline = deadline or self.turned + self.grace
                if self.turned > deadline:
                    return  # unfinished work is not committed: the next member starts it again
            elif not self._fill(hand, subscription):
                continue
            full = len(hand) >= self.service.concurrency or self.stop.is_set()
            if not hand[0].ended.wait(IDLE if full else MORE):
                if full and not subscription.stay(hand[0].record, 0.0):
                    self.marks.undone(hand[0].record)
            elif not self._settle(hand, subscription):
                return

    def _fill(self, hand: deque[_Work], subscription: Subscription) -> bool:
        """Start work on new records; False when none is in hand."""
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
        work = _Work(self.service, record, self.patience, self.stop, self.marks)
        work.start()
        return work

    def _settle(self, hand: deque[_Work], subscription: Subscription) -> bool:
        """Commit finished records in order; False when a stop interrupted that."""
        last: dict[tuple[str, int], Record] = {}
        while hand and hand[0].ended.is_set():
            work = hand.popleft()
            if isinstance(work.error, Interrupted):
                return False
            if isinstance(work.error, UsageError) and not isinstance(work.error, MissingExtra):
                raise work.error  # a missing library fails one model only, so it makes a dead letter
            if work.error is not None:
                try:
                    self._dead_letter(work.record, work.error, work.attempts)
                except Transient as error:  # when the backend is back, the work itself may succeed
                    self._wait_for_backend(error)
                    if self.stop.is_set():
                        return False
                    hand.appendleft(self._begin(work.record))
                    break
            last[work.record.topic, work.record.partition] = work.record
            outcome = "done" if work.error is None else "dead"
            self.metrics.handled(work.record.topic, outcome, time.monotonic() - work.started)
        return all(self._commit(subscription, record) for record in last.values())

    def _commit(self, subscription: Subscription, record: Record) -> bool:
        """Commit, however long the broker is away; False when asked to stop meanwhile."""
        failpoint("bus.commit.before")
        while True:
            try:
                subscription.commit(record)
            except Transient as error:
                self._report_lost(error)
            else:
                self.marks.committed(record)
                failpoint("bus.commit.after")
                return True
            self.turned = time.monotonic()
            if self.stop.is_set():
                return False
            subscription.stay(record, AWAY)

    def _dead_letter(self, record: Record, error: Exception, attempts: int) -> None:
        """Make a record a dead letter. Raises Transient when that fails; the record is then handled again.

        A failure that cannot be recorded for those that wait does not block the partition: the letter says so.
        """
        try:
            self.service.dead_letter(record, error)
        except (Transient, UsageError):
            raise
        except Exception as second:  # noqa: BLE001 - see above
            first = f"{type(error).__name__}: {error}"
            error = StageFailed(
                f"{first}; its failure could not be recorded: {type(second).__name__}: {second}",
                code="failure-not-recorded",
            )
        send_to_dead_letters(self.bus, record, error, attempts, self.service.group)
        events.emit(
            events.DeadLetter(
                service=self.service.group,
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                error=type(error).__name__,
                reason=shortened(str(error)),
                attempts=attempts,
                traceback=None if isinstance(error, FltsError) else "".join(traceback.format_exception(error)),
            )
        )

    def _wait_for_backend(self, error: Transient) -> None:
        self._report_lost(error)
        self.stop.wait(AWAY)

    def _report_lost(self, error: Transient) -> None:
        events.emit(events.BackendLost(service=self.service.group, reason=str(error)))
        self.metrics.lost(self.service.topic)


class _Work(threading.Thread):
    """One record's work. `error` is None when its effect is stored."""

    def __init__(self, service: Service, record: Record, patience: float, stop: threading.Event, marks: Marks) -> None:
        super().__init__(name=f"work-{service.group}", daemon=True)
        self._service, self.record, self._patience, self._stop_asked = service, record, patience, stop
        self._marks = marks
        self.error: Exception | None = None
        self.attempts = 0
        self.ended = threading.Event()
        self.started = time.monotonic()

    def run(self) -> None:
        try:
            with trace.continued(self.record, self._service.group):
                self._try()
        except Exception as error:  # noqa: BLE001 - no record may block its partition
            self.error = error
        except BaseException as error:  # noqa: BLE001 - such as a panic in a compiled library
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
                with self._marks.working(self.record):
                    self._service.handle(self.record)
