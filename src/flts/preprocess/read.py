"""A table → rows, or one error that names file, column and row.

Times become UTC nanoseconds, and numeric columns float64 with NaN for an empty cell. Other columns are left out, and a
warning names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flts.contracts.errors import DataError, nearest
from flts.contracts.notices import Notice
from flts.preprocess.dialect import Dialect
from flts.preprocess.marks import looks_like, not_a_number
from flts.preprocess.parquet import TIME
from flts.preprocess.rows import Indices, Rows, Values
from flts.preprocess.source import Raw, RawTable
from flts.preprocess.tidy import tidy
from flts.preprocess.times import (
    Faults,
    at,
    is_zoned,
    looks_like_times,
    nearly_times,
    quoted,
    utc_times,
    written_format,
)
from flts.spec.dataset import Dataset
from flts.spec.resolved import rows_in_test
from flts.spec.targets import targets_among
from flts.spec.time_formats import ISO

if TYPE_CHECKING:
    import polars as pl

NAMED = "set dataset.time_column (--time)"
"""What to do with a column of times that has another name."""
LARGEST = 1e30
"""Larger numbers are refused like infinities: features have 32 bits, and sums of squares must fit 64."""


@dataclass(frozen=True)
class Reading:
    """The rows of one table, and warnings about them.

    given [rows]: the row of the table that each of them is, from 0; the first one where several became one, and -1
    where the table has none. begun: the row in whose step the targets end although it is not over and later rows
    follow, with the warning about it; None where there is none.
    """

    rows: Rows
    warnings: list[Notice]
    given: Indices
    begun: tuple[int, Notice] | None = None


@dataclass(frozen=True)
class Columns:
    """The readable columns of a table, in the order of its rows; their values are not checked yet."""

    times: pl.Series
    """UTC nanoseconds; null where the time cannot be used."""
    zoned: bool
    numbers: list[pl.Series]
    text: tuple[str, ...]
    """Names of the columns that are not numeric."""


def read_rows(raw: Raw, dataset: Dataset) -> Reading:
    """All numeric columns of a table, sorted by time; rows of one time keep the order of the table.

    Raises DataError naming file, column and row.
    """
    loaded = tidy(raw.loaded(), dataset.time_column)
    columns = _usable_columns(loaded, dataset)
    warnings = [Notice("reading", note) for note in loaded.notes]
    if columns.text:
        text = f"{raw.name}: columns that are not numeric were left out: {', '.join(columns.text)}"
        warnings.append(Notice("columns-not-numeric", text, columns.text[0]))
    names = tuple(column.name for column in columns.numbers)
    values = stack(columns.numbers, len(columns.times))
    exists = columns.times.is_not_null().to_numpy()  # a time that cannot be used in another way was refused
    times, values = columns.times.drop_nulls().to_numpy(), values if exists.all() else values[exists]
    given = np.flatnonzero(exists)
    if not exists.all():
        first = int(np.argmin(exists))
        text = (
            f"{raw.name}: {np.sum(~exists):,} rows without a value have a time that the clock of {dataset.timezone}"
            f" skips (first {at(first)}); they were left out"
        )
        warnings.append(Notice("times-skipped", text, row=first + 1))
    if not len(times):
        raise _no_rows(raw.name)
    ordered = in_order(Rows(times, values, names), given, raw.name)
    return Reading(ordered.rows, [*warnings, *ordered.warnings], ordered.given)


def in_order(rows: Rows, given: Indices, name: str) -> Reading:
    """Rows in the order of their table, sorted by time. Raises DataError for a number that is too large.

    given [rows]: the row of the table that each of them is, from 0; name: what messages call the table.
    """
    warnings = []
    back = np.flatnonzero(rows.times[1:] < rows.times[:-1])
    if len(back):
        row = int(given[back[0] + 1])
        text = f"{name}: rows are not in order of time (first at {at(row)}); they were sorted"
        warnings.append(Notice("unsorted", text, row=row + 1))
        order = np.argsort(rows.times, kind="stable")
        rows, given = Rows(rows.times[order], rows.values[order], rows.columns), given[order]
    _refuse_infinite(rows, given, name)
    return Reading(rows, warnings, given)


def read_columns(raw: Raw, time_column: str, timezone: str, faults: Faults = None) -> Columns:
    """Separate times, numbers and text. Raises DataError for a table without rows or without a time column.

    faults: as for `utc_times`.
    """
    import polars as pl

    loaded = tidy(raw.loaded(), time_column)
    name, frame = loaded.name, loaded.table
    if frame.width == 0 or frame.height == 0:
        raise _no_rows(name)
    if time_column not in frame.columns:
        raise no_time_column(frame, name, time_column)
    times, others = frame[time_column], frame.drop(time_column)
    numbers, text = [], []
    for column in others.iter_columns():
        if column.dtype.is_numeric() or column.dtype in {pl.Boolean, pl.Null}:
            numbers.append(column)
        else:
            text.append(column.name)
    written = time_format_of(loaded, time_column)
    return Columns(
        utc_times(times, name, timezone, faults, _blank(others) if others.width else None, written),
        is_zoned(times, written),
        numbers,
        tuple(text),
    )


def time_format_of(raw: RawTable, time_column: str) -> str:
    """How a table that is tidy writes its times. Raises DataError where that is not clear."""
    import polars as pl

    times = raw.table[time_column]
    if times.dtype == pl.String or times.dtype.is_numeric():
        return written_format(times, raw.name, raw.dialect.time_format, raw.hint.time_format)
    return ISO


def dialect_of(raw: Raw, time_column: str) -> Dialect:
    """How a table is written, with nothing left open. Raises DataError where that is not clear."""
    loaded = tidy(raw.loaded(), time_column)
    if time_column not in loaded.table.columns:
        return loaded.dialect
    return replace(loaded.dialect, time_format=time_format_of(loaded, time_column))


def stack(numbers: list[pl.Series], rows: int) -> Values:
    """The columns side by side as float64 [rows, columns]; empties the list, so that no cell is in memory twice."""
    import polars as pl

    values = np.empty((rows, len(numbers)))
    for i in range(len(numbers)):
        values[:, i] = numbers.pop(0).cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return values


def split(rows: Rows, test_fraction: float, name: str) -> tuple[Rows, Rows]:
    """The first rows as train, the last `test_fraction` of them as test. Raises DataError where one would be empty."""
    test = rows_in_test(len(rows), test_fraction)
    if not 0 < test < len(rows):
        raise DataError(
            f"{name}: {len(rows)} rows cannot be split with test_fraction = {test_fraction}",
            code="split-empty",
            file=name,
            rows=len(rows),
            test_fraction=test_fraction,
        )
    return rows[: len(rows) - test], rows[len(rows) - test :]


def _no_rows(name: str) -> DataError:
    return DataError(f"{name}: has no rows; a header and at least one row are needed", code="no-rows", file=name)


def _blank(others: pl.DataFrame) -> pl.Series:
    """Which rows hold no value beside their time."""
    import polars as pl
    import polars.selectors as cs

    empty = [cs.float().is_null() | cs.float().is_nan(), (~cs.float()).is_null()]
    return others.select(pl.all_horizontal(True, *empty)).to_series()


def no_time_column(frame: pl.DataFrame, name: str, time_column: str, way: str = NAMED) -> DataError:
    """The error about a time column that is absent: it names the columns that hold times, or nearly do.

    way: what to do with one of them.
    """
    like = [f"'{column.name}' holds {quoted(str(column[0]))}" for column in frame.iter_columns() if _like_times(column)]
    hint = f"; {' and '.join(like[:3])}: {way}" if like else ""
    return DataError(
        f"{name}: has no time column '{time_column}'; {nearest(time_column, frame.columns)}{hint}",
        code="time-column-missing",
        file=name,
        column=time_column,
    )


def _like_times(column: pl.Series) -> bool:
    return looks_like_times(column) or nearly_times(column)


def _usable_columns(raw: Raw, dataset: Dataset) -> Columns:
    """The columns of a table. Raises DataError unless every target is a numeric column."""
    loaded = tidy(raw.loaded(), dataset.time_column)
    columns = read_columns(loaded, dataset.time_column, dataset.timezone)
    names = [column.name for column in columns.numbers]
    if TIME in names:
        raise DataError(
            f"{raw.name}: has a numeric column '{TIME}' beside the time column '{dataset.time_column}';"
            f" '{TIME}' is the name of the times in the store, so rename this column",
            code="column-named-time",
            file=raw.name,
            column=TIME,
        )
    for target in targets_among(dataset.targets, names):
        if target not in names:
            raise unusable(target, loaded.table, names, raw.name)
    return columns


def unusable(target: str, frame: pl.DataFrame, columns: Sequence[str], name: str) -> DataError:
    """Why a column is none of the numeric ones: it is absent, of another type, or a cell is no number."""
    if target not in frame.columns:
        return DataError(
            f"{name}: has no column '{target}' to forecast; {nearest(target, columns)}",
            code="column-missing",
            file=name,
            column=target,
        )
    import polars as pl

    column = frame[target]
    if column.dtype != pl.String:
        return DataError(
            f"{name}: the column '{target}' holds {column.dtype}, not numbers",
            code="column-not-numeric",
            file=name,
            column=target,
            found=str(column.dtype),
        )
    row = not_a_number(column) or 0
    like = looks_like(str(column[row]))
    return DataError(
        f"{name}: {at(row)}: {quoted(str(column[row]))} in the column '{target}' is not a number"
        f"{f'; it looks like {like}' if like else ''}",
        code="not-a-number",
        file=name,
        column=target,
        row=row + 1,
    )


def too_large(values: Values) -> NDArray[np.bool_]:
    """Which numbers are infinite, or would become so in 32 bits; an empty cell is none."""
    return np.abs(values) > LARGEST


def _refuse_infinite(rows: Rows, given: Indices, name: str) -> None:
    """Refuse infinities, and numbers that would become one in 32 bits."""
    values = rows.values
    beyond = np.flatnonzero(np.maximum(np.fmax.reduce(values), -np.fmin.reduce(values)) > LARGEST)
    if not len(beyond):
        return
    outside = too_large(values[:, beyond])
    infinite = outside & np.isinf(values[:, beyond])
    refused = infinite if infinite.any() else outside
    lines, places = np.nonzero(refused)
    first = int(np.argmin(given[lines]))
    row, column = int(given[lines[first]]), rows.columns[beyond[places[first]]]
    where = f"(first in {at(row)}; cells in all: {len(lines)})"
    value = values[lines[first], beyond[places[first]]]
    what = "an infinite value" if infinite.any() else f"{value:g}, beyond the ±{LARGEST:g} that 32-bit features allow"
    raise DataError(
        f"{name}: column '{column}' holds {what} {where}; leave the cell empty where nothing was measured, or use"
        " another unit",
        code="value-infinite" if infinite.any() else "value-too-large",
        file=name,
        column=column,
        row=row + 1,
        found=f"{value:g}",
    )
