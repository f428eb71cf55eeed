"""Raw rows → one row per cell of a regular grid in UTC, by a rule of the Spec.

Cell k holds the times from k·step up to (k + 1)·step, counted from 1970-01-01 00:00 UTC, and carries the time k·step.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flts.contracts.errors import DataError
from flts.preprocess.rows import Rows, Values
from flts.spec.fields import ResampleRule

MANY_CELLS, CELLS_PER_ROW = 1_000_000, 20
"""A grid with more cells than both limits comes from a wrong time or step: nearly empty, and too large for memory."""


def resample(rows: Rows, rule: ResampleRule, step: int, name: str) -> tuple[Rows, list[str]]:
    """Rows `step` nanoseconds apart from the first cell to the last, and a message with the counts.

    rows: sorted; several may have the same time. Each column is aggregated over its non-empty values; without any, the
    new cell is empty, also for a sum. Raises DataError for a grid that would be nearly empty.
    """
    if rule == "off":
        return rows, []
    cells = rows.times // step
    first, count = int(cells[0]), int(cells[-1] - cells[0]) + 1
    _refuse_sparse(first * step, count, len(rows), name)
    starts = np.flatnonzero(np.diff(cells, prepend=first - 1))
    values = np.full((count, len(rows.columns)), np.nan)
    filled = cells[starts] - first
    for i in range(len(rows.columns)):
        values[filled, i] = _aggregate(np.ascontiguousarray(rows.values[:, i]), starts, rule)
    gaps = count - len(starts)
    note = f'{name}: {len(rows):,} rows were resampled to {count:,} by preprocess.resample = "{rule}"'
    note += f"; {gaps:,} of them are empty" if gaps else ""
    return Rows((first + np.arange(count, dtype=np.int64)) * step, values, rows.columns), [note]


def _aggregate(column: Values, starts: NDArray[np.intp], rule: ResampleRule) -> Values:
    """One value for each run of rows that begins at `starts`; NaN where the run holds none."""
    match rule:
        case "min":
            return np.fmin.reduceat(column, starts)
        case "max":
            return np.fmax.reduceat(column, starts)
        case "first" | "last":
            return _end(column, starts, rule)
    present = ~np.isnan(column)
    counts = np.add.reduceat(present, starts, dtype=np.int64)
    sums = np.add.reduceat(np.where(present, column, 0.0), starts)
    return np.where(counts == 0, np.nan, sums / np.maximum(counts, 1) if rule == "mean" else sums)


def _end(column: Values, starts: NDArray[np.intp], rule: ResampleRule) -> Values:
    """The first or last value of each run, in order of time; rows of the same time keep the order of their file."""
    rows = np.arange(len(column))
    empty = np.isnan(column)
    if rule == "first":
        index = np.minimum.reduceat(np.where(empty, len(column), rows), starts)
        return np.append(column, np.nan)[index]
    index = np.maximum.reduceat(np.where(empty, -1, rows), starts)
    return np.append(column, np.nan)[index]  # -1 is the NaN after the last row


def _refuse_sparse(start: int, cells: int, rows: int, name: str) -> None:
    if start < np.iinfo(np.int64).min:
        raise DataError(
            f"{name}: the first grid cell would start before 1677-09-21, the earliest time that can be stored;"
            " use a shorter dataset.step",
            code="step-too-long",
            file=name,
        )
    if cells > max(MANY_CELLS, CELLS_PER_ROW * rows):
        raise DataError(
            f"{name}: preprocess.resample would turn {rows:,} rows into {cells:,}; the first or the last time is far"
            " from all others, or dataset.step is too short",
            code="grid-too-sparse",
            file=name,
            rows=rows,
            cells=cells,
        )
