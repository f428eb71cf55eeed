"""One service on a bus: take a record, do its work, commit after the effect; no record blocks its partition.

A Transient error is retried with back-off for as long as the settings say. After that, and for every other error, the
record goes to the dead-letter topic with its reason, and so does one that has ended its process several times. What a
person has to mend, such as wrong credentials or a full disk, is no fault of the message: the service ends, and the
record comes again once somebody has acted. Work runs in a thread of its own, so that the member stays in its group
while a fit takes an hour.

A record whose scope has no champion yet waits without a worker, so that no scope holds up another. Partitions are
committed in order: what was handled behind a waiting record is handled again after a crash.
"""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from flts.contracts import events
from flts.contracts.errors import (
    NEEDS_A_PERSON,
    FltsError,
    Interrupted,
    MissingExtra,
    NoChampion,
    StageFailed,
    Transient,
    of_newer,
    shortened,
)
from flts.contracts.failpoints import failpoint
from flts.contracts.machine import machine_fault
from flts.contracts.ports import Bus, Record, Subscription
from flts.runner.services import trace
from flts.runner.services.letters import send_to_dead_letters
from flts.runner.services.marks import Marks
from flts.runner.services.metrics import ServiceMetrics
from flts.runner.services.patience import Patience

IDLE = 0.25
"""Seconds between two checks for a stop."""
MORE = 0.005
"""Seconds between two polls for another record while some are in hand."""
AWAY = 1.0
"""Seconds before an unavailable backend is asked again."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds before the second and before any later attempt, at most."""
MOST_IN_HAND, MOST_BYTES = 1000, 64 * 2**20
"""Records that wait for their scope, and their bytes, beyond which no other record is taken."""


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
    worked: float = field(default_factory=time.monotonic)
    """When it last had a record in hand, by the same clock."""
    _moved: threading.Event = field(default_factory=threading.Event)
    """Set when work has ended or begins to wait."""

    def run(self) -> None:
        """Run until `stop` is set. While the broker is away, the same member of the group waits for it.

        A new member for each attempt would join and leave while the broker comes back, which not every broker survives.
        Raises UsageError or MachineFailed for what a person has to mend; the record in hand is then not committed.
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
        hand: deque[_Work] = deque()  # every record that is not committed, in the order in which they came
        deadline: float | None = None
        while not self.stop.is_set() or any(work.busy for work in hand):
            self.turned = time.monotonic()
            if self.stop.is_set():
                deadline = deadline or self.turned + self.grace
                if self.turned > deadline:
                    return  # unfinished work is not committed: the next member starts it again
            else:
                self._fill(hand, subscription)
                self._resume(hand)
            if not hand:
                continue
            self.worked = self.turned
            full = self.stop.is_set() or not self._room(hand)
            if not self._moved.wait(IDLE if full else MORE):
                if full and not subscription.stay(hand[0].record, 0.0):
                    self.marks.undone(hand[0].record)
                continue
            self._moved.clear()
            if not self._settle(hand, subscription):
                return

    def _room(self, hand: Sequence[_Work]) -> bool:
        """Whether another record may be taken. What waits for its scope occupies no worker, only memory."""
        return (
            sum(work.busy for work in hand) < self.service.concurrency
            and len(hand) < MOST_IN_HAND
            and sum(len(work.record.value) for work in hand) < MOST_BYTES
        )

    def _fill(self, hand: deque[_Work], subscription: Subscription) -> None:
        """Start work on new records; wait for one where there is nothing else to do."""
        while self._room(hand):
            now = time.monotonic()
            idle = 0.0 if any(work.busy or work.due <= now for work in hand) else IDLE
            try:
                record = subscription.poll(idle)
            except Transient as error:
                self._wait_for_backend(error)
                return
            if record is None:
                return
            hand.append(_Work(self.service, record, self.patience, self.stop, self._moved, self.marks))
            hand[-1].begin()

    def _resume(self, hand: Sequence[_Work]) -> None:
        """Go on with what waited long enough, as far as workers are free: new records come first."""
        now = time.monotonic()
        free = self.service.concurrency - sum(work.busy for work in hand)
        waiting = sorted((work for work in hand if work.waits and work.due <= now), key=lambda work: work.due)
        for work in waiting[: max(0, free)]:
            work.begin()

    def _settle(self, hand: deque[_Work], subscription: Subscription) -> bool:
        """Settle what has ended, and commit each partition up to its first open record; False on a stop."""
        for work in hand:
            if work.settled or not work.ended:
                continue
            if isinstance(work.error, Interrupted):
                return False
            if isinstance(work.error, NEEDS_A_PERSON) and not isinstance(work.error, MissingExtra):
                raise work.error  # a missing library fails one model only, so it makes a dead letter
            if work.error is not None:
                try:
                    self._dead_letter(work.record, work.error, work.attempts)
                except Transient as error:  # when the backend is back, the work itself may succeed
                    self._wait_for_backend(error)
                    if self.stop.is_set():
                        return False
                    work.start_over()
                    break
            work.settled = True
            outcome = "done" if work.error is None else "dead"
            self.metrics.handled(work.record.topic, self.service.group, outcome, time.monotonic() - work.started)
        last: dict[tuple[str, int], Record] = {}
        open_in: set[tuple[str, int]] = set()
        for work in [hand.popleft() for _ in range(len(hand))]:
            partition = work.record.topic, work.record.partition
            if work.settled and partition not in open_in:
                last[partition] = work.record
            else:
                open_in.add(partition)
                hand.append(work)
                if work.settled:  # it did no harm, and may be committed long after
                    self.marks.undone(work.record)
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
        except (Transient, *NEEDS_A_PERSON):
            raise
        except Exception as second:  # both errors go into the letter: a second one must not block the partition
            fault = machine_fault(second)
            if fault is not None:
                raise fault from second
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


class _Work:
    """One record's work, in a thread of its own for each attempt. `error` is None when its effect is stored.

    moved: is set when the work ends, or begins to wait for its scope.
    """

    def __init__(
        self,
        service: Service,
        record: Record,
        patience: float,
        stop: threading.Event,
        moved: threading.Event,
        marks: Marks,
    ) -> None:
        self._service, self.record, self._patience, self._stop_asked = service, record, Patience(patience), stop
        self._moved, self._marks = moved, marks
        self.busy = self.waits = self.ended = self.settled = False
        self.due = math.inf
        """When to go on, by the monotonic clock, for one that waits."""
        self._reset()

    def _reset(self) -> None:
        self.error: Exception | None = None
        self.attempts, self._pause = 0, FIRST_PAUSE
        self.started = time.monotonic()
        self._patience.renew()

    def begin(self) -> None:
        """Work, or go on after a wait."""
        self.busy, self.waits, self.ended, self.due = True, False, False, math.inf
        threading.Thread(target=self._run, name=f"work-{self._service.group}", daemon=True).start()

    def start_over(self) -> None:
        """Work as if the record had just come."""
        self._reset()
        self.begin()

    def _run(self) -> None:
        error: Exception | None = None
        try:
            with trace.continued(self.record, self._service.group):
                self._try()
        except NoChampion as missing:
            if self._patience.left <= self._pause:
                error = missing
            elif self._stop_asked.is_set():
                error = Interrupted("asked to stop while a scope had no champion")
            else:
                self._wait(missing)
                return
        except MemoryError as large:  # this record is too large for this process: it would end every other one, too
            error = large
        except Exception as raised:  # noqa: BLE001 - no record may block its partition
            error = machine_fault(raised) or raised
        except BaseException as raised:  # noqa: BLE001 - such as a panic in a compiled library
            error = StageFailed(f"{type(raised).__name__}: {raised}")
        self.error, self.ended, self.busy = error, True, False
        self._moved.set()

    def _wait(self, missing: NoChampion) -> None:
        """Leave the worker to other records for a while, twice as long each time."""
        self._marks.undone(self.record)
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        self._patience.pause(pause)
        events.emit(
            events.RetryScheduled(service=self._service.group, attempt=self.attempts, wait_s=pause, reason=str(missing))
        )
        self.due, self.waits, self.busy = time.monotonic() + pause, True, False
        self._moved.set()

    def _try(self) -> None:
        import stamina

        pause = 0.0
        for attempt in stamina.retry_context(
            on=self._waits_for, attempts=None, timeout=None, wait_initial=FIRST_PAUSE, wait_max=LONGEST_PAUSE
        ):
            with attempt:
                self.attempts += 1
                self._patience.pause(pause)
                pause = attempt.next_wait
                if attempt.num > 1 and self._stop_asked.is_set():
                    raise Interrupted("asked to stop while a backend was away")
                with self._patience.attempt(), self._marks.working(self.record):
                    self._service.handle(self.record)

    def _waits_for(self, error: Exception) -> bool:
        """Whether to try again at once: every record would meet this error, so the worker keeps its record.

        It also keeps one that needs a newer flts: in an update it is soon asked to stop, and a newer member goes on.
        """
        waits = isinstance(error, Transient) and not isinstance(error, NoChampion)
        return (waits or of_newer(error)) and self._patience.left > 0
