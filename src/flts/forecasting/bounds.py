"""What a forecast may be at least and at most: a count is never forecast below zero, a share never above one."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from flts.preprocess.rows import Values

Bounds = tuple[tuple[float | None, float | None], ...]
"""Lowest and highest value of each target in original units, None where there is no limit; empty without any."""


def resolve(rule: Literal["auto", "off"] | list[float], train: Values) -> Bounds:
    """The bounds of each target by a rule of the Spec (`task.bounds`); train: raw targets [rows, targets]."""
    if rule == "off":
        return ()
    if rule == "auto":
        ranges = zip(np.fmin.reduce(train), np.fmax.reduce(train), strict=True)
        return limits([_seen(float(smallest), float(largest)) for smallest, largest in ranges])
    low, high = map(float, rule)
    return ((low, high),) * int(train.shape[1])


def limits(pairs: Iterable[Sequence[float | None]]) -> Bounds:
    """Bounds of one pair per target."""
    bounds = tuple((low, high) for low, high in pairs)
    return () if all(pair == (None, None) for pair in bounds) else bounds


def _seen(smallest: float, largest: float) -> tuple[float | None, float | None]:
    """0 where train is never negative, and 1 where it never leaves 0 to 1."""
    if smallest < 0.0:
        return None, None
    return 0.0, 1.0 if largest <= 1.0 else None


def within(values: Values, bounds: Bounds) -> Values:
    """Values [..., targets] no lower and no higher than the bounds; NaN and infinity stay what they are."""
    if not bounds:
        return values
    low, high = _arrays(bounds)
    return np.where(np.isfinite(values), np.minimum(np.maximum(values, low), high), values)


@functools.lru_cache
def _arrays(bounds: Bounds) -> tuple[Values, Values]:
    """Lowest and highest values [targets]."""
    low = np.array([-np.inf if low is None else low for low, _ in bounds])
    return low, np.array([np.inf if high is None else high for _, high in bounds])
