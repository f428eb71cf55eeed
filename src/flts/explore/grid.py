"""The times of the rows: step, gaps, regularity; and the equidistant grid on which figures over time are measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from flts.contracts.errors import DataError
from flts.explore.statistics import seasons_seen
from flts.preprocess.fit import DAY, MIN_REGULAR, WEEK, infer_step
from flts.preprocess.resample import CELLS_PER_ROW, MANY_CELLS, resample
from flts.preprocess.rows import Rows, Times, Values
from flts.preprocess.transform import wall_time
from flts.spec.fields import STEP_UNITS, parse_step

HOUR, YEAR = DAY // 24, 365 * DAY
CLOCKS = ("Europe/Berlin", "America/New_York")
"""One zone for each of the two usual dates on which clocks go forward, in both at 02:00."""
CALENDAR = {"day": DAY, "week": WEEK, "year": YEAR}
GAPS_SHOWN = 5
FULL = 0.9
"""Share of the cells of a grid that must hold a row for its step to be suggested."""
STEPS = (
    *(f"{n}ms" for n in (1, 10, 100)),
    *(f"{n}s" for n in (1, 2, 5, 10, 15, 20, 30)),
    *(f"{n}min" for n in (1, 2, 5, 10, 15, 20, 30)),
    *(f"{n}h" for n in (1, 2, 3, 4, 6, 8, 12)),
    *(f"{n}d" for n in (1, 7)),
)
"""Steps that divide a day, and whole days."""


@dataclass(frozen=True)
class Gap:
    """Times (UTC ns) of the rows around the gap, and the number of rows that would fill it."""

    after: int
    before: int
    missing: int


@dataclass(frozen=True)
class Timeline:
    """The times of train, and how regular those of test are."""

    first: int
    last: int
    step: int
    """The most common difference, ns."""
    regular: float
    """Share of the rows that follow the one before by the step."""
    test_regular: float | None
    gaps: tuple[Gap, ...]
    """The longest ones, longest first."""
    gap_count: int
    missing_rows: int
    off_grid: int
    """Rows whose distance to the row before is not a whole number of steps."""
    months: bool
    """Whether all rows are a month apart, which no fixed step describes."""
    suggested: str | None
    """A step to resample to, where too few rows are regular."""


@dataclass(frozen=True)
class Grid:
    """Train on equidistant times, NaN where there is no row.

    resampled: the step of the grid when the rows are too irregular for their own; seasons: name → rows.
    """

    rows: Rows
    step: int
    resampled: str | None
    seasons: Mapping[str, int]

    def column(self, name: str) -> Values:
        """One column [rows]."""
        return self.rows.values[:, self.rows.columns.index(name)]


def timeline(train: Rows, test: Rows | None) -> Timeline:
    """Step and gaps. Raises DataError for fewer than two rows."""
    step = infer_step(train.times, "infer", "train")
    differences = np.diff(train.times)
    wide = np.flatnonzero(differences > step)
    order = wide[np.argsort(-differences[wide], kind="stable")][:GAPS_SHOWN]
    regular = float(np.mean(differences == step))
    days = differences / DAY
    months = bool(len(days) > 2 and ((days >= 28) & (days <= 31)).all() and days.min() < days.max())
    return Timeline(
        int(train.times[0]),
        int(train.times[-1]),
        step,
        regular,
        float(np.mean(np.diff(test.times) == step)) if test is not None and len(test) > 1 else None,
        tuple(
            Gap(int(train.times[i]), int(train.times[i + 1]), max(1, int(differences[i] // step) - 1)) for i in order
        ),
        len(wide),
        int((differences[wide] // step - 1).sum()),
        int((differences % step != 0).sum()),
        months,
        suggest_step(train.times) if regular < MIN_REGULAR and not months else None,
    )


def local_zone(times: Times) -> tuple[str, int] | None:
    """A zone whose clocks skip exactly the hours missing from these times, read as UTC; and the first such hour.

    None unless rows lie in the hour before and the hour after each skipped hour, and none in it.
    """
    for zone in CLOCKS:
        hours = _skipped_hours(int(times[0]), int(times[-1]), zone)
        around = [h for h in hours if _rows(times, h - HOUR, h) and _rows(times, h + HOUR, h + 2 * HOUR)]
        if around and not any(_rows(times, h, h + HOUR) for h in around):
            return zone, around[0]
    return None


def _skipped_hours(first: int, last: int, zone: str) -> list[int]:
    """The hours from 2 to 3 in which clocks go forward, as nanoseconds of local clock time."""
    days = np.arange(first // DAY, last // DAY + 2, dtype=np.int64) * DAY
    ahead = np.diff(wall_time(days, zone) - days)
    return [int(day) + 2 * HOUR for day in days[:-1][ahead == HOUR]]


def _rows(times: Times, start: int, end: int) -> int:
    return int(np.searchsorted(times, end) - np.searchsorted(times, start))


def suggest_step(times: Times) -> str:
    """The shortest plain step at which most cells of a grid hold a row."""
    median = float(np.median(np.diff(times)))
    for text in STEPS:
        step = parse_step(text)
        if step < 0.99 * median:
            continue
        cells = times // step
        if len(np.unique(cells)) >= FULL * (int(cells[-1] - cells[0]) + 1):
            return text
    return next((text for text in STEPS if parse_step(text) >= 0.99 * median), STEPS[-1])


def on_grid(train: Rows, times: Timeline) -> Grid:
    """Regular rows on their own step, irregular ones as means per cell; unchanged where the grid would be sparse."""
    if times.suggested is not None:
        try:
            rows, _ = resample(train, "mean", parse_step(times.suggested), "train")
        except DataError:  # the grid would be nearly empty: one time is far from all others, as the gaps show
            return Grid(train, times.step, None, {})
        return Grid(rows, parse_step(times.suggested), times.suggested, _seasons(parse_step(times.suggested), rows))
    if times.months:
        return Grid(train, times.step, None, {})
    cell = np.round((train.times - train.times[0]) / times.step).astype(np.int64)
    cells = int(cell[-1]) + 1
    if cells == len(train) or cells > max(MANY_CELLS, CELLS_PER_ROW * len(train)):
        return Grid(train, times.step, None, _seasons(times.step, train))
    values = np.full((cells, len(train.columns)), np.nan)
    values[cell] = train.values
    rows = Rows(train.times[0] + times.step * np.arange(cells, dtype=np.int64), values, train.columns)
    return Grid(rows, times.step, None, _seasons(times.step, rows))


def _seasons(step: int, rows: Rows) -> dict[str, int]:
    whole = {name: length // step for name, length in CALENDAR.items() if length % step == 0}
    return seasons_seen(whole, len(rows))


def step_text(step: int) -> str | None:
    """A step as the Spec writes it; None for one below a millisecond."""
    for unit, size in sorted(STEP_UNITS.items(), key=lambda item: -item[1]):
        if step % size == 0:
            return f"{step // size}{unit}"
    return None
