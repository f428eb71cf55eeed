"""Rows as a file has them → one row per position of a grid; an absent row is a row of empty cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flts.contracts.errors import DataError
from flts.preprocess.grid import Grid
from flts.preprocess.rows import Indices, Positions, Rows, Times, Values
from flts.spec.fields import ResampleRule

MANY_ROWS, ROWS_PER_ROW = 1_000_000, 20
"""A grid with more rows than both limits comes from a wrong time or step: nearly empty, and too large for memory."""
SHOWN = 3
EVEN = 0.1
"""Share by which distances of rows may differ and still be even."""


def place(rows: Rows, grid: Grid, rule: ResampleRule, name: str, keeps: str | None = None) -> tuple[Rows, list[str]]:
    """The rows from the first position to the last, and a message with the counts where rows were merged or added.

    rows: sorted, times as a file has them. rule: how several rows of one position become one: each column is aggregated
    over its non-empty cells, and without any its cell is empty, also for a sum; "off" refuses such rows, and rows off
    the grid. keeps: the zone whose clock the rows keep instead of that of the grid, for this message. Raises DataError
    naming the file and the row; also for a grid that would be nearly empty.
    """
    placed, first = lay(rows, grid, rule, name, keeps=keeps)
    return placed, _notes(len(rows), len(placed), int((first >= 0).sum()), rule, grid, name)


def lay(
    rows: Rows, grid: Grid, rule: ResampleRule, name: str, given: Indices | None = None, keeps: str | None = None
) -> tuple[Rows, Indices]:
    """The rows of `place`, and which of the rows each of them is: [placed rows].

    The first one where several became one, and -1 where none did. given [rows]: the row of the table that each row is,
    for messages; without it they count in order of time. keeps: as for `place`.
    """
    if rule == "off" and grid.follows(rows.times):
        return Rows(rows.times, np.ascontiguousarray(rows.values), rows.columns), np.arange(len(rows), dtype=np.int64)
    if rule == "off":
        positions, off = grid.nearest(rows.times)
        _refuse_off_grid(rows.times, off, grid, name, given, keeps)
    else:
        positions = grid.positions(rows.times)
    first, count = int(positions[0]), int(positions[-1] - positions[0]) + 1
    _refuse_sparse(count, len(rows), grid, name)
    starts = np.flatnonzero(np.diff(positions, prepend=first - 1))
    if rule == "off":
        refuse_repeated(rows.times, positions, name, given)
    times = grid.times(first + np.arange(count, dtype=np.int64))
    _refuse_too_early(times, rows.times, name)
    where = positions[starts] - first
    values = np.full((count, len(rows.columns)), np.nan)
    if rule == "off":
        values[where] = rows.values
    else:
        for i in range(len(rows.columns)):
            values[where, i] = _aggregate(np.ascontiguousarray(rows.values[:, i]), starts, rule)
    index = np.full(count, -1, dtype=np.int64)
    index[where] = starts
    return Rows(times, values, rows.columns), index


def begun_only(times: Times, grid: Grid) -> bool:
    """Whether the newest step is not over yet: its rows end earlier in it than those of the steps before usually do.

    times: sorted, of several rows per step. Rows at odd times can end anywhere in a step, and say nothing.
    """
    positions = grid.positions(times)
    last = np.flatnonzero(np.diff(positions, append=positions[-1] + 1))
    apart = np.diff(times)
    usual = float(np.median(apart)) if len(apart) else 0.0
    if len(last) < 2 or np.mean(np.abs(apart - usual) <= EVEN * usual) < 0.5:
        return False
    into = times[last] - grid.times(positions[last])
    return bool(into[-1] < np.median(into[:-1]) - usual / 2.0)


def _notes(before: int, count: int, held: int, rule: ResampleRule, grid: Grid, name: str) -> list[str]:
    absent = count - held
    empty = f"{absent:,} of {count:,} rows are absent and count as empty cells" if absent else ""
    if rule != "off" and before != held:
        merged = f'{before:,} rows became {count:,} on the grid of {grid} by preprocess.resample = "{rule}"'
        return [f"{name}: {merged}{f'; {absent:,} of them are empty' if absent else ''}"]
    return [f"{name}: {empty}"] if empty else []


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


def _refuse_off_grid(times: Times, off: Times, grid: Grid, name: str, given: Indices | None, keeps: str | None) -> None:
    stray = np.flatnonzero(off > grid.tolerance)
    if not len(stray):
        return
    first = int(stray[0] if given is None else stray[np.argmin(given[stray])])
    row = first if given is None else int(given[first])
    hint = f"{keeps_clock(keeps)}; or " if keeps else ""
    raise DataError(
        f"{name}: {len(stray):,} of {len(times):,} rows are not on the grid of {grid} (first {_utc(times[first])} UTC,"
        f' row {row + 1}{" in order of time" if given is None else ""}); {hint}set preprocess.resample, such as "mean",'
        " and dataset.step, or correct the times",
        code="off-grid",
        file=name,
        row=row + 1,
        rows=len(stray),
        found=_utc(times[first]),
        step=str(grid.step),
        zone=keeps,
    )


def keeps_clock(zone: str) -> str:
    """What to do about rows that keep the clock of a zone instead of that of their grid, for a sentence."""
    return (
        f"the rows keep a clock such as that of {zone} when it changes: set dataset.timezone to their zone, and write"
        " times in UTC with their offset, such as Z"
    )


def refuse_repeated(times: Times, positions: Positions, name: str, given: Indices | None = None) -> None:
    """Raise DataError where two rows have one position; given: as for `lay`."""
    same = np.flatnonzero(np.diff(positions) == 0)
    if not len(same):
        return
    shown = ", ".join(_utc(time) for time in times[same[:SHOWN]])
    numbers = np.arange(len(times)) if given is None else given
    row, other = (int(numbers[same[0] + i]) + 1 for i in (1, 0))
    which = "" if given is None else f", first row {row} that of row {other}"
    raise DataError(
        f"{name}: {len(same)} rows repeat the time of another row (UTC {shown}{which}); keep one row per time, or set"
        ' preprocess.resample, such as "mean", to merge them',
        code="repeated-times",
        file=name,
        rows=len(same),
        row=row,
    )


def _refuse_sparse(count: int, rows: int, grid: Grid, name: str) -> None:
    if count > max(MANY_ROWS, ROWS_PER_ROW * rows):
        raise DataError(
            f"{name}: {rows:,} rows would become {count:,} on the grid of {grid}; the first or the last time is far"
            " from all others, or dataset.step is too short",
            code="grid-too-sparse",
            file=name,
            rows=rows,
            cells=count,
        )


def _refuse_too_early(times: Times, before: Times, name: str) -> None:
    """A long step can start before the earliest time that 64 bits hold; it then wraps around to a late one."""
    if times[0] > before[-1]:
        raise DataError(
            f"{name}: the first step would start before 1677-09-21, the earliest time that can be stored; use a shorter"
            " dataset.step",
            code="step-too-long",
            file=name,
        )


def _utc(time: np.int64) -> str:
    return str(np.datetime64(int(time), "ns").astype("datetime64[s]"))
