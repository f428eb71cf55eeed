"""When a stage began, and how long it takes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from flts.contracts.ports import Clock


@dataclass(frozen=True)
class Stopwatch:
    """The moment a stage began. began: monotonic seconds, because the clock may be set meanwhile."""

    started: datetime
    began: float

    @classmethod
    def start(cls, clock: Clock) -> Stopwatch:
        """One that runs from now on."""
        return cls(clock.now(), time.monotonic())

    @property
    def elapsed_ms(self) -> int:
        """Milliseconds since then."""
        return round((time.monotonic() - self.began) * 1000)
