"""Events that a thread writes, so that no request waits for its line in the log, nor for a log that nobody reads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from flts.contracts import events

BEAT = 0.2
"""Seconds after which events are written."""
AT_ONCE = 8
"""Events that are written before requests may go on."""
PATIENCE = 5.0
"""Seconds that a reader of the log has to take what waits at the end."""
MOST = 20_000
"""Events that may wait; any further one is lost, and counted."""


class Background:
    """Called with a function that makes an event, in the order in which they happen."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._waiting: deque[tuple[datetime, Callable[[], events.Event]]] = deque()
        self.lost = 0
        """Events that were not written, since the start."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write, name="events", daemon=True)

    def __call__(self, make: Callable[[], events.Event]) -> None:
        if len(self._waiting) < MOST:
            self._waiting.append((datetime.now(UTC), make))
        else:
            self.lost += 1

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
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), AT_ONCE))]
                try:
                    events.emit_all([(when, make()) for when, make in batch])
                except (OSError, ValueError):  # the stream is closed or full
                    self.lost += len(batch)
            if self.lost > told and not self._closing.is_set():
                with suppress(OSError, ValueError):
                    events.emit(events.EventsLost(service=self._service, count=self.lost - told))
                    told = self.lost
