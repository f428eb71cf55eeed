"""The grid that rows lie on: the one place where times become positions and positions become times.

Position k of a grid is its k-th step. Everything that counts rows (windows, lags, seasons, forecasts) counts positions,
so an absent row shifts nothing.
"""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flts.contracts.records.data import GridRecord
from flts.preprocess.rows import Positions, Times
from flts.spec.steps import DAY, SECOND, Step

MONDAY = 3
"""1970-01-01 was a Thursday: three days after a Monday."""


@dataclass(frozen=True)
class Grid:
    """Equal steps through time, of fixed duration or of the calendar.

    timezone: the zone of the Spec, which defines local time; local: whether the steps follow its clock.
    phase: nanoseconds from the start of a step to the time of its row, where steps of a fixed duration or of days start
    with 1970-01-01 00:00; of months at most to their last day, and negative for months whose rows carry a time at their
    end, counted from there.
    first: which month of a step of several months comes first.
    tolerance: nanoseconds by which the time of a row may differ from the time of its position.
    """

    step: Step
    timezone: str
    local: bool
    phase: int = 0
    first: int = 0
    tolerance: int = 0

    @classmethod
    def of(cls, stored: GridRecord) -> Grid:
        """The inverse of `record`. Raises ValueError for a step or a zone that there is none of."""
        try:
            zoneinfo.ZoneInfo(stored.timezone)
        except (LookupError, OSError):
            raise ValueError(f"'{stored.timezone}' is no time zone that is known here") from None
        return cls(**{**dict(stored), "step": Step.parse(stored.step)})

    def record(self) -> GridRecord:
        """The form that is stored."""
        return GridRecord(
            step=str(self.step),
            timezone=self.timezone,
            local=self.local,
            phase=self.phase,
            first=self.first,
            tolerance=self.tolerance,
        )

    def __str__(self) -> str:
        """The step and, where it follows a clock, whose."""
        return f"{self.step} in {self.timezone}" if self.local else str(self.step)

    def cells(self, times: Times) -> Positions:
        """The position whose step contains each time, of the same shape."""
        coordinates = self._clock(times)
        match self.step.unit:
            case "month":
                month = _month_of(coordinates)
                if self.phase > 0:
                    month -= coordinates < _stamp_in(month, self.phase)
                return (month - self.first) // self.step.count
            case "business day":
                day = (coordinates - self.phase) // DAY + MONDAY
                return day // 7 * 5 + np.minimum(day % 7, 4)
            case _:
                return (coordinates - self.phase) // self.step.on_clock

    def times(self, positions: Positions) -> Times:
        """The time (UTC ns) that the row at each position is stamped with, of the same shape."""
        match self.step.unit:
            case "month":
                month = positions * self.step.count + self.first
                before = self.phase < 0
                coordinates = (
                    _start_of_month(month + self.step.count) + self.phase if before else _stamp_in(month, self.phase)
                )
            case "business day":
                coordinates = (positions // 5 * 7 + positions % 5 - MONDAY) * DAY + self.phase
            case _:
                coordinates = positions * self.step.on_clock + self.phase
        return utc_time(coordinates, self.timezone) if self.local else coordinates

    def nearest(self, times: Times) -> tuple[Positions, Times]:
        """The position whose time is nearest to each time, and how many nanoseconds it is off."""
        cells = self.cells(times)
        if self._even:
            after = times - self.times(cells)
            before = self.step.on_clock - after
            return cells + (before < after), np.minimum(after, before)
        near = cells + np.array([-1, 0, 1], dtype=np.int64).reshape(3, *[1] * times.ndim)
        off = np.abs(times - self.times(near))
        best = off.argmin(axis=0)[None]
        return np.take_along_axis(near, best, 0)[0], np.take_along_axis(off, best, 0)[0]

    def positions(self, times: Times) -> Positions:
        """The position of each row, for the times of rows that lie on the grid."""
        if not self.tolerance:
            return self.cells(times)
        nearest, off = self.nearest(times)
        return np.where(off <= self.tolerance, nearest, self.cells(times))

    def after(self, times: Times, steps: int) -> Times:
        """The times of the next rows: [...] → [..., steps]."""
        ahead = np.arange(1, steps + 1, dtype=np.int64)
        if self._even:
            return times[..., None] + self.step.on_clock * ahead
        return self.times(self.positions(times)[..., None] + ahead)

    def follows(self, times: Times) -> NDArray[np.bool_]:
        """Whether rows have the very times of positions in a row, [..., rows] → [...].

        Only asked of even steps: False on any other grid.
        """
        if not self._even:
            return np.zeros(times.shape[:-1], dtype=bool)
        step = self.step.on_clock
        apart = times[..., 1:] - times[..., :-1]
        return np.asarray(((times[..., 0] - self.phase) % step == 0) & (apart == step).all(axis=-1))

    def shown(self, time: np.int64) -> str:
        """A time as messages show it: local time with its offset, to the second."""
        return datetime.fromtimestamp(int(time) // SECOND, zoneinfo.ZoneInfo(self.timezone)).isoformat()

    def same_step(self, other: Grid) -> bool:
        """Whether both have equal steps; 24 hours equal a day where neither follows a local clock."""
        alike = not self.local and not other.local and self.step.on_clock == other.step.on_clock != 0
        return self.step == other.step or alike

    def between(self, first: int, last: int) -> int:
        """Steps from one time to another."""
        positions = self.positions(np.array([first, last], dtype=np.int64))
        return int(positions[1] - positions[0])

    @cached_property
    def _even(self) -> bool:
        """Whether all steps last equally long."""
        return not self.local and self.step.on_clock > 0

    def _clock(self, times: Times) -> Times:
        return wall_time(times, self.timezone) if self.local else times


def wall_time(times: Times, timezone: str) -> Times:
    """Local clock time, as nanoseconds since 1970-01-01 00:00 on that clock."""
    return times + _offsets(times, timezone)


def utc_time(wall: Times, timezone: str) -> Times:
    """UTC nanoseconds of local clock times.

    Of a time that the clock shows twice the first is meant; one that it skips is as far after the change as it would
    have been.
    """
    if timezone == "UTC":
        return wall
    zone = zoneinfo.ZoneInfo(timezone)
    seconds, of_second = np.unique(wall // SECOND, return_inverse=True)
    offsets = np.array([_offset_on_clock(int(second), zone) for second in seconds], dtype=np.int64)
    shift: Times = offsets[of_second.reshape(wall.shape)]
    return wall - shift


def _month_of(wall: Times) -> Positions:
    """Months since January 1970."""
    return (wall // DAY).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)


def _start_of_month(months: Positions) -> Times:
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) * DAY


def _stamp_in(months: Positions, phase: int) -> Times:
    """So many nanoseconds after the start of each month, but at its last day where it has no such day."""
    start = _start_of_month(months)
    days = (_start_of_month(months + 1) - start) // DAY
    stamps: Times = start + np.minimum(phase // DAY, days - 1) * DAY + phase % DAY
    return stamps


def _offset_on_clock(second: int, zone: zoneinfo.ZoneInfo) -> int:
    shown = (datetime(1970, 1, 1) + timedelta(seconds=second)).replace(tzinfo=zone)
    return _nanoseconds(shown.utcoffset())


def _offsets(times: Times, timezone: str) -> Times | int:
    """Nanoseconds that local time is ahead of UTC; the zone is asked once a day, or once a second when it changes."""
    if timezone == "UTC":
        return 0
    zone = zoneinfo.ZoneInfo(timezone)
    days, of_day = np.unique(times // DAY, return_inverse=True)
    starts = np.array([_offset(int(day) * DAY, zone) for day in days], dtype=np.int64)
    ends = np.array([_offset((int(day) + 1) * DAY - SECOND, zone) for day in days], dtype=np.int64)
    offsets = starts[of_day.reshape(times.shape)]
    changing = (starts != ends)[of_day.reshape(times.shape)]
    if changing.any():
        seconds, of_second = np.unique(times[changing] // SECOND, return_inverse=True)
        exact = np.array([_offset(int(second) * SECOND, zone) for second in seconds], dtype=np.int64)
        offsets[changing] = exact[of_second]
    return offsets


def _offset(time: int, zone: zoneinfo.ZoneInfo) -> int:
    return _nanoseconds(datetime.fromtimestamp(time // SECOND, UTC).astimezone(zone).utcoffset())


def _nanoseconds(offset: timedelta | None) -> int:
    return 0 if offset is None else round(offset.total_seconds()) * SECOND
