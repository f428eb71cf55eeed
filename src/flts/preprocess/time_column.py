"""Which column of a table holds its times, where nobody named it or it has another name than in train."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Any

from flts.preprocess.parquet import TIME

if TYPE_CHECKING:
    import polars as pl

DS = "ds"
"""The name of the times in tables for Prophet and the libraries of Nixtla."""
TIMES = frozenset({"datetime64", "datetime", "date", "period"})
"""What pandas calls an index of times."""


def index_of(table: Any) -> str | None:
    """The column that the time index of a pandas table becomes; None where it has no such index."""
    if not hasattr(table, "reset_index") or table.index.inferred_type not in TIMES:
        return None
    return TIME if table.index.name is None else str(table.index.name)


def time_of(columns: Container[str], time_column: str, index: str | None = None) -> str:
    """The column that holds the times among these: the named one, else the index, else 'time' or 'ds'.

    It is 'time' where there is none of them.
    """
    return next((name for name in (time_column, index, TIME, DS) if name is not None and name in columns), TIME)


def time_among(frame: pl.DataFrame, time_column: str, index: str | None = None) -> str:
    """The same of a table, else its only column of dates. index: the column that was its index."""
    import polars as pl

    named = time_of(frame.columns, time_column, index)
    dates = [column.name for column in frame.iter_columns() if column.dtype in (pl.Date, pl.Datetime)]
    return dates[0] if named not in frame.columns and len(dates) == 1 else named
