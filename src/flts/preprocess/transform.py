"""The one function that turns rows into features: trainers, judge and server all call it.

Causal: a cell is filled only from rows at or before it. It computes with numpy and the standard library alone, so that
a server needs nothing else. All functions take any number of leading window dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from flts.contracts.records.data import CALENDAR, FittedColumn, FittedRecord
from flts.preprocess.grid import MONDAY, Grid, wall_time
from flts.preprocess.rows import Times, Values
from flts.spec.fields import ResampleRule
from flts.spec.steps import DAY

DAYS_PER_YEAR = 365.25
CYCLES = {"minute_of_day": DAY, "day_of_week": 7 * DAY, "day_of_year": 365 * DAY}
"""Nanoseconds of the cycle that the sine and cosine of a calendar column follow."""


@dataclass(frozen=True)
class FittedPreprocess:
    """Everything preprocessing learned from train; a FittedRecord in meta.json and in every manifest."""

    columns: tuple[FittedColumn, ...]
    targets: tuple[str, ...]
    """Whose lags become columns and whose range scales a forecast; empty in meta.json, which serves every target."""
    grid: Grid
    placed: bool
    """Whether histories are placed on the grid; those of a bundle of version 1 must have every row."""
    resample: ResampleRule
    max_gap: int
    calendar: tuple[str, ...]
    """The calendar columns whose cycle train holds twice."""
    lags: tuple[int, ...]
    constant: float

    @classmethod
    def of(cls, stored: FittedRecord) -> FittedPreprocess:
        """The inverse of `record`."""
        return cls(
            columns=tuple(stored.columns),
            targets=tuple(stored.targets),
            grid=Grid.of(stored.grid),
            placed=stored.placed,
            resample=cast(ResampleRule, stored.resample),
            max_gap=stored.max_gap,
            calendar=tuple(stored.calendar),
            lags=tuple(stored.lags),
            constant=stored.constant,
        )

    def record(self) -> FittedRecord:
        """The form that is stored."""
        return FittedRecord(
            columns=list(self.columns),
            targets=list(self.targets),
            grid=self.grid.record(),
            placed=self.placed,
            resample=self.resample,
            max_gap=self.max_gap,
            calendar=list(self.calendar),
            lags=list(self.lags),
            constant=self.constant,
        )

    def for_targets(self, targets: tuple[str, ...]) -> FittedPreprocess:
        """The same statistics for these targets."""
        return replace(self, targets=targets)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Columns of the values that `transform` takes, in order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Columns that `transform` returns, in order."""
        lags = tuple(f"{target}_lag{k}" for k in self.lags for target in self.targets)
        return self.names + lags + self.calendar

    @cached_property
    def target_index(self) -> NDArray[np.intp]:
        """Where the targets are among the columns."""
        return np.array([self.names.index(target) for target in self.targets], dtype=np.intp)

    @cached_property
    def target_range(self) -> tuple[Values, Values]:
        """Minimum and width of the range of each target over train, [targets]."""
        columns = [self.columns[i] for i in self.target_index]
        minimum = np.array([column.minimum for column in columns])
        return minimum, np.array([column.maximum for column in columns]) - minimum

    @cached_property
    def trained_on(self) -> tuple[Values, Values]:
        """Middle and width of the range of each column over train, [columns]."""
        low, high = (np.array([getattr(c, end) for c in self.columns]) for end in ("minimum", "maximum"))
        return (low + high) / 2.0, high - low

    @cached_property
    def _arrays(self) -> Mapping[str, Values]:
        columns = self.columns
        return {
            "median": np.array([c.median for c in columns]),
            "low": np.array([-np.inf if c.low is None else c.low for c in columns]),
            "high": np.array([np.inf if c.high is None else c.high for c in columns]),
            "center": np.array([c.center for c in columns]),
            "scale": np.array([c.scale for c in columns]),
        }

    @cached_property
    def _clips(self) -> bool:
        return any(column.low is not None for column in self.columns)

    def measured(self, values: Values) -> NDArray[np.bool_]:
        """Whether each row holds every target: [..., rows, columns] → [..., rows]."""
        return np.asarray(~np.isnan(values[..., self.target_index]).any(axis=-1))

    def clean(self, values: Values) -> Values:
        """Fill empty cells causally, then clip: [..., rows, columns] in original units, no NaN left."""
        return self.clip(fill(values, self._arrays["median"], self.max_gap))

    def clip(self, values: Values) -> Values:
        """Clip to the limits of each column, where it has some; an empty cell stays empty."""
        if not self._clips:
            return values
        clipped: Values = np.clip(values, self._arrays["low"], self._arrays["high"])
        return clipped

    def scale_targets(self, values: Values) -> Values:
        """Targets [..., targets] as the composite score sees them: 0 and 1 are the range over train."""
        minimum, width = self.target_range
        return (values - minimum) / width

    def unscale_targets(self, scaled: Values) -> Values:
        """The inverse of `scale_targets`: original units."""
        minimum, width = self.target_range
        return scaled * width + minimum


