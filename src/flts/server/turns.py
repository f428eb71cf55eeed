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
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from flts.forecasting.bundle import Bundle
from flts.server.messages import at_once
from flts.web.problem import Problem

BATCH = 64
"""Most windows of several requests that are computed together; a request that needs more is computed alone."""
BATCH_SECONDS = 0.05
"""Longest time that a batch of several requests is expected to take: the first one waits for the last."""
LOOP_SECONDS = 0.005
"""A batch that is expected to take longer leaves the event loop."""
LOOP_WINDOWS = 256
"""So does one of more windows."""
WORTH = 0.5
"""Share of its time that a request may be expected to wait: the rest is for what the estimate does not know."""
RECENT = 0.02
"""Seconds for which a client is taken to be still there."""
KNOWN = 256
"""Bundles whose pace is remembered."""
NEWEST = 0.2
"""Weight of the newest measurement of a pace."""
MEASURED = 16
"""One of so many batches is measured again: asking for the CPU of a thread takes as long as a tenth of a forecast."""

Q = TypeVar("Q")
"""What is asked of a model."""
A = TypeVar("A")
"""What it answers."""
Compute = Callable[[Bundle, Sequence[Q]], "Sequence[A | Exception]"]
"""The answer to each question, or what it has to raise. Called in any thread; what it raises is the fault of one."""


@dataclass(frozen=True)
class TurnsState:
    """How much waits now. depth: requests that wait; limit: most that may; in_flight: those that are computed."""

    depth: int
    limit: int
    in_flight: int


@dataclass(eq=False, slots=True)
class _Waiting(Generic[Q]):
    """A request in the queue.

    until: its deadline, and since: when it came, both by the monotonic clock; receive: tells whether its client has
    left; windows: how many are forecast for it.
    """

    question: Q
    until: float
    receive: Receive | None
    windows: int
    since: float
    done: asyncio.Future[Any]
    queued: bool = True
    alarm: asyncio.TimerHandle | None = None


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

    def check_room(self) -> None:
        """Refuse a request where the queue is full, best before it is read. Raises Problem 429."""
        if self._depth >= self._limit:
            raise _busy(f"{self._depth} requests wait, and no more may", 1.0)

    async def take(
        self, bundle: Bundle, question: Q, windows: int, until: float = math.inf, receive: Receive | None = None
    ) -> A:
        """The answer to a question, when its turn has come. windows: how many the bundle forecasts for it.

        Raises Problem: 429 where too many wait, 504 after the deadline; ClientDisconnect where nobody waits for it any
        more; and what `compute` raises.
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
        done: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(question, until, receive, windows, now, done)
        lane.waiting.append(waiting)
        lane.windows += windows
        self._depth += 1
        if lane.away:
            _set_alarm(waiting)
        else:
            self._call(lane)
        try:
            return await done
        finally:
            if waiting.alarm is not None:
                waiting.alarm.cancel()
            if waiting.queued:  # its alarm rang, or its task was cancelled
                lane.waiting.remove(waiting)
                self._leave(lane, waiting)

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
        lane.called = False
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
                _set_alarm(waiting)
            task = asyncio.get_running_loop().create_task(self._elsewhere(lane, batch))
            self._away.add(task)
            task.add_done_callback(self._away.discard)
            return
        self._turnaround.pop(lane.bundle.sha256, None)  # that of a time when it was slower
        self._computed += 1
        if self._computed % MEASURED:
            self._settle(lane, batch, self._answers(lane.bundle, [waiting.question for waiting in batch]))
        else:
            self._settle(lane, batch, *self._measured(lane.bundle, batch))

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
        self._settle(lane, batch, made, seconds)

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
        most = min(BATCH, BATCH_SECONDS / pace if pace else BATCH)
        batch: list[_Waiting[Q]] = []
        windows = 0
        while lane.waiting and (not batch or windows + lane.waiting[0].windows <= most):
            waiting = lane.waiting.popleft()
            self._leave(lane, waiting)
            if waiting.done.done():
                continue
            if now >= waiting.until:
                waiting.done.set_exception(_late())
            elif waiting.receive is not None and now - waiting.since > RECENT and has_left(waiting.receive):
                waiting.done.set_exception(ClientDisconnect())
            else:
                batch.append(waiting)
                windows += waiting.windows
        return batch

    def _leave(self, lane: _Lane[Q], waiting: _Waiting[Q]) -> None:
        """A request waits no more."""
        waiting.queued = False
        lane.windows -= waiting.windows
        self._depth -= 1

    def _settle(
        self, lane: _Lane[Q], batch: Sequence[_Waiting[Q]], made: Sequence[Any], seconds: float | None = None
    ) -> None:
        """Hand out what was computed. seconds: of CPU that it took, where that was measured."""
        for waiting, found in zip(batch, made, strict=True):
            if waiting.done.done():
                continue
            if isinstance(found, Exception):
                waiting.done.set_exception(found)
            else:
                waiting.done.set_result(found)
        self._in_flight -= len(batch)
        if seconds is not None:
            _learn(self._pace, lane.bundle.sha256, seconds / _windows(batch))
        self._go_on(lane)

    def _go_on(self, lane: _Lane[Q]) -> None:
        """Let the next turn come, or forget a lane in which nobody waits."""
        if lane.waiting:
            self._call(lane)
        else:
            self._lanes.pop(lane.bundle.sha256, None)


def has_left(receive: Receive) -> bool:
    """Whether the client of a request whose body was read has gone: asks for the next message, but does not wait."""
    message = at_once(receive)
    return message is not None and bool(message["type"] == "http.disconnect")


def _learn(paces: dict[str, float], bundle: str, measured: float) -> None:
    """Remember how long a window takes."""
    before = paces.pop(bundle, measured)
    paces[bundle] = before + NEWEST * (measured - before)
    if len(paces) > KNOWN:
        del paces[next(iter(paces))]


def _windows(batch: Sequence[_Waiting[Any]]) -> int:
    return sum(waiting.windows for waiting in batch)


def _set_alarm(waiting: _Waiting[Any]) -> None:
    """Answer a request at its deadline, whatever the thread does that computes."""

    def ring() -> None:
        if not waiting.done.done():
            waiting.done.set_exception(_late())

    if waiting.alarm is None and waiting.until < math.inf:
        waiting.alarm = waiting.done.get_loop().call_at(waiting.until, ring)


def _raisable(error: BaseException) -> Exception:
    """The error as one that a request may raise: a panic of a compiled library is no Exception."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        raise error
    return error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")


def _busy(why: str, seconds: float) -> Problem:
    wait = max(1, math.ceil(seconds))
    headers = {"Retry-After": str(wait)}
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, f"too busy: {why}; try again in {wait} s", headers, code="queue-full")


def _late() -> Problem:
    return Problem(
        HTTPStatus.GATEWAY_TIMEOUT,
        "the forecast was not made in time; ask again, or allow more seconds with X-Request-Timeout",
        code="deadline-passed",
    )
