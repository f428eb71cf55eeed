"""Forecasts with their intervals: as a bundle gives them, and as a table holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flts.contracts.records.model import Manifest
from flts.forecasting.bounds import Bounds, limits, within
from flts.forecasting.intervals import LEVELS, STORED_LEVEL, half_widths
from flts.preprocess.rows import Values

LEVEL_NAMES = tuple(f"{level:g}" for level in LEVELS)
"""How manifests and answers name the levels."""
Interval = tuple[Values, Values]
"""Lower and upper ends, [origins, horizon, targets] in original units."""


@dataclass(frozen=True)
class Answers:
    """Forecasts from many origins in original units.

    mean [origins, horizon, targets]; spread [origins, targets]: the scale of the errors; half_width by level, of the
    shape of mean, empty where the model has no intervals; adaptive [origins]: whether the errors in the history of that
    origin shaped its intervals.
    """

    mean: Values
    spread: Values
    half_width: Mapping[str, Values]
    adaptive: NDArray[np.bool_]
    bounds: Bounds

    def each(self) -> Iterator[Answers]:
        """The answers of every origin alone; an interval that one of them is asked for is computed for all."""
        for one in range(len(self.mean)):
            at = slice(one, one + 1)
            half = {level: of_level[at] for level, of_level in self.half_width.items()}
            yield _Part(self.mean[at], self.spread[at], half, self.adaptive[at], self.bounds, self, at)

    def interval(self, level: float) -> Interval:
        """The interval of a level, within the bounds; NaN where the model has none."""
        found = self._intervals.get(level)
        if found is None:
            half = self.half_width.get(f"{level:g}")
            half = np.full(self.mean.shape, np.nan) if half is None else half
            found = self._intervals[level] = _around(self.mean, half, self.bounds)
        return found

    @cached_property
    def _intervals(self) -> dict[float, Interval]:
        return {}

    def kinds(self) -> list[str]:
        """What the intervals of each origin are: static, adaptive or none."""
        if not self.half_width:
            return ["none"] * len(self.mean)
        return ["adaptive" if adaptive else "static" for adaptive in self.adaptive]

    def columns(self) -> dict[str, Values | NDArray[np.bool_]]:
        """The columns of a table of forecasts, each of the shape of mean.

        lower and upper: ends of the 80 % interval; half_width_50 and so on: of the other levels, before the bounds.
        With spread, the manifest gives the static intervals too.
        """
        lower, upper = self.interval(STORED_LEVEL)
        others = {column_of(level): half for level, half in self.half_width.items() if float(level) != STORED_LEVEL}
        whole: dict[str, Values] = {"y_hat": self.mean, "lower": lower, "upper": upper, **others}
        spread = np.broadcast_to(self.spread[:, None, :], self.mean.shape)
        adaptive = np.broadcast_to(self.adaptive[:, None, None], self.mean.shape)
        return {**whole, "spread": spread, "adaptive": adaptive}


@dataclass(frozen=True)
class _Part(Answers):
    whole: Answers
    at: slice

    def interval(self, level: float) -> Interval:
        lower, upper = self.whole.interval(level)
        return lower[self.at], upper[self.at]


@dataclass(frozen=True)
class StoredIntervals:
    """The intervals in a table of forecasts by level, beside those of the static offsets alone."""

    by_level: Mapping[str, Interval]
    static: Mapping[str, Interval]
    adaptive: int
    """Origins whose intervals are adaptive."""

    @classmethod
    def of(cls, values: Mapping[str, Values], manifest: Manifest) -> StoredIntervals:
        """Read the value columns [origins, horizon, targets] of a table that the model of this manifest made."""
        offsets, bounds = manifest.intervals.offsets, bounds_of(manifest)
        if offsets is None:
            return cls({}, {}, 0)
        mean = values["y_hat"]
        if "spread" not in values:  # a table of version 1
            by_level = {
                level: _around(mean, half, bounds)
                for level, half in half_widths(values["upper"] - mean, offsets).items()
            }
            return cls(by_level, by_level, 0)
        static = {
            level: _around(mean, np.array(of_level) * values["spread"], bounds) for level, of_level in offsets.items()
        }
        by_level = {
            level: (values["lower"], values["upper"])
            if float(level) == STORED_LEVEL
            else _around(mean, values[column_of(level)], bounds)
            for level in offsets
        }
        return cls(by_level, static, int(values["adaptive"][:, 0, 0].sum()))


def bounds_of(manifest: Manifest) -> Bounds:
    """The bounds that a manifest stores."""
    return limits(manifest.bounds)


def static_offsets(manifest: Manifest) -> Values | None:
    """The offsets of training [levels, 1, horizon, targets]; None without intervals."""
    stored = manifest.intervals.offsets
    return None if stored is None else np.array([[stored[name]] for name in LEVEL_NAMES])


def _around(mean: Values, half_width: Values, bounds: Bounds) -> Interval:
    return within(mean - half_width, bounds), within(mean + half_width, bounds)


def column_of(level: str) -> str:
    """The column of a table of forecasts that holds the half widths of a level other than STORED_LEVEL."""
    return f"half_width_{float(level) * 100:.0f}"
