"""ISO 8601 in its forms → the form that is parsed, 2018-02-05T23:40:00.5+01:00, of which any end may be absent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flts.preprocess.time_formats import OFFSETS

if TYPE_CHECKING:
    import polars as pl

DATE, CLOCK, OFFSET = "[0-9]{4}-[0-9]{2}-[0-9]{2}", "[0-9]{2}:[0-9]{2}", "[+-][0-9]{2}:?[0-9]{2}"
MONTH = "[0-9]{4}-[0-9]{2}"
ISO_TIME = rf"^\s*({MONTH}|{DATE}([T ]{CLOCK}(:[0-9]{{2}}(\.[0-9]{{1,9}})?)?\s*(Z|{OFFSET})?)?)\s*$"
ZONED = rf"[T ]{CLOCK}.*(Z|{OFFSET})\s*$"
TO_PARSED = (
    (r"([0-9Zz])\[[^\]]*\]$", "${1}"),  # the zone in brackets after an offset (RFC 9557)
    ("−", "-"),
    (r"^([0-9]{4})([0-9]{2})([0-9]{2})($|[Tt\s])", "${1}-${2}-${3}${4}"),
    (r"^([0-9]{4})-([0-9])(-|$)", "${1}-0${2}${3}"),
    (r"^([0-9]{4}-[0-9]{2})-([0-9])($|[Tt\s])", "${1}-0${2}${3}"),
    (r"^([0-9]{4})W([0-9]{2})([1-7])?$", "${1}-W${2}-${3}"),
    (r"^([0-9]{4}-W[0-9]{2})-?$", "${1}-1"),
    (rf"^({DATE})[Tt\s]+", "${1}T"),
    ("T([0-9]):", "T0${1}:"),
    ("T([0-9]{2})([0-9]{2})([0-9]{2})", "T${1}:${2}:${3}"),
    ("T([0-9]{2})([0-9]{2})($|[^0-9])", "T${1}:${2}${3}"),
    (r"T([0-9]{2})($|[^0-9:])", "T${1}:00${2}"),
    (r"(T[0-9:]+),([0-9])", "${1}.${2}"),
    (r"(\.[0-9]{9})[0-9]+", "${1}"),
    *((rf"(T[0-9:.]+)\s*{name}$", f"${{1}}{offset}") for name, offset in OFFSETS.items()),
    (r"(T[0-9:.]+)\s*([+-][0-9]{2})$", "${1}${2}:00"),
)
"""What other forms have, and what is parsed in its place."""
DAYS = ((r"^[0-9]{4}-W[0-9]{2}-[1-7]$", "%G-W%V-%u"), (r"^[0-9]{4}-[0-9]{3}$", "%Y-%j"))
"""Dates that count weeks and days: 2018-W06-1 and 2018-036."""


def iso_text(column: pl.Series) -> pl.Series:
    """The cells in the form that is parsed, as far as they are ISO 8601."""
    if column.str.contains(ISO_TIME).fill_null(True).all():
        return column
    text = column.str.strip_chars()
    for written, parsed in TO_PARSED:
        text = text.str.replace(written, parsed)
    return _dates_of_days(text)


def _dates_of_days(text: pl.Series) -> pl.Series:
    """Days of a year and of a week as dates; a week stands for its Monday."""
    import polars as pl

    for shape, pattern in DAYS:
        fits = text.str.contains(shape).fill_null(False)
        if fits.any():
            day = text.str.to_date(pattern, strict=False)
            text = pl.select(pl.when(fits).then(day.dt.to_string("%Y-%m-%d")).otherwise(text)).to_series()
    return text
