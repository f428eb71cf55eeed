"""Tables of the store as canonical Parquet: with the same library versions, the same rows give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from flts.contracts.errors import DamagedObject
from flts.contracts.layout import mend
from flts.preprocess.footer import size_of
from flts.preprocess.limits import check_memory
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


def from_parquet(data: bytes, *, key: str) -> pl.DataFrame:
    """The table in Parquet bytes; `key` names the object in errors.

    Raises DamagedObject where it cannot be read, DataError where its rows do not fit into the free memory.
    """
    import polars as pl

    try:
        check_memory(key, size_of(io.BytesIO(data)).memory)
        return pl.read_parquet(io.BytesIO(data))
    except (ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = str(error).splitlines()[0]
        raise DamagedObject(
            f"{key} is damaged: it cannot be read as Parquet ({reason}); {mend(key)}", code="table-unreadable", key=key
        ) from None


def differs(key: str, where: str) -> DamagedObject:
    """The error about a table that a stopped process left and that is not the one that belongs there.

    To commit it would make its digest valid, and nothing would notice the damage any more.
    """
    return DamagedObject(
        f"{key} in {where} is damaged: its commit point is absent, and it holds other values than the ones computed"
        f" now; {mend(key)}",
        code="table-differs",
        key=key,
    )


def time_column(
    times: np.ndarray[tuple[int, ...], np.dtype[np.int64]], name: str = TIME, timezone: str = "UTC"
) -> pl.Series:
    """UTC nanoseconds as a time column, which shows local times of `timezone`."""
    import polars as pl

    return pl.Series(name, times).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(timezone)


def rows_to_parquet(rows: Rows, metadata: Mapping[str, str]) -> bytes:
    """Rows in original units; an empty cell is null."""
    import polars as pl

    columns = [pl.Series(name, rows.values[:, i], nan_to_null=True) for i, name in enumerate(rows.columns)]
    return to_parquet(pl.DataFrame([time_column(rows.times), *columns]), metadata)


def rows_from_parquet(data: bytes, *, key: str) -> Rows:
    """The inverse of `rows_to_parquet`; `key` names the object in errors. Raises DamagedObject."""
    frame = from_parquet(data, key=key)
    columns = [name for name in frame.columns if name != TIME]
    values = [frame[name].fill_null(float("nan")).to_numpy() for name in columns]
    stacked = np.column_stack(values) if values else np.empty((frame.height, 0))
    return Rows(frame[TIME].to_physical().to_numpy(), stacked, tuple(columns))
