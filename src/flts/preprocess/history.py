"""The history of a request, read by the rules that read train: the zone, the grid and the resample rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from flts.contracts.errors import DataError, near_misses
from flts.contracts.notices import Notice
from flts.preprocess.place import begun_only, lay, refuse_repeated
from flts.preprocess.read import Reading, no_time_column, read_rows, unusable
from flts.preprocess.rows import Rows, Times
from flts.preprocess.source import Raw
from flts.preprocess.tidy import tidy
from flts.preprocess.time_column import time_among
from flts.preprocess.times import at, quoted
from flts.preprocess.transform import FittedPreprocess
from flts.spec.dataset import Dataset

SHOWN = 20
"""Columns that a warning names."""


def read_history(raw: Raw, fitted: FittedPreprocess, time_column: str, needed: Sequence[str] | None = None) -> Reading:
    """All rows of a table with the columns of `fitted` in its order, on its grid; empty cells stay empty.

    Other columns are named in a warning, whatever they hold. Without a resample rule, one of several rows with the same
    time and values is kept, with a warning. A newest step that is not over yet is left out with a warning: the sum of
    half an hour is not that of an hour.

    time_column: its name in the train rows; a table without it has its times elsewhere (`time_column.time_among`).
    needed: the columns of `fitted` that must be there, by default all; another one that is absent is empty. Raises
    DataError for missing columns and for rows that do not fit the grid.
    """
    loaded = raw.loaded()
    time = time_among(loaded.table, time_column, loaded.index)
    if time not in loaded.table.columns and len(loaded.table):
        raise no_time_column(loaded.table, raw.name, time_column, f"call it '{time_column}', as in training")
    loaded = tidy(loaded, time)
    frame = loaded.table
    used = [name for name in (time, *fitted.names) if name in frame.columns]
    if time in frame.columns:
        loaded = replace(loaded, table=frame.select(used))
    reading = read_rows(loaded, Dataset(time_column=time, timezone=fitted.grid.timezone))
    rows = reading.rows
    needed = fitted.names if needed is None else tuple(needed)
    absent = [column for column in needed if column not in rows.columns]
    if absent:
        if absent[0] in frame.columns:
            raise unusable(absent[0], frame, rows.columns, raw.name)
        raise DataError(
            f"{raw.name}: lacks the numeric columns {', '.join(absent)}; the model needs {', '.join(needed)}"
            f"{near_misses(absent, (name for name in frame.columns if name not in fitted.names))}",
            code="columns-missing",
            file=raw.name,
            columns=absent,
            expected=needed,
        )
    values = np.full((len(rows), len(fitted.names)), np.nan)
    found = [at for at, column in enumerate(fitted.names) if column in rows.columns]
    values[:, found] = rows.select([fitted.names[at] for at in found])
    reading = replace(reading, rows=Rows(rows.times, values, fitted.names))
    return settle(reading, [name for name in frame.columns if name not in used], fitted, raw.name)


def settle(reading: Reading, extra: Sequence[str], fitted: FittedPreprocess, name: str) -> Reading:
    """The second half of `read_history`, for callers that have arrays: it computes with numpy alone.

    reading: the columns of `fitted` in order of time; extra: the other columns of the table, which the warning names.
    """
    warnings = [*_unused(extra, name), *reading.warnings]
    if fitted.resample == "off":
        reading, repeats = _without_repeats(reading, name)
        warnings += repeats
    rows, given = reading.rows, reading.given
    if not fitted.placed:
        refuse_repeated(rows.times, rows.times, name, given)
        return Reading(Rows(rows.times, np.ascontiguousarray(rows.values), rows.columns), warnings, given)
    placed, index = lay(rows, fitted.grid, fitted.resample, name, given)
    given = np.where(index >= 0, given[index], -1)
    if fitted.resample == "off":
        return Reading(placed, warnings, given)
    begun = _targets_end_early(rows, placed.times, fitted, name)
    if not begun_only(rows.times, fitted.grid):
        return Reading(placed, warnings, given, begun)
    left_out = _not_over(placed.times[-1], rows.times[-1], fitted, name, "its rows")
    return Reading(placed[:-1], [*warnings, left_out], given[:-1], begun)


def _targets_end_early(rows: Rows, placed: Times, fitted: FittedPreprocess, name: str) -> tuple[int, Notice] | None:
    """Where among the placed times the step is in which the targets end too early, with later rows after it."""
    held = rows.times[~np.isnan(rows.values[:, fitted.target_index]).all(axis=1)]
    if len(held) in (0, len(rows)) or not begun_only(held, fitted.grid):
        return None
    row = int(np.searchsorted(placed, held[-1], side="right")) - 1
    if row == len(placed) - 1:
        return None
    return row, _not_over(placed[row], held[-1], fitted, name, "its targets")


def _not_over(step: np.int64, last: np.int64, fitted: FittedPreprocess, name: str, what: str) -> Notice:
    """The warning that a step counts for nothing, because what is known of it ends at the time `last`."""
    shown = fitted.grid.shown
    begun = f"{name}: the step of {fitted.grid} that begins at {shown(step)} is left out:"
    return Notice("step-not-over", f"{begun} {what} end at {shown(last)}, earlier than in the steps before")


def _unused(extra: Sequence[str], name: str) -> list[Notice]:
    """A warning that names the columns that the model does not use."""
    if not extra:
        return []
    more = f" and {len(extra) - SHOWN} more" if len(extra) > SHOWN else ""
    text = f"{name}: columns that the model does not use: {', '.join(map(quoted, extra[:SHOWN]))}{more}"
    return [Notice("columns-unused", text, extra[0])]


def _without_repeats(reading: Reading, name: str) -> tuple[Reading, list[Notice]]:
    """One of several rows with the same time and the same values, empty cells included, and a warning about them.

    Rows of one time with other values stay; the grid refuses them.
    """
    times, values = reading.rows.times, reading.rows.values
    again = times[1:] == times[:-1]
    if not again.any():
        return reading, []
    before, after = values[:-1], values[1:]
    again &= ((before == after) | (np.isnan(before) & np.isnan(after))).all(axis=1)
    if not again.any():
        return reading, []
    kept = np.concatenate([[True], ~again])
    row, count = int(reading.given[~kept].min()), int(again.sum())
    text = f"{name}: {count:,} rows repeat the time and all values of another row (first {at(row)}); one is kept"
    rows = Rows(times[kept], values[kept], reading.rows.columns)
    return Reading(rows, [], reading.given[kept]), [Notice("rows-repeated", text, row=row + 1)]
