"""Forecasts as text that people open: in a spreadsheet, or with pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

CLOCK = "%Y-%m-%d %H:%M:%S%.f"
"""Local time without its offset: Excel and pandas take a time with one for text."""


def as_text(forecasts: pl.DataFrame) -> pl.DataFrame:
    """The table with times as text, and their offsets from UTC in the column utc_offset."""
    import polars as pl

    time = pl.col("time")
    return forecasts.with_columns(time.dt.to_string(CLOCK), utc_offset=time.dt.to_string("%:z"))
