"""How often something may happen: a bucket for each who does it, filled at a constant rate."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

MOST = 1024
"""Buckets that are kept; of more, the one that was used longest ago counts as full."""


class Rates:
    """rate: per second; burst: how many may come at once after a pause."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, who: str) -> int:
        """Take one from the bucket of `who`; 0, or the seconds after which there will be one again."""
        now = self._clock()
        level, filled = self._buckets.pop(who, (self._burst, now))
        level = min(self._burst, level + (now - filled) * self._rate)
        taken = level >= 1.0
        self._buckets[who] = (level - 1.0 if taken else level, now)
        if len(self._buckets) > MOST:
            self._buckets.popitem(last=False)
        return 0 if taken else math.ceil((1.0 - level) / self._rate)
