"""Whether the event loop of a server turns, and how long that takes: another thread asks it when it wants to know."""

from __future__ import annotations

import asyncio
import threading
import time

from flts.contracts.errors import StageFailed

LIMIT = 2.5
"""Seconds that a loop may take to turn; a probe waits a little longer for the answer."""


class Pulse:
    """The event loop of one server; `loop` is set when that starts."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None

    def lag(self) -> float | None:
        """Seconds until the loop does what it is asked for now, LIMIT at most; None before the server has started.

        Never to be called on the loop itself, which would wait for itself.
        """
        loop = self.loop
        if loop is None or not loop.is_running():
            return None
        turned, started = threading.Event(), time.perf_counter()
        loop.call_soon_threadsafe(turned.set)
        turned.wait(LIMIT)
        return time.perf_counter() - started

    def check(self) -> None:
        """Raise StageFailed when the loop does not turn."""
        lag = self.lag()
        if lag is not None and lag >= LIMIT:
            raise StageFailed(f"the event loop has not turned for {LIMIT:g} s", code="loop-stuck")
