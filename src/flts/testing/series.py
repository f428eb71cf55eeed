"""Small synthetic series with a daily shape, as tables and as rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from flts.preprocess.rows import Rows

HOUR = 3_600 * 10**9
START = 1_518_000_000 * 10**9 // HOUR * HOUR
"""2018-02-07 10:00 UTC."""


def hourly(rows: int, seed: int = 0, start: int = START, columns: tuple[str, ...] = ("load", "wind")) -> Rows:
    """Rows one hour apart: a daily wave, a slow drift and noise. Tests forecast the first column."""
    rng = np.random.default_rng(seed)
    times = start + HOUR * np.arange(rows, dtype=np.int64)
    hour = times / HOUR
    values = np.empty((rows, len(columns)))
    for i in range(len(columns)):
        wave = np.sin(2 * np.pi * (hour + 3 * i) / 24)
        values[:, i] = 50 + 10 * (i + 1) * wave + 0.01 * np.arange(rows) + rng.normal(0, 2, rows)
    return Rows(times, values, columns)


def table(rows: Rows, time: str = "time") -> pl.DataFrame:
    """Rows as a table: times in UTC without a zone, and the values, with NaN as an empty cell."""
    columns: dict[str, Any] = {time: pl.Series(rows.times).cast(pl.Datetime("ns"))}
    for i, name in enumerate(rows.columns):
        columns[name] = pl.Series(rows.values[:, i], nan_to_null=True)
    return pl.DataFrame(columns)


def split(rows: Rows, test: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Train and test tables; the last `test` rows are the test."""
    return table(rows[:-test]), table(rows[-test:])
