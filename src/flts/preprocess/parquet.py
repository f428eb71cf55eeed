"""Tables of the store as canonical Parquet: with the same library versions, the same rows give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from flts.preprocess.rows import Rows

if TYPE_CHECKING:
    import polars as pl

ROW_GROUP = 1 << 18
TIME = "time"


def to_parquet(frame: pl.DataFrame, metadata: Mapping[str, str] | None = None) -> bytes:
    """Parquet bytes: one chunk per column, fixed row groups, no statistics, zstd."""
    buffer = io.BytesIO()
    frame.rechunk().write_parquet(
        buffer, compression="zstd", statistics=False, row_group_size=ROW_GROUP, metadata=dict(metadata or {})
    )
    return buffer.getvalue()


def from_parquet(data: bytes) -> pl.DataFrame:
    """The table in Parquet bytes whose digest was checked."""
    import polars as pl

    return pl.read_parquet(io.BytesIO(data))


def time_column(times: np.ndarray[tuple[int, ...], np.dtype[np.int64]], name: str = TIME) -> pl.Series:
    """UTC nanoseconds as a time column."""
    import polars as pl

    return pl.Series(name, times).cast(pl.Datetime("ns", "UTC"))


def rows_to_parquet(rows: Rows, metadata: Mapping[str, str]) -> bytes:
    """Rows in original units; an empty cell is null."""
    import polars as pl

    columns = [pl.Series(name, rows.values[:, i], nan_to_null=True) for i, name in enumerate(rows.columns)]
    return to_parquet(pl.DataFrame([time_column(rows.times), *columns]), metadata)


def rows_from_parquet(data: bytes) -> Rows:
    """The inverse of `rows_to_parquet`."""
    frame = from_parquet(data)
    columns = [name for name in frame.columns if name != TIME]
    values = [frame[name].fill_null(float("nan")).to_numpy() for name in columns]
    stacked = np.column_stack(values) if values else np.empty((frame.height, 0))
    return Rows(frame[TIME].to_physical().to_numpy(), stacked, tuple(columns))
