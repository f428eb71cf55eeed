"""The lag of the event loop: how much later than it should the loop runs what is due. All requests wait as long."""

from __future__ import annotations

import asyncio
from collections import deque

BEAT = 0.1
"""Seconds between two looks."""
LOOKS = 100
"""Looks that count."""


class Lag:
    """Looks at the loop it was started on, ten times a second."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=LOOKS)
        self._next: asyncio.TimerHandle | None = None

    def __call__(self) -> float | None:
        """The longest delay of the last ten seconds; None before the first look."""
        return max(self._late, default=None)

    def start(self) -> None:
        """Begin to look, on the running loop. Does nothing where that was done."""
        if self._next is None:
            self._look_in(BEAT)

    def close(self) -> None:
        """Look no more."""
        if self._next is not None:
            self._next.cancel()

    def _look_in(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._next = loop.call_at(loop.time() + seconds, self._look)

    def _look(self) -> None:
        assert self._next is not None
        self._late.append(asyncio.get_running_loop().time() - self._next.when())
        self._look_in(BEAT)
