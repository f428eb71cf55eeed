"""Turns at the model: requests wait in a bounded queue, and what waits when the model is free is computed together.

There is no timer. A model that answers at once computes on the event loop, after everything that has arrived was read;
one that takes longer computes in a thread, and more requests gather meanwhile. A request that cannot be answered in
time is refused at once, and one that nobody waits for any more is not computed.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from starlette.requests import ClientDisconnect

from flts.forecasting.bundle import Bundle
from flts.web.problem import Problem

BATCH = 64
"""Most windows of several requests that are computed together; a request that needs more is computed alone."""
BATCH_SECONDS = 0.05
"""Longest time that a batch of several requests is expected to take: the first one waits for the last."""
LOOP_SECONDS = 0.005
"""A batch that is expected to take longer leaves the event loop."""
LOOP_BATCH = 16
"""A model that computes so many windows in that time stays on the loop: its batches are cut, not moved to a thread."""
LOOP_WINDOWS = 256
"""So does one of more windows."""
WORTH = 0.5
"""Share of its time that a request may be expected to wait: the rest is for what the estimate does not know."""
A_FEW = 16
"""Answers that are handed out at a time while requests are refused."""
RECENT = 0.02
"""Seconds for which a client is taken to be still there."""
KNOWN = 256
"""Bundles whose pace is remembered."""
NEWEST = 0.2
"""Weight of the newest measurement of a pace."""
MEASURED = 16
"""One of so many batches is measured again: asking for the CPU of a thread takes as long as a tenth of a forecast."""

FULL = "queue-full"
"""Code of the refusal of a request that would wait too long, or that there is no room for."""

Q = TypeVar("Q")
"""What is asked of a model."""
A = TypeVar("A")
"""What it answers."""
Compute = Callable[[Bundle, Sequence[Q]], "Sequence[A | Exception]"]
"""The answer to each question, or what it has to raise. Called in any thread; what it raises is the fault of one."""
Gone = Callable[[], bool]
"""Whether the client of a request has left."""


@dataclass(frozen=True)
class TurnsState:
    """How much waits now. depth: requests that wait; limit: most that may; in_flight: those that are computed."""

    depth: int
    limit: int
    in_flight: int


@dataclass(eq=False, slots=True)
class _Lane(Generic[Q]):
    """What waits for one bundle.

    windows: that wait; called: whether its next turn comes by itself; away: how many windows a thread computes.
    """

    bundle: Bundle
    waiting: deque[_Waiting[Q]] = field(default_factory=deque)
    windows: int = 0
    called: bool = False
    away: int = 0


@dataclass(eq=False, slots=True)
class _Waiting(Generic[Q]):
    """A request in the queue.

    tell: gets its answer, or what it has to raise; until: its deadline, and since: when it came, both by the monotonic
    clock; windows: how many are forecast for it; queued: whether it waits; over: whether it wants to hear no more.
    """

    lane: _Lane[Q]
    question: Q
    tell: Callable[[Any], None]
    until: float
    gone: Gone | None
    windows: int
    since: float
    queued: bool = True
    over: bool = False
    alarm: asyncio.TimerHandle | None = None

    def end(self, found: object) -> None:
        """Tell it, unless it wants to hear no more."""
        if self.over:
            return
        self.over = True
        if self.alarm is not None:
            self.alarm.cancel()
        self.tell(found)


class Turns(Generic[Q, A]):
    """All requests that wait for a model or are computed. Lives on one event loop."""

    def __init__(
        self,
        limit: int,
        compute: Compute[Q, A],
        waited: Callable[[float], None] = lambda seconds: None,
        clock: Callable[[], float] = time.thread_time,
    ) -> None:
        """limit: most requests that wait; compute: answers a batch of questions to one bundle.

        waited: is told how long each request did, in seconds; clock: CPU of a thread.
        """
        self.waited = waited
        self._limit, self._compute, self._clock = limit, compute, clock
        self._lanes: dict[str, _Lane[Q]] = {}
        self._pace: dict[str, float] = {}
        """Seconds of CPU for a window of a bundle, the one that was measured last at the end."""
        self._turnaround: dict[str, float] = {}
        """Seconds until a window was computed in a thread: other programs and the event loop have their share."""
        self._depth = self._in_flight = self._computed = 0
        self._threads = ThreadPoolExecutor(max(2, os.cpu_count() or 1), "model")
        self._away: set[asyncio.Task[None]] = set()

    def state(self) -> TurnsState:
        """How much waits now."""
        return TurnsState(self._depth, self._limit, self._in_flight)

    @property
    def full(self) -> bool:
        """Whether no more requests may wait."""
        return self._depth >= self._limit

    def refusal(self) -> Problem:
        """What a request is told while the queue is full: Problem 429."""
        return _busy(f"{self._limit} requests wait, and no more may", 1.0)

    def check_room(self) -> None:
        """Refuse a request where the queue is full, best before it is read. Raises Problem 429."""
        if self.full:
            raise self.refusal()

    async def take(
        self, bundle: Bundle, question: Q, windows: int, until: float = math.inf, gone: Gone | None = None
    ) -> A:
        """The answer to a question, when its turn has come. Raises what `put` raises, and tells, for it."""
        done: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        waiting = self.put(bundle, question, windows, partial(_settle, done), until, gone)
        try:
            return await done
        finally:
            self._withdraw(waiting)  # its task may have been cancelled

    def put(
        self,
        bundle: Bundle,
        question: Q,
        windows: int,
        tell: Callable[[A | Exception], None],
        until: float = math.inf,
        gone: Gone | None = None,
    ) -> _Waiting[Q]:
        """Let a question wait for its turn. windows: how many the bundle forecasts for it.

        tell: gets the answer, or what `compute` raises for it; Problem 504 after the deadline; ClientDisconnect where
        nobody waits for it any more. Called on the event loop, and never from here. Raises Problem 429 where too many
        wait.
        """
        self.check_room()
        lane = self._lanes.get(bundle.sha256)
        if lane is None:
            lane = self._lanes[bundle.sha256] = _Lane(bundle)
        now = time.monotonic()
        pace = max(self._pace.get(bundle.sha256, 0.0), self._turnaround.get(bundle.sha256, 0.0))
        expected = (lane.away + lane.windows + windows) * pace
        if lane.waiting and expected > WORTH * (until - now):
            raise _busy(f"the requests before this one take about {expected:.1f} s", expected)
        waiting = _Waiting(lane, question, tell, until, gone, windows, now)
        lane.waiting.append(waiting)
        lane.windows += windows
        self._depth += 1
        if lane.away:
            self._set_alarm(waiting)
        else:
            self._call(lane)
        return waiting

    def close(self) -> None:
        """End the threads, without waiting for what they compute."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _call(self, lane: _Lane[Q]) -> None:
        """Let the next turn of a lane come, after everything that has arrived by now was read."""
        if not lane.called:
            lane.called = True
            asyncio.get_running_loop().call_soon(self._turn, lane)

    def _turn(self, lane: _Lane[Q]) -> None:
        """Compute the next batch of a lane, here or in a thread."""
        lane.called, crowded = False, self.full
        pace, now = self._pace.get(lane.bundle.sha256), time.monotonic()
        batch = self._next_batch(lane, pace or 0.0, now)
        if not batch:
            self._go_on(lane)
            return
        self._in_flight += len(batch)
        for waiting in batch:
            self.waited(now - waiting.since)
        windows = _windows(batch)
        if pace is None or windows > LOOP_WINDOWS or windows * pace > LOOP_SECONDS:
            lane.away = windows
            for waiting in (*batch, *lane.waiting):
                self._set_alarm(waiting)
            task = asyncio.get_running_loop().create_task(self._elsewhere(lane, batch))
            self._away.add(task)
            task.add_done_callback(self._away.discard)
            return
        self._turnaround.pop(lane.bundle.sha256, None)  # that of a time when it was slower
        self._computed += 1
        seconds = None
        if self._computed % MEASURED:
            made = self._answers(lane.bundle, [waiting.question for waiting in batch])
        else:
            made, seconds = self._measured(lane.bundle, batch)
        self._hand_out(lane, batch, made, seconds, crowded=crowded)

    async def _elsewhere(self, lane: _Lane[Q], batch: Sequence[_Waiting[Q]]) -> None:
        """Compute a batch in a thread."""
        loop, started = asyncio.get_running_loop(), time.monotonic()
        try:
            made, seconds = await loop.run_in_executor(self._threads, self._measured, lane.bundle, batch)
        except Exception as error:  # noqa: BLE001 - no thread is left: those who wait must hear of it
            made, seconds = [error] * len(batch), None
        if lane.bundle.sha256 in self._pace:  # a first batch also makes a library ready
            _learn(self._turnaround, lane.bundle.sha256, (time.monotonic() - started) / lane.away)
        lane.away = 0
        self._hand_out(lane, batch, made, seconds)

    def _measured(self, bundle: Bundle, batch: Sequence[_Waiting[Q]]) -> tuple[Sequence[A | Exception], float]:
        """The forecasts of a batch, or why there is none, and the seconds of CPU that they took."""
        started = self._clock()
        made = self._answers(bundle, [waiting.question for waiting in batch])
        return made, self._clock() - started

    def _answers(self, bundle: Bundle, questions: Sequence[Q]) -> Sequence[A | Exception]:
        """The answer to each question; one that cannot be answered takes no other with it."""
        try:
            return self._compute(bundle, questions)
        except BaseException as error:  # noqa: BLE001 - each library has its own; the request that caused it raises it
            if len(questions) == 1:
                return [_raisable(error)]
            return [made for question in questions for made in self._answers(bundle, [question])]

    def _next_batch(self, lane: _Lane[Q], pace: float, now: float) -> list[_Waiting[Q]]:
        """Take the requests of the next turn out of the queue; those that are not worth computing end here."""
        most = _most(pace)
        batch: list[_Waiting[Q]] = []
        windows = 0
        while lane.waiting and (not batch or windows + lane.waiting[0].windows <= most):
            waiting = lane.waiting.popleft()
            self._leave(waiting)
            if waiting.over:
                continue
            if now >= waiting.until:
                waiting.end(_late())
            elif waiting.gone is not None and now - waiting.since > RECENT and waiting.gone():
                waiting.end(ClientDisconnect())
            else:
                batch.append(waiting)
                windows += waiting.windows
        return batch

    def _leave(self, waiting: _Waiting[Q]) -> None:
        """A request waits no more."""
        waiting.queued = False
        waiting.lane.windows -= waiting.windows
        self._depth -= 1

    def _withdraw(self, waiting: _Waiting[Q]) -> None:
        """A request wants to hear no more, wherever it is."""
        waiting.over = True
        if waiting.alarm is not None:
            waiting.alarm.cancel()
        if waiting.queued:
            waiting.lane.waiting.remove(waiting)
            self._leave(waiting)

    def _set_alarm(self, waiting: _Waiting[Q]) -> None:
        """Answer a request at its deadline, whatever the thread does that computes."""
        if waiting.alarm is None and waiting.until < math.inf:
            waiting.alarm = asyncio.get_running_loop().call_at(waiting.until, self._ring, waiting)

    def _ring(self, waiting: _Waiting[Q]) -> None:
        self._withdraw(waiting)
        waiting.tell(_late())

    def _hand_out(
        self,
        lane: _Lane[Q],
        batch: Sequence[_Waiting[Q]],
        made: Sequence[Any],
        seconds: float | None = None,
        *,
        crowded: bool = False,
    ) -> None:
        """Hand out what was computed. seconds: of CPU that it took, where that was measured.

        crowded: whether the queue was full, so that requests are refused meanwhile. To write the answers takes as long
        as to compute them, so a few are written at a time, and what has arrived is read before each few.
        """
        if seconds is not None:
            # a first batch also makes a library ready, so one that was quicker counts at once
            pace, name = seconds / _windows(batch), lane.bundle.sha256
            self._pace[name] = min(pace, self._pace.get(name, pace))
            _learn(self._pace, name, pace)
        found = list(zip(batch, made, strict=True))
        if crowded:
            self._after_reading(lane, found)
        else:
            self._tell(lane, found, len(found))

    def _after_reading(self, lane: _Lane[Q], found: list[tuple[_Waiting[Q], Any]]) -> None:
        """Hand out a few answers after what has arrived was read: the loop runs first what is called soon."""
        lane.called = True
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, partial(self._tell, lane, found, A_FEW))

    def _tell(self, lane: _Lane[Q], found: list[tuple[_Waiting[Q], Any]], most: int) -> None:
        """Hand out the first answers, the others later."""
        now, later = found[:most], found[most:]
        for waiting, answer in now:
            waiting.end(answer)
        self._in_flight -= len(now)
        if later:
            self._after_reading(lane, later)
        else:
            lane.called = False
            self._go_on(lane)

    def _go_on(self, lane: _Lane[Q]) -> None:
        """Let the next turn come, or forget a lane in which nobody waits."""
        if lane.waiting:
            self._call(lane)
        else:
            self._lanes.pop(lane.bundle.sha256, None)


