"""The thread that follows the promotion logs: a poll every few seconds, at once where somebody asks for it."""

from __future__ import annotations

import random
import threading

from flts.server.models import Models

JITTER = 0.2
"""Share by which the time between two polls varies, so that replicas do not ask at once."""


class Following:
    """Polls `models` in a thread of its own until it is closed."""

    def __init__(self, models: Models, seconds: float) -> None:
        self._models, self._seconds = models, seconds
        self._asked, self._closed = threading.Event(), False
        self._thread = threading.Thread(target=self._follow, name="follow", daemon=True)

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def now(self) -> None:
        """Poll at once."""
        self._asked.set()

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._asked.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._closed:
            self._asked.clear()
            self._models.poll()
            self._asked.wait(self._seconds * random.uniform(1.0 - JITTER, 1.0 + JITTER))  # noqa: S311 - no secret
