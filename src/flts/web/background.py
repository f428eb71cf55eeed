"""Events that a thread writes, so that no request waits for its line in the log, nor for a log that nobody reads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from flts.contracts import events

BEAT = 0.5
"""Seconds after which events are written."""
PATIENCE = 5.0
"""Seconds that a reader of the log has to take what waits at the end."""
MOST = 20_000
"""Events that may wait; any further one is lost, and counted."""


class Background:
    """Called with a function that makes an event, in the order in which they happen.

    An event becomes its line at once, in some microseconds. The thread has nothing to do but to write: two threads that
    compute wait for each other, which costs a request more than its line does.
    """

    def __init__(self, service: str) -> None:
        self._service = service
        self._waiting: deque[str | events.Event] = deque()
        self.lost = 0
        """Events that were not written, since the start."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write, name="events", daemon=True)

    def __call__(self, make: Callable[[], events.Event]) -> None:
        if len(self._waiting) >= MOST:
            self.lost += 1
            return
        now = datetime.now(UTC)
        line = make.line(now) if isinstance(make, events.Happened) else None
        if line is None:
            event = make()
            self._waiting.append(events.line_of(event, now) or event)
        else:
            self._waiting.append(line)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and end; a log that nobody reads is given up."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(PATIENCE)

    def _write(self) -> None:
        told = 0
        while not self._closing.wait(BEAT) or self._waiting:
            waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
            try:
                events.write_lines("".join(line for line in waiting if isinstance(line, str)))
                for event in waiting:
                    if not isinstance(event, str):
                        events.emit(event)
            except (OSError, ValueError):  # the stream is closed or full
                self.lost += len(waiting)
            if self.lost > told and not self._closing.is_set():
                with suppress(OSError, ValueError):
                    events.emit(events.EventsLost(service=self._service, count=self.lost - told))
                    told = self.lost
