"""Times without a zone that skip and repeat hours as the clock of a zone does: they are local times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from flts.preprocess.grid import wall_time
from flts.preprocess.rows import Times
from flts.preprocess.source import RawTable
from flts.preprocess.times import is_zoned, utc_times
from flts.preprocess.zones import ZONES
from flts.spec.steps import DAY, HOUR

CHANCE = 0.05
"""Probability above which missing hours could lie by chance where a clock skips one."""


@dataclass(frozen=True)
class LocalClock:
    """A zone whose clock these times follow, one of several with the same changes.

    skipped, repeated: where the first hour begins that it skips and repeats, in ns on that clock; None without one.
    """

    zone: str
    skipped: int | None
    repeated: int | None


def find_clock(tables: Iterable[RawTable], time_column: str) -> LocalClock | None:
    """The clock that the times of these tables follow. None where they have zones, or show no change of a clock.

    Rows without a number do not count: some exports hold an empty row for the skipped hour.
    """
    times = np.sort(np.concatenate([_clock_times(table, time_column) for table in tables]))
    if len(times) < 2 or np.median(np.diff(times)) > HOUR:
        return None
    return next((clock for zone in ZONES if (clock := _followed(times, zone)) is not None), None)


def _clock_times(raw: RawTable, time_column: str) -> Times:
    """Nanoseconds on the clock of each row that holds a number; none where times have a zone or cannot be read."""
    import polars as pl
    import polars.selectors as cs

    frame, written = raw.table, raw.dialect.time_format
    if time_column not in frame.columns or not frame.height or is_zoned(frame[time_column], written):
        return np.empty(0, dtype=np.int64)
    times = utc_times(frame[time_column], raw.name, "UTC", [], time_format=written)
    held = frame.select(pl.any_horizontal((cs.numeric() - cs.by_name(time_column)).is_not_null())).to_series()
    numbers: Times = times.filter(held & times.is_not_null()).to_numpy()
    return numbers


def _followed(times: Times, zone: str) -> LocalClock | None:
    """The clock of this zone, if no row lies in an hour it skips, and rows show enough of its changes."""
    skipped, repeated = [], []
    for start, shift in _changes(int(times[0]), int(times[-1]), zone):
        before, inside, after = (_between(times, start + k * HOUR) for k in (-1, 0, 1))
        if shift > 0 and len(inside):
            return None
        if shift > 0 and len(before) and len(after):
            skipped.append(start)
        if shift < 0 and _twice(inside) and not _twice(before) and not _twice(after):
            repeated.append(start)
    if not repeated and (not skipped or not _beyond_chance(times, len(skipped))):
        return None
    return LocalClock(zone, min(skipped, default=None), min(repeated, default=None))


def _changes(first: int, last: int, zone: str) -> Iterable[tuple[int, int]]:
    """Each change by an hour: the start of the hour on the clock that it skips or repeats, and by how much it moves."""
    hours = np.arange(first // DAY - 1, last // DAY + 2, dtype=np.int64).repeat(24) * DAY
    hours += np.tile(np.arange(24) * HOUR, len(hours) // 24)
    ahead = wall_time(hours, zone) - hours
    for i in np.flatnonzero(np.abs(np.diff(ahead)) == HOUR):
        yield int(hours[i + 1] + min(ahead[i], ahead[i + 1])), int(ahead[i + 1] - ahead[i])


def _between(times: Times, start: int) -> Times:
    """The times within an hour from `start`."""
    return times[np.searchsorted(times, start) : np.searchsorted(times, start + HOUR)]


def _twice(times: Times) -> bool:
    """Whether most of these times stand there at least twice."""
    distinct = len(np.unique(times))
    return distinct > 0 and len(times) - distinct > distinct / 2


def _beyond_chance(times: Times, skipped: int) -> bool:
    """Whether single hours are so rarely missing that so many of them hardly lie at the changes by chance."""
    apart = np.diff(np.unique(times // HOUR))
    others = max(0, int((apart == 2).sum()) - skipped)
    return bool(len(ZONES) * (others / len(apart)) ** skipped <= CHANCE)
