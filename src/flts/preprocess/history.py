"""The history of a request, read by the rules that read train: the zone, the grid and the resample rule."""

from __future__ import annotations

from flts.contracts.errors import DataError
from flts.contracts.notices import Notice
from flts.preprocess.parquet import TIME
from flts.preprocess.place import begun_only, place, refuse_repeated
from flts.preprocess.read import Reading, read_rows
from flts.preprocess.rows import Rows
from flts.preprocess.source import Raw, RawTable
from flts.preprocess.transform import FittedPreprocess
from flts.spec.fields import Dataset


def read_history(raw: Raw, fitted: FittedPreprocess, time_column: str) -> Reading:
    """All rows of a table with the columns of `fitted` in its order, on its grid; empty cells stay empty.

    A newest step that is not over yet is left out with a warning: the sum of half an hour is not that of an hour.

    time_column: its name in the train rows; a table without it has its times in 'time'. Raises DataError for missing
    columns and for rows that do not fit the grid.
    """
    table = RawTable(raw.name, raw.frame())
    time = time_column if time_column in table.table.columns else TIME
    rows = read_rows(table, Dataset(time_column=time, timezone=fitted.grid.timezone)).rows
    absent = [column for column in fitted.names if column not in rows.columns]
    if absent:
        raise DataError(
            f"{raw.name}: lacks the numeric columns {', '.join(absent)}; the model needs {', '.join(fitted.names)}",
            code="columns-missing",
            file=raw.name,
            columns=absent,
            expected=fitted.names,
        )
    rows = Rows(rows.times, rows.select(fitted.names), fitted.names)
    if not fitted.placed:
        refuse_repeated(rows.times, rows.times, raw.name)
        return Reading(rows, [])
    placed, _ = place(rows, fitted.grid, fitted.resample, raw.name)
    if fitted.resample == "off" or not begun_only(rows.times, fitted.grid):
        return Reading(placed, [])
    last = fitted.grid.shown(rows.times[-1])
    begun = f"{raw.name}: the step of {fitted.grid} that begins at {fitted.grid.shown(placed.times[-1])} is left out:"
    text = f"{begun} its rows end at {last}, earlier than in the steps before"
    return Reading(placed[:-1], [Notice("step-not-over", text)])
