"""How long a message is retried after Transient errors: work is no waiting, and neither is a process that stood still.

A fit of an hour whose last write meets a store that is away for a moment has not waited for an hour. Nor has a service
that was stopped and continued, as a machine does that sleeps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from flts.contracts.errors import Transient


class Patience:
    """What is left of the patience with one message.

    Pauses count as long as they were meant to be. So do attempts that fail, except for the longest one: it may have
    been work. A backend that never answers is thus given up after the patience and two of its time limits at most.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Begin anew, as for a message that has just come."""
        self._spent = self._longest = 0.0

    @property
    def left(self) -> float:
        """Seconds of it."""
        return self._seconds - self._spent

    def pause(self, seconds: float) -> None:
        """Count a pause before the next attempt."""
        self._spent += seconds

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Count an attempt if it fails with a Transient error."""
        began = monotonic()
        try:
            yield
        except Transient:
            lasted = monotonic() - began
            self._spent += min(lasted, self._longest)
            self._longest = max(lasted, self._longest)
            raise