def fill(values: Values, median: Values, max_gap: int) -> Values:
    """Carry the last value forward over at most `max_gap` rows, then use the median: [..., rows, columns]."""
    missing = np.isnan(values)
    if not missing.any():
        return values
    row = np.arange(values.shape[-2])[:, None]
    last = np.maximum.accumulate(np.where(missing, -1, row), axis=-2)
    carried = np.take_along_axis(values, np.maximum(last, 0), axis=-2)
    recent = (last >= 0) & (row - last <= max_gap)
    return np.where(missing, np.where(recent, carried, median), values)


def transform(times: Times, values: Values, fitted: FittedPreprocess) -> NDArray[np.float32]:
    """Features [..., rows, features] of rows in original units [..., rows, columns], in the order of `fitted`.

    Fills, clips, adds the constant, scales, appends lags of the targets and the calendar. A lag that reaches before
    the first row is filled like an empty cell.
    """
    return engineer(times, fitted.clean(values), fitted)


def engineer(times: Times, cleaned: Values, fitted: FittedPreprocess) -> NDArray[np.float32]:
    """The second half of `transform`, for callers that need the cleaned values too."""
    arrays = fitted._arrays
    scaled = (cleaned + fitted.constant - arrays["center"]) / arrays["scale"]
    parts = [scaled]
    if fitted.lags:
        target = scaled[..., fitted.target_index]
        empty = ((arrays["median"] + fitted.constant - arrays["center"]) / arrays["scale"])[fitted.target_index]
        for k in fitted.lags:
            lagged = np.broadcast_to(empty, target.shape).copy()
            lagged[..., k:, :] = target[..., : max(target.shape[-2] - k, 0), :]
            parts.append(lagged)
    if fitted.calendar:
        parts.append(calendar(times, fitted))
    return np.concatenate(parts, axis=-1, dtype=np.float32)


def calendar(times: Times, fitted: FittedPreprocess) -> Values:
    """The calendar columns of `fitted` in local wall time: sines and cosines [..., columns], never scaled."""
    local = wall_time(times, fitted.grid.timezone)
    day = local // DAY
    year_start = day.astype("datetime64[D]").astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    of_cycle = {
        "minute_of_day": (local - day * DAY) / DAY,
        "day_of_week": ((day + MONDAY) % 7) / 7.0,
        "day_of_year": (day - year_start) / DAYS_PER_YEAR,
    }
    angles = 2.0 * np.pi * np.stack([of_cycle[cycle] for cycle in CYCLES], axis=-1)
    every = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(*times.shape, len(CALENDAR))
    chosen: Values = every[..., [CALENDAR.index(name) for name in fitted.calendar]]
    return chosen


def calendar_columns(span: int, step: int) -> Sequence[str]:
    """The columns whose cycle rows over `span` nanoseconds hold at least twice, and which differ between rows.

    A cycle that train does not repeat is a free slope, which a linear model extends into the future.
    """
    taught = [cycle for cycle, length in CYCLES.items() if 2 * length <= span and step < length]
    return [name for name in CALENDAR if name.rpartition("_")[0] in taught]
