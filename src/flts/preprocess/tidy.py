"""A table as it was read → one in which text that holds numbers is numbers, and a date and its clock are one time."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import time
from typing import TYPE_CHECKING

from flts.contracts.errors import DataError, nearest
from flts.preprocess.dialect import Dialect
from flts.preprocess.marks import NumberMarks, as_numbers, marks_of
from flts.spec.time_formats import INFER

if TYPE_CHECKING:
    import polars as pl

    from flts.preprocess.source import RawTable

START = r"^\s*([0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?:\s*[AaPp]\.?\s?[Mm]\.?)?)"
CLOCK = rf"{START}\s*([-\u2013]\s*[0-9]{{1,2}}:[0-9]{{2}}.*)?$"
"""A time of day, or the start and the end of an interval."""
MIDNIGHT = r"[T\s]+0{1,2}:00(:00)?(\.0+)?$"
HOURS = re.compile(
    "hour|hours|hr|he|hour[ _-]?(of[ _-]?(the[ _-]?)?day|ending|beginning)|stunde|std|heure|hora|ora|uur|uhrzeit|time",
    re.IGNORECASE,
)
"""Names of columns that count the hours of a day."""


def tidy(raw: RawTable, time_column: str) -> RawTable:
    """The table with times in one column and numbers as numbers, and the dialect that was found. Done once."""
    if raw.tidied:
        return raw
    table, clock = _joined(_without_categories(raw.table), raw, time_column)
    table, marks = _numbered(table, raw, time_column)
    found = Dialect(decimal=marks.decimal or INFER, thousands=marks.thousands, clock_column=clock)
    dialect = replace(found, **{**raw.dialect.named, "clock_column": clock})
    return replace(raw, table=table, dialect=dialect, tidied=True)


def _without_categories(table: pl.DataFrame) -> pl.DataFrame:
    import polars as pl
    import polars.selectors as cs

    return table.cast({cs.categorical() | cs.enum(): pl.String})


def _numbered(table: pl.DataFrame, raw: RawTable, time_column: str) -> tuple[pl.DataFrame, NumberMarks]:
    """The table with numbers in the place of text that holds them."""
    import polars as pl

    texts = [column for column in table.iter_columns() if column.dtype == pl.String and column.name != time_column]
    marks = marks_of(texts, raw.dialect, point=raw.dialect.decimal == ".")
    if marks.decimal is None and raw.hint.decimal != INFER:
        marks = marks_of(texts, replace(raw.dialect, decimal=raw.hint.decimal), point=False)
    numbers = {text.name: number for text in texts if (number := as_numbers(text, marks)) is not None}
    return table.with_columns(number.alias(name) for name, number in numbers.items()), marks


def _joined(table: pl.DataFrame, raw: RawTable, time_column: str) -> tuple[pl.DataFrame, str]:
    """The table with date and clock in one column, and the name of the column with the clock; empty without one."""
    import polars as pl

    name = raw.dialect.clock_column
    if not name or time_column not in table.columns:
        return table, ""
    if name == INFER:
        hint = raw.hint.clock_column
        name = hint if hint in table.columns else _clock_of(table, time_column)
        if not name:
            return table, ""
    if name not in table.columns:
        raise DataError(
            f"{raw.name}: has no column '{name}' with the time of day; {nearest(name, table.columns)}",
            code="column-missing",
            file=raw.name,
            column=name,
        )
    dates, clock = table[time_column], table[name]
    days = None if name == time_column or _is_zoned(dates) else _days_of(dates)
    if days is None:
        held = "times with a zone" if _is_zoned(dates) else "times of day"
        raise DataError(
            f"{raw.name}: column '{time_column}' holds {held}; leave clock_column empty, which names '{name}'",
            code="clock-twice",
            file=raw.name,
            column=name,
        )
    joined = pl.select(pl.concat_str(days, pl.lit(" "), _clock_text(clock))).to_series()
    return table.with_columns(joined.alias(time_column)).drop(name), name


def _clock_text(clock: pl.Series) -> pl.Series:
    import polars as pl

    hours = _whole(clock)
    if hours is not None:
        return hours.cast(pl.String).str.zfill(2) + ":00"
    return clock.cast(pl.String).str.replace(CLOCK, "${1}").str.strip_chars()


def _whole(column: pl.Series) -> pl.Series | None:
    """Its whole numbers, which a file with decimal commas holds as text; None where it has anything else."""
    import polars as pl

    if column.dtype.is_integer():
        return column
    if column.dtype != pl.String or not column.drop_nulls().str.contains(r"^\s*[0-9]{1,2}\s*$").all():
        return None
    return column.str.strip_chars().cast(pl.Int64)


def _clock_of(table: pl.DataFrame, time_column: str) -> str:
    """The first column of clock times beside dates of which several rows share one; empty where there is none."""
    import polars as pl

    dates = table[time_column]
    # no set: the hash of a Datetime has its unit and its zone
    if dates.dtype not in (pl.String, pl.Date, pl.Datetime) or dates.n_unique() >= len(dates):
        return ""
    if _is_zoned(dates) or _days_of(dates) is None:
        return ""
    others = (column for column in table.iter_columns() if column.name != time_column)
    return next((column.name for column in others if is_clock(column)), "")


def _is_zoned(dates: pl.Series) -> bool:
    """Whether each date is a moment already: its day alone would lose the zone."""
    return getattr(dates.dtype, "time_zone", None) is not None


def _days_of(dates: pl.Series) -> pl.Series | None:
    """Dates as text, without a midnight behind each of them; None where some have another time of day."""
    import polars as pl

    if isinstance(dates.dtype, pl.Datetime):
        return dates.dt.date().cast(pl.String) if (dates.dt.time() == time()).all() else None
    text = dates.cast(pl.String).str.strip_chars().str.replace(MIDNIGHT, "")
    return None if text.str.contains(":").any() else text


def is_clock(column: pl.Series) -> bool:
    """Whether a column holds times of a day, or its hours: 0 to 23, or 1 to 24, the end; 25 is refused by its row."""
    import polars as pl

    if column.dtype == pl.Time:
        return True
    if HOURS.fullmatch(column.name.strip()) and (hours := _whole(column)) is not None:
        return (hours.min(), hours.max()) in {(0, 23), (1, 24), (1, 25)}
    return column.dtype == pl.String and bool(column.drop_nulls().str.contains(CLOCK).all()) and column.count() > 0
