"""A table → rows, or one error that names file, column and row.

Times become UTC nanoseconds, and numeric columns float64 with NaN for an empty cell. Other columns are left out, and a
warning names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flts.contracts.errors import DataError, nearest
from flts.contracts.notices import Notice
from flts.preprocess.files import EMPTY
from flts.preprocess.parquet import TIME
from flts.preprocess.rows import Indices, Rows, Values
from flts.preprocess.source import Raw
from flts.preprocess.times import Faults, at, is_zoned, quoted, utc_times
from flts.spec.fields import Dataset
from flts.spec.resolved import rows_in_test

if TYPE_CHECKING:
    import polars as pl

LARGEST = 1e30
"""Larger numbers are refused like infinities: features have 32 bits, and sums of squares must fit 64."""


@dataclass(frozen=True)
class Reading:
    """The rows of one table, and warnings about them.

    given [rows]: the row of the table that each of them is, from 0; the first one where several became one, and -1
    where the table has none.
    """

    rows: Rows
    warnings: list[Notice]
    given: Indices


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
    columns = _usable_columns(raw, dataset)
    warnings = []
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


def read_columns(frame: pl.DataFrame, name: str, time_column: str, timezone: str, faults: Faults = None) -> Columns:
    """Separate times, numbers and text. Raises DataError for a table without rows or without a time column.

    name: what messages call the table; faults: as for `utc_times`.
    """
    import polars as pl

    if frame.width == 0 or frame.height == 0:
        raise _no_rows(name)
    if time_column not in frame.columns:
        raise DataError(
            f"{name}: has no time column '{time_column}'; {nearest(time_column, frame.columns)}",
            code="time-column-missing",
            file=name,
            column=time_column,
        )
    times, others = frame[time_column], frame.drop(time_column)
    numbers, text = [], []
    for column in map(_numbers, others.iter_columns()):
        if column.dtype.is_numeric() or column.dtype in {pl.Boolean, pl.Null}:
            numbers.append(column)
        else:
            text.append(column.name)
    return Columns(
        utc_times(times, name, timezone, faults, _blank(others) if others.width else None),
        is_zoned(times),
        numbers,
        tuple(text),
    )


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


def _usable_columns(raw: Raw, dataset: Dataset) -> Columns:
    """The columns of a table. Raises DataError unless every target is a numeric column."""
    frame = raw.frame()
    columns = read_columns(frame, raw.name, dataset.time_column, dataset.timezone)
    names = [column.name for column in columns.numbers]
    if TIME in names:
        raise DataError(
            f"{raw.name}: has a numeric column '{TIME}' beside the time column '{dataset.time_column}';"
            f" '{TIME}' is the name of the times in the store, so rename this column",
            code="column-named-time",
            file=raw.name,
            column=TIME,
        )
    for target in dataset.targets:
        if target not in names:
            raise _unusable_target(target, frame, names, raw.name)
    return columns


def _numbers(column: pl.Series) -> pl.Series:
    """A column of text as numbers when each of its cells is empty or a number, such as ' 1'."""
    import polars as pl

    if column.dtype != pl.String:
        return column
    text = column.str.strip_chars()
    text = text.set(text.is_in(EMPTY), None)
    numbers = text.cast(pl.Float64, strict=False)
    return numbers if numbers.null_count() == text.null_count() else column


def _unusable_target(target: str, frame: pl.DataFrame, columns: Sequence[str], name: str) -> DataError:
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
            f"{name}: the target '{target}' holds {column.dtype}, not numbers",
            code="column-not-numeric",
            file=name,
            column=target,
            found=str(column.dtype),
        )
    text = column.str.strip_chars()
    wrong = text.is_not_null() & ~text.is_in(EMPTY) & text.cast(pl.Float64, strict=False).is_null()
    row = int(wrong.arg_max() or 0)
    return DataError(
        f"{name}: {at(row)}: {quoted(column[row])} in the target '{target}' is not a number",
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
