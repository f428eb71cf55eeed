"""Rows that keep the clock of a zone although their times are written in UTC or with offsets: its days are theirs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flts.preprocess.grid import Grid, wall_time
from flts.preprocess.infer import MOST, SLACK, follows_clocks, stamped
from flts.preprocess.rows import Times
from flts.spec.steps import DAY

ZONES = (
    *("Europe/Berlin", "Europe/London", "Europe/Helsinki", "America/New_York"),
    *("Australia/Sydney", "Pacific/Auckland", "America/Santiago"),
)
"""One zone for each usual pair of date and hour at which clocks change: 01:00 UTC in Europe, 02:00 in North America,
and in the south on other dates, with summer time around the new year."""
FEW = 2
"""Rows on each side of a change of the clock that show it."""


def kept_zone(times: Times, grid: Grid) -> str | None:
    """The zone whose clock these rows keep across its changes, and the clock of their grid does not show.

    One of several with the same changes, if possible one in which the rows lie at the start of a day. None where the
    rows keep the clock of their grid, and for steps that no clock moves. times: UTC ns.

    A clock changes by an hour, which is within the tolerance of a day or a month, so such rows are not refused.
    """
    if not grid.tolerance or not follows_clocks(grid.step):
        return None
    moved = ~_kept(grid, times)
    zones = [zone for zone in ZONES if _sees_a_change(times, zone)] if moved.any() else []
    if not zones:
        return None
    grids = [stamped(times, grid.step, zone, True, grid.tolerance, False) for zone in zones]
    best = max(grids, key=lambda found: (float(_kept(found, times).mean()), found.phase % DAY == 0))
    kept = _kept(best, times)
    return best.timezone if kept.mean() >= MOST and kept[moved].mean() >= MOST else None


def _sees_a_change(times: Times, zone: str) -> bool:
    """Whether rows lie before and after a change of the clock: rows between two changes show no clock."""
    _, counts = np.unique(wall_time(times, zone) - times, return_counts=True)
    return len(counts) > 1 and bool(counts.min() >= FEW)


def _kept(grid: Grid, times: Times) -> NDArray[np.bool_]:
    """Which rows lie at a time of the grid: [rows]."""
    return np.asarray(grid.nearest(times)[1] <= SLACK)
