"""Local times without an offset → UTC: the order of the rows tells apart the times that the clock shows twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from flts.preprocess.rows import Times

Flags = NDArray[np.bool_]
MANY = 4
"""Steps back for each step forward in a file that is newest first; in no order there are as many of both."""
ALIKE = 0.1
"""Steps are alike that differ by at most this share of the change of the clock: rows may be off by seconds."""


def second_pass(wall: Times, change: Times) -> Flags:
    """Which rows have a time that the clock showed before, [rows].

    wall: local times in the order of the file, oldest or newest first; change: nanoseconds by which the clock goes back
    where it shows a time twice, 0 elsewhere. A time that the file has only once is the first of both.
    """
    again = np.zeros(len(wall), dtype=bool)
    if not change.any():
        return again
    apart = np.diff(wall)
    if np.sum(apart < 0) > MANY * np.sum(apart > 0):
        return second_pass(wall[::-1], change[::-1])[::-1]
    usual = float(np.median(apart[apart > 0])) if (apart > 0).any() else float(change.max())
    for rows in _changes(wall, change):
        together = rows[-1] - rows[0] + 1 == len(rows)
        again[rows] = _after_the_change(wall, rows, int(change[rows[0]]), usual) if together else _repeated(wall[rows])
    return again


def _changes(wall: Times, change: Times) -> Iterator[NDArray[np.intp]]:
    """The rows of each hour that is shown twice, in the order of the file."""
    rows = np.flatnonzero(change)
    rows = rows[np.argsort(wall[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(wall[rows]) > change.max()) + 1
    yield from (np.sort(part) for part in np.split(rows, starts))


def _after_the_change(wall: Times, rows: NDArray[np.intp], change: int, usual: float) -> Flags:
    """The clock goes back in the smallest step between neighbours; of steps that are alike, in the last one."""
    around = wall[max(rows[0] - 1, 0) : rows[-1] + 2]
    steps = np.diff(around).astype(np.float64)
    before = steps[:1] if rows[0] > 0 and steps[0] >= 0 else np.array([usual])
    after = steps[-1:] if rows[-1] + 1 < len(wall) and steps[-1] >= 0 else np.array([usual])
    steps = np.concatenate([before, np.diff(wall[rows]), after])
    last = int(np.flatnonzero(steps <= steps.min() + ALIKE * change)[-1])
    return np.arange(len(rows)) >= last


def _repeated(wall: Times) -> Flags:
    """Rows in no order: of two rows with one time the later one is the second."""
    order = np.argsort(wall, kind="stable")
    again = np.zeros(len(wall), dtype=bool)
    again[order[1:]] = np.diff(wall[order]) == 0
    return again
