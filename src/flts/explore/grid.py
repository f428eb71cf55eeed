"""The rows on the grid that a run would put them on; where no run could, means on a grid that suits them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flts.contracts.errors import DataError
from flts.explore.statistics import seasons_seen
from flts.preprocess.grid import Grid
from flts.preprocess.infer import MOST, PLAIN, infer_grid, infer_seasons
from flts.preprocess.place import place
from flts.preprocess.rows import Rows, Times
from flts.spec.steps import DAY, Step

YEAR = 365 * DAY
GAPS_SHOWN = 5
FEW = 0.25
"""Share of the rows that follow another by the step below which it is not theirs, such as a second between events."""
STEPS = (*PLAIN, *(Step.parse(text) for text in ("1d", "1w", "1mo", "3mo", "1y")))
"""Steps for rows that have none, shortest first."""


@dataclass(frozen=True)
class Placed:
    """Rows on a grid, as they are where that grid would be nearly empty.

    own: the grid that the times of train suggest; grid: the one the rows were put on, another one where they have no
    step of their own; merged: whether a row became the mean of its step, because some share a step or lie off the grid.
    """

    own: Grid
    grid: Grid
    merged: bool
    train: Rows
    test: Rows | None
    off_grid: int
    """Rows of both files that are not at a time of their own grid."""
    sharing: int
    """Rows of both files whose step on it holds an earlier row."""
    rows: int
    """Rows of both files."""


@dataclass(frozen=True)
class Gap:
    """Times (UTC ns) of the rows around the gap, and how many rows of the grid lie between them without a value."""

    after: int
    before: int
    missing: int


@dataclass(frozen=True)
class Timeline:
    """What the rows of train hold over time, and how regular those of test are."""

    first: int
    last: int
    regular: float
    """Share of the rows with a value that follow another by one step."""
    test_regular: float | None
    gaps: tuple[Gap, ...]
    """The longest ones, longest first."""
    gap_count: int
    missing_rows: int
    """Rows of the grid without any value, between the first and the last with one."""


def on_grid(train: Rows, test: Rows | None, timezone: str, name: str) -> Placed:
    """Place the rows of each file. Rows: sorted, one per time. Raises DataError for fewer than two rows."""
    files = [train] if test is None else [train, test]
    own = infer_grid(train.times, "infer", timezone, "off", name)
    off_grid, sharing = 0, 0
    for rows in files:
        nearest, off = own.nearest(rows.times)
        off_grid += int((off > own.tolerance).sum())
        sharing += int((np.diff(nearest) == 0).sum())
    count = sum(map(len, files))
    grid, merged = own, off_grid + sharing > 0
    if off_grid + sharing > (1.0 - MOST) * count or _following(own, train.times) < FEW:
        grid = _suitable(own, train.times, timezone, name)
        merged = merged or grid.step != own.step
    elif merged:
        grid = infer_grid(train.times, str(own.step), timezone, "mean", name)
    with suppress(DataError):  # the grid would be nearly empty: one time is far from all others, as the gaps show
        files = [place(rows, grid, "mean" if merged else "off", name)[0] for rows in files]
    return Placed(own, grid, merged, files[0], None if test is None else files[1], off_grid, sharing, count)


def timeline(train: Rows, test: Rows) -> Timeline:
    """The gaps between the rows that hold a value; rows on a grid."""
    held = np.flatnonzero(holds_value(train))
    apart = np.diff(held)
    wide = np.flatnonzero(apart > 1)
    longest = wide[np.argsort(-apart[wide], kind="stable")][:GAPS_SHOWN]
    return Timeline(
        int(train.times[0]),
        int(train.times[-1]),
        _regular(train) or 0.0,
        _regular(test),
        tuple(
            Gap(int(train.times[held[i]]), int(train.times[held[i + 1]]), missing=int(apart[i]) - 1) for i in longest
        ),
        len(wide),
        int((apart - 1).sum()),
    )


def holds_value(rows: Rows) -> NDArray[np.bool_]:
    """Whether each row holds a value in some column: [rows]; all do where there is no column."""
    return np.asarray(~np.isnan(rows.values).all(axis=1)) if rows.columns else np.ones(len(rows), dtype=bool)


def seasons_of(grid: Grid, rows: int) -> Mapping[str, int]:
    """Day, week and year in steps, where so many rows hold enough of them to measure them."""
    lengths = infer_seasons(grid, rows)
    if grid.step.fixed and YEAR % grid.step.count == 0:
        lengths = [*lengths, YEAR // grid.step.count]
    named = {_cycle(grid.step.lasting(length)): length for length in lengths}
    return seasons_seen(named, rows)


def _cycle(duration: int) -> str:
    return "day" if duration <= DAY else "week" if duration <= 7 * DAY else "year"


def _regular(rows: Rows) -> float | None:
    apart = np.diff(np.flatnonzero(holds_value(rows)))
    return float(np.mean(apart == 1)) if len(apart) else None


def _following(grid: Grid, times: Times) -> float:
    """Share of the steps with a row that follow another such step."""
    apart = np.diff(np.unique(grid.positions(times)))
    return float(np.mean(apart == 1)) if len(apart) else 1.0


def _suitable(own: Grid, times: Times, timezone: str, name: str) -> Grid:
    """The grid of the shortest plain step that is not below the usual one and on which most rows follow another."""
    grid, median = own, float(np.median(np.diff(times)))
    for step in STEPS:
        if step.nanoseconds >= 0.99 * median:
            grid = infer_grid(times, str(step), timezone, "mean", name)
            if _following(grid, times) >= MOST:
                break
    return grid