def _learn(paces: dict[str, float], bundle: str, measured: float) -> None:
    """Remember how long a window takes."""
    before = paces.pop(bundle, measured)
    paces[bundle] = before + NEWEST * (measured - before)
    if len(paces) > KNOWN:
        del paces[next(iter(paces))]


def _most(pace: float) -> float:
    """Most windows of several requests that are computed together. pace: seconds for each, 0 where nobody knows.

    In a thread, a batch waits for its share of the interpreter as often as it asks for it, while the loop is busy.
    """
    if not pace:
        return BATCH
    on_loop = LOOP_SECONDS / pace
    return min(BATCH, on_loop if on_loop >= LOOP_BATCH else BATCH_SECONDS / pace)


def _windows(batch: Sequence[_Waiting[Any]]) -> int:
    return sum(waiting.windows for waiting in batch)


def _settle(done: asyncio.Future[A], found: A | Exception) -> None:
    if isinstance(found, Exception):
        done.set_exception(found)
    else:
        done.set_result(found)


def _raisable(error: BaseException) -> Exception:
    """The error as one that a request may raise: a panic of a compiled library is no Exception."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        raise error
    return error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")


def _busy(why: str, seconds: float) -> Problem:
    wait = max(1, math.ceil(seconds))
    headers = {"Retry-After": str(wait)}
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, f"too busy: {why}; try again in {wait} s", headers, code=FULL)


def _late() -> Problem:
    return Problem(
        HTTPStatus.GATEWAY_TIMEOUT,
        "the forecast was not made in time; ask again, or allow more seconds with X-Request-Timeout",
        code="deadline-passed",
    )
