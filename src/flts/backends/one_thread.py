"""Makes a tracker usable from many threads, because MLflow's client is not, and limits how long a call may take."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from flts.backends.aside import aside, settle
from flts.contracts.errors import BackendUnavailable
from flts.contracts.ports import SeenRun, TrackedRun, Tracker

T = TypeVar("T")
LOOK = 0.25
"""Seconds between two looks at whether a call takes too long."""


class InOneThread:
    """A Tracker for many threads: every call runs in one thread of its own, and `prepare` returns at once.

    A call that takes longer than `limit` seconds raises BackendUnavailable, and so do those behind it. The thread is
    left to end the call, for two threads would log one run twice; later calls are answered once it has. It never keeps
    the process from ending.
    """

    def __init__(self, tracker: Tracker, limit: float) -> None:
        self._tracker, self.uri, self._limit = tracker, tracker.uri, limit
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._began: float | None = None
        """When the call in work began, by the monotonic clock; None while there is none."""
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def prepare(self, scope: str) -> None:
        self._submit(lambda: self._tracker.prepare(scope))

    def reserve(self) -> str | None:
        return self._tracker.reserve()  # at once: it waits for no client

    def log(self, run: TrackedRun, run_id: str | None = None) -> str:
        return self._ask("log a run", lambda: self._tracker.log(run, run_id))

    def first_run(self, tags: Mapping[str, str], other_than: Mapping[str, str]) -> str | None:
        return self._ask("look for a run", lambda: self._tracker.first_run(tags, other_than))

    def annotate(self, run_id: str, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        self._ask("annotate a run", lambda: self._tracker.annotate(run_id, metrics, tags))

    def promote(self, scope: str, run_id: str, model_type: str, bundle_sha256: str, entry_sha256: str) -> None:
        self._ask(
            "register the champion",
            lambda: self._tracker.promote(scope, run_id, model_type, bundle_sha256, entry_sha256),
        )

    def look(self, run_id: str) -> SeenRun | None:
        return self._ask("show a run", lambda: self._tracker.look(run_id))

    def champion(self, scope: str) -> Mapping[str, str] | None:
        return self._ask("show the champion", lambda: self._tracker.champion(scope))

    def check(self) -> None:
        # in a thread of its own: it does not use the client, and a server may send its answer byte by byte
        asked = aside(self._tracker.check, "tracker-check")
        try:
            asked.result(timeout=self._limit)
        except TimeoutError:
            raise self._late("answer") from None

    def close(self) -> None:
        """Wait for the calls in hand, no longer than one may take."""
        self._submit(self._tracker.close)
        self._calls.put(None)
        thread = self._thread
        while thread is not None and thread.is_alive() and not self._stuck():
            thread.join(LOOK)
        self._thread = None

    def _ask(self, what: str, call: Callable[[], T]) -> T:
        """The answer of a call. Raises BackendUnavailable when it, or the one before it, takes too long."""
        answer = self._submit(call)
        while True:
            try:
                return answer.result(timeout=LOOK)
            except TimeoutError:
                if answer.done():
                    raise  # by the call itself
            if self._stuck():
                answer.cancel()  # one that waits behind the stuck call will come again
                raise self._late(what)

    def _late(self, what: str) -> BackendUnavailable:
        return BackendUnavailable(
            f"MLflow at {self.uri} could not {what}: no answer within {self._limit:g} s", code="tracker-unavailable"
        )

    def _submit(self, call: Callable[[], T]) -> Future[T]:
        answer: Future[T] = Future()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)
                self._thread.start()
        self._calls.put((answer, call))
        return answer

    def _stuck(self) -> bool:
        began = self._began
        return began is not None and time.monotonic() - began > self._limit

    def _work(self) -> None:
        while (task := self._calls.get()) is not None:
            answer, call = task
            if not answer.set_running_or_notify_cancel():
                continue
            self._began = time.monotonic()
            settle(answer, call)
            self._began = None
