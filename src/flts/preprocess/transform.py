"""The one function that turns rows into features: trainers, judge and server all call it.

Causal: a cell is filled only from rows at or before it. It computes with numpy and the standard library alone, so that
a server needs nothing else. All functions take any number of leading window dimensions.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flts.contracts.records.data import FittedColumn, FittedRecord
from flts.preprocess.rows import Times, Values

CALENDAR = (
    "minute_of_day_sin",
    "minute_of_day_cos",
    "day_of_week_sin",
    "day_of_week_cos",
    "day_of_year_sin",
    "day_of_year_cos",
)
_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND
_DAYS_PER_YEAR = 365.25


@dataclass(frozen=True)
class FittedPreprocess:
    """Everything preprocessing learned from train; a FittedRecord in meta.json and in every manifest."""

    columns: tuple[FittedColumn, ...]
    targets: tuple[str, ...]
    """Whose lags become columns and whose range scales a forecast; empty in meta.json, which serves every target."""
    step: int
    """Nanoseconds between two rows."""
    timezone: str
    max_gap: int
    time_features: bool
    lags: tuple[int, ...]
    constant: float

    @classmethod
    def of(cls, stored: FittedRecord) -> FittedPreprocess:
        """The inverse of `record`."""
        return cls(
            columns=tuple(stored.columns),
            targets=tuple(stored.targets),
            step=stored.step,
            timezone=stored.timezone,
            max_gap=stored.max_gap,
            time_features=stored.time_features,
            lags=tuple(stored.lags),
            constant=stored.constant,
        )

    def record(self) -> FittedRecord:
        """The form that is stored."""
        return FittedRecord(
            columns=list(self.columns),
            targets=list(self.targets),
            step=self.step,
            timezone=self.timezone,
            max_gap=self.max_gap,
            time_features=self.time_features,
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
        return self.names + lags + (CALENDAR if self.time_features else ())

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
    def _arrays(self) -> Mapping[str, Values]:
        columns = self.columns
        return {
            "median": np.array([c.median for c in columns]),
            "low": np.array([-np.inf if c.low is None else c.low for c in columns]),
            "high": np.array([np.inf if c.high is None else c.high for c in columns]),
            "center": np.array([c.center for c in columns]),
            "scale": np.array([c.scale for c in columns]),
        }

    def clean(self, values: Values) -> Values:
        """Fill empty cells causally, then clip: [..., rows, columns] in original units, no NaN left."""
        arrays = self._arrays
        filled = fill(values, arrays["median"], self.max_gap)
        if any(column.low is not None for column in self.columns):
            filled = np.clip(filled, arrays["low"], arrays["high"])
        return filled

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
    if fitted.time_features:
        parts.append(calendar(times, fitted.timezone))
    return np.concatenate(parts, axis=-1, dtype=np.float32)


def calendar(times: Times, timezone: str) -> Values:
    """Sine and cosine of minute of day, day of week and day of year in local wall time: [..., 6], never scaled."""
    local = wall_time(times, timezone)
    day = local // _DAY
    minute_of_day = (local - day * _DAY) / _DAY
    day_of_week = ((day + 3) % 7) / 7.0  # 1970-01-01 was a Thursday; Monday is 0
    year_start = day.astype("datetime64[D]").astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    day_of_year = (day - year_start) / _DAYS_PER_YEAR
    angles = 2.0 * np.pi * np.stack([minute_of_day, day_of_week, day_of_year], axis=-1)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(*times.shape, len(CALENDAR))


def wall_time(times: Times, timezone: str) -> Times:
    """Local clock time, as nanoseconds since 1970-01-01 00:00 on that clock."""
    return times + _offsets(times, timezone)


def _offsets(times: Times, timezone: str) -> Times | int:
    """Nanoseconds that local time is ahead of UTC; the zone is asked once a day, or once a second when it changes."""
    if timezone == "UTC":
        return 0
    zone = zoneinfo.ZoneInfo(timezone)
    days, of_day = np.unique(times // _DAY, return_inverse=True)
    starts = np.array([_offset(int(day) * _DAY, zone) for day in days], dtype=np.int64)
    ends = np.array([_offset((int(day) + 1) * _DAY - _SECOND, zone) for day in days], dtype=np.int64)
    offsets = starts[of_day.reshape(times.shape)]
    changing = (starts != ends)[of_day.reshape(times.shape)]
    if changing.any():
        seconds, of_second = np.unique(times[changing] // _SECOND, return_inverse=True)
        exact = np.array([_offset(int(second) * _SECOND, zone) for second in seconds], dtype=np.int64)
        offsets[changing] = exact[of_second]
    return offsets


def _offset(time: int, zone: zoneinfo.ZoneInfo) -> int:
    moment = datetime.fromtimestamp(time // _SECOND, UTC).astimezone(zone)
    offset = moment.utcoffset()
    return 0 if offset is None else round(offset.total_seconds()) * _SECOND
