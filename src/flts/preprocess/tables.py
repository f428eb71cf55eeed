"""Tables of any library in memory → polars, column by column where one of them is odd."""

from __future__ import annotations

import math
import os
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flts.contracts.errors import DataError
from flts.preprocess.time_column import index_of

if TYPE_CHECKING:
    import polars as pl

ANY_OFFSET = "POLARS_IGNORE_TIMEZONE_PARSE_ERROR"
"""Without it, polars ends at a column whose zone is an offset, such as +05:30."""


def to_polars(name: str, table: Any) -> pl.DataFrame:
    """A table as polars has it. name: what messages call it. Raises DataError for anything that is no table."""
    import polars as pl
    import polars.selectors as cs

    if isinstance(table, str | bytes | Path):
        raise DataError(
            f"{name}: {table!r} is not a table; read the file first, for instance with polars.read_csv",
            code="no-table",
            file=name,
        )
    refuse_patterns(name, _names(table))  # before polars copies a column by its name
    try:
        frame = with_offsets(name, lambda: _converted(_with_index(table)))
        return frame.cast({cs.categorical() | cs.enum(): pl.String})
    except _unconvertible() as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{name}: a {type(table).__name__} cannot be read as a table: {reason}", code="no-table", file=name
        ) from None


def refuse_patterns(name: str, columns: Sequence[str]) -> None:
    """Raise DataError for a column whose name polars takes for a pattern: it would find others, or none."""
    for column in columns:
        if column.startswith("^") and column.endswith("$"):
            raise DataError(
                f"{name}: the name of the column '{column}' begins with ^ and ends with $, which marks a pattern of"
                " names; give it another name",
                code="column-pattern",
                file=name,
                column=column,
            )


def with_offsets(name: str, read: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    """A table whose columns of times may have an offset as their zone; these are in UTC afterwards.

    name: what messages call it. Raises DataError for a column that no library can name.
    """
    import polars as pl

    os.environ.setdefault(ANY_OFFSET, "1")
    frame = read()
    refuse_patterns(name, frame.columns)
    odd = [
        column
        for column in frame.iter_columns()
        if isinstance(column.dtype, pl.Datetime)
        and column.dtype.time_zone is not None
        and column.dtype.time_zone not in zoneinfo.available_timezones()
    ]
    return frame.with_columns(
        column.to_physical().cast(pl.Datetime(column.dtype.time_unit, "UTC"))  # type: ignore[attr-defined]
        for column in odd
    )


def _unconvertible() -> tuple[type[BaseException], ...]:
    """What polars and pyarrow raise for cells that they cannot take."""
    import polars as pl

    usual = (TypeError, ValueError, OverflowError, NotImplementedError)
    return (*usual, pl.exceptions.PolarsError, pl.exceptions.PanicException)


def _converted(table: Any) -> pl.DataFrame:
    """The table at once, else its columns one by one: those of mixed cells need to be looked at."""
    import polars as pl

    try:
        return pl.DataFrame(table)
    except _unconvertible():
        if not isinstance(table, Mapping) and not (hasattr(table, "columns") and hasattr(table, "reset_index")):
            raise
        if len(set(table)) < len(list(table)):  # two columns of one name
            raise
        return pl.DataFrame([_series(str(name), table[name]) for name in table])


def _series(name: str, values: Any) -> pl.Series:
    """A column of any cells: numbers where each of them is one, else text."""
    import polars as pl

    try:
        return pl.Series(name, values)
    except _unconvertible():
        cells = [None if _is_empty(value) else value for value in values]
    if all(value is None or isinstance(value, int | float | Decimal) for value in cells):
        return pl.Series(name, [None if value is None else float(value) for value in cells], dtype=pl.Float64)
    return pl.Series(name, [None if value is None else str(value) for value in cells], dtype=pl.String)


def _is_empty(value: Any) -> bool:
    """Whether a cell stands for none: None, NaN, and those of pandas."""
    missing = value is None or type(value).__name__ in {"NAType", "NaTType"}
    return missing or (isinstance(value, float) and math.isnan(value))


def _names(table: Any) -> list[str]:
    """The names of its columns, of a table that tells them."""
    names = table if isinstance(table, Mapping) else getattr(table, "column_names", getattr(table, "columns", ()))
    return [name for name in names if isinstance(name, str)]


def _with_index(table: Any) -> Any:
    """pandas often keeps the time as the index; one without a name becomes the column 'time', a period its start."""
    if not hasattr(table, "reset_index"):
        return table
    if not hasattr(table, "columns"):  # a series of pandas
        table = table.to_frame("value" if table.name is None else table.name)
    periods = [name for name in table.columns if str(table.dtypes.get(name)).startswith("period")]
    table = table.assign(**{name: table[name].dt.to_timestamp() for name in periods}) if periods else table
    if table.index.inferred_type == "period":
        table = table.set_axis(table.index.to_timestamp())
    if (name := index_of(table)) is not None:
        return table.rename_axis(name).reset_index(drop=name in table.columns)
    return table.reset_index() if any(name is not None for name in table.index.names) else table
