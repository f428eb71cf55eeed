"""A column of times as people write them → UTC nanoseconds; nothing is guessed, and a refusal names the row."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from flts.contracts.errors import DataError
from flts.preprocess.clock import second_pass
from flts.preprocess.grid import utc_time
from flts.preprocess.iso import CLOCK, DATE, ISO_TIME, MONTH, ZONED, iso_text
from flts.preprocess.time_formats import EXCEL, Undecided, format_of, like_times, quarters_or, rewritten, starts
from flts.spec.time_formats import EPOCHS, INFER, ISO

if TYPE_CHECKING:
    import polars as pl

LONG = 60
"""Characters of a cell that a message quotes."""
DATED = "[0-9]{1,4}[./-][0-9]{1,2}[./-][0-9]{1,4}"
"""A date somewhere in a cell."""
MIDNIGHT = r"T24:00:00(\.0+)?"
"""The end of a day."""
MOSTLY = 0.5
"""Share of the first cells that are written in a format from which it is that of the column."""
SHOWN = 50
"""Cells that say whether a column is ISO 8601."""
YEARLY = {"%Y", "%Y%m"}
NAMES = re.compile(
    r"\s*(time|date|day|ts|epoch|year|month|period|jahr|monat|datum|zeit|tag|ann|mois|a[nñ]o|mes|fecha)", re.I
)
"""How the name of a column of times starts, in several languages."""
YEARS = (1678, 2261)
"""First and last whole year that 64 bits of nanoseconds cover."""

Faults = list[str] | None
"""None: the first fault is raised. A list: it collects a message per kind of fault, and the cells become empty."""
Fault = Callable[[int], DataError]
"""The error about one row."""


def utc_times(
    column: pl.Series,
    name: str,
    timezone: str,
    faults: Faults = None,
    blank: pl.Series | None = None,
    time_format: str = INFER,
) -> pl.Series:
    """UTC nanoseconds as Int64; naive times are read in `timezone`, in the order of the rows where its clock goes back.

    name: what messages call the table; blank: the rows without any value, whose time is null where the clock skips it;
    time_format: of text and numbers. Raises DataError for the first row whose time cannot be used, unless `faults`
    collects such messages; a column of another type, or of times that can be read in several ways, is always refused.
    """
    import polars as pl

    title = column.name
    column = _without(
        column,
        column.is_null(),
        faults,
        lambda row: DataError(
            f"{name}: {at(row)} has no time in column '{title}'",
            code="time-missing",
            file=name,
            column=title,
            row=row + 1,
        ),
    )
    if column.dtype == pl.Date:
        column = column.cast(pl.Datetime("ms"))
    elif not isinstance(column.dtype, pl.Datetime):
        column = _of_cells(column, name, faults, written_format(column, name, time_format))
    column = _in_range(column, _years(column), name, faults).dt.cast_time_unit("ns")
    if column.dtype.time_zone is None:  # type: ignore[attr-defined]
        column = _localise(column, name, timezone, faults, blank)
    return column.dt.convert_time_zone("UTC").to_physical()


def is_zoned(column: pl.Series, time_format: str = INFER) -> bool:
    """Whether the times carry their own zone, so that dataset.timezone does not matter for reading them."""
    import polars as pl

    if isinstance(column.dtype, pl.Datetime | pl.Date):
        return getattr(column.dtype, "time_zone", None) is not None
    if time_format == INFER:
        found = found_format(column)
        time_format = found if isinstance(found, str) else ISO
    if time_format in EPOCHS:
        return True
    text = _as_text(column)
    return bool((iso_text(text) if time_format == ISO else rewritten(text, time_format)).str.contains(ZONED).any())


def found_format(column: pl.Series) -> str | Undecided | None:
    """How a column of text or numbers writes its times; None where it does not."""
    import polars as pl

    if column.dtype == pl.String and _iso_share(column) >= MOSTLY:
        cells = starts(column.drop_nulls())
        short = bool(cells.str.contains("^[0-9]{4}-[1-9]$").all())
        found = quarters_or("%Y-%m", cells) if short else ISO
        return found if isinstance(found, Undecided) else ISO
    return format_of(column)


def written_format(column: pl.Series, name: str, time_format: str, hint: str = INFER) -> str:
    """The format that is named, or the one that the cells show; hint: the one that is taken where they show several.

    Raises DataError where there is none, or several.
    """
    import polars as pl

    numeric = column.dtype.is_numeric()
    if time_format != INFER and (numeric or column.dtype == pl.String):
        return time_format
    found = found_format(column)
    if isinstance(found, Undecided) and hint in found.formats:
        return hint
    if isinstance(found, Undecided):
        row = int((column.cast(pl.String).str.strip_chars() == found.cell).arg_max() or 0)
        formats = " or ".join(found.formats)
        raise DataError(
            f"{name}: {at(row)}, column '{column.name}': {quoted(found.cell)} can be read as {formats}, and no"
            " row tells which; write times in ISO 8601, such as 2024-12-31, or set dataset.time_format (--time-format)",
            code="times-ambiguous",
            file=name,
            column=column.name,
            row=row + 1,
            expected=list(found.formats),
        )
    if found is None and (column.dtype != pl.String or _of_excel(column)):
        raise _no_times(column, name)
    return found or ISO


def zone_of(column: pl.Series) -> str | None:
    """The zone that a column of times names in its type, such as Europe/Madrid; text has offsets, and no zone."""
    import polars as pl

    zone = column.dtype.time_zone if isinstance(column.dtype, pl.Datetime) else None
    return zone if zone in zoneinfo.available_timezones() else None


def looks_like_times(column: pl.Series) -> bool:
    """Whether a column holds times, by its type or because its cells are written as one."""
    import polars as pl

    if column.dtype == pl.String:
        return len(column) > 0 and (_iso_share(column) == 1.0 or found_format(column) is not None)
    return column.dtype in (pl.Date, pl.Datetime)  # no set: the hash of a Datetime has its unit and its zone


def numbers_like_times(column: pl.Series) -> bool:
    """Whether a column of numbers holds times: counts since 1970 or dates in order, or years under such a name."""
    if not column.dtype.is_numeric() or (found := format_of(column)) is None:
        return False
    return (found not in YEARLY and column.is_sorted() and column.n_unique() > 1) or bool(NAMES.match(column.name))


def nearly_times(column: pl.Series) -> bool:
    """Whether most cells of a column of text are written as times, so that the others are mistakes."""
    import polars as pl

    if column.dtype != pl.String:
        return False
    dated = float(column.drop_nulls()[:SHOWN].str.contains(DATED).mean() or 0.0)  # type: ignore[arg-type]
    return max(_iso_share(column), like_times(column), dated) >= MOSTLY


def at(index: int) -> str:
    """The row as messages name it: the first one below the header is row 1."""
    return f"row {index + 1}"


def quoted(cell: str) -> str:
    """A cell as messages quote it: on one line, and shortened if long."""
    return repr(cell if len(cell) <= LONG else f"{cell[:LONG]}…")


def _without(column: pl.Series, bad: pl.Series, faults: Faults, fault: Fault) -> pl.Series:
    """The column with its bad cells emptied; the fault of the first one is noted in `faults`, or raised without it."""
    import polars as pl

    if not bad.any():
        return column
    error = fault(int(bad.fill_null(False).arg_max() or 0))
    if faults is None:
        raise error
    faults.append(str(error))
    return pl.select(pl.when(~bad.fill_null(False)).then(column)).to_series().alias(column.name)


def _no_times(column: pl.Series, name: str) -> DataError:
    """The error about a column of another type."""
    excel = _of_excel(column)
    like = ", which look like the days that Excel counts: format the cells as dates and save again" if excel else ""
    return DataError(
        f"{name}: column '{column.name}' holds {column.dtype}{like}; write times as ISO 8601, such as"
        " 2018-02-05 23:40:00",
        code="column-not-times",
        file=name,
        column=column.name,
        found=str(column.dtype),
    )


def _of_excel(column: pl.Series) -> bool:
    """Whether numbers, or text that holds them, could be the days that Excel counts."""
    import polars as pl

    if column.dtype == pl.String:
        column = column.str.replace(",", ".").cast(pl.Float64, strict=False)
    return column.dtype.is_numeric() and column.count() > 0 and bool(column.is_between(*EXCEL).all())


def _as_text(column: pl.Series) -> pl.Series:
    """Text without surrounding spaces; numbers as their digits."""
    import polars as pl

    if column.dtype.is_float():
        column = column.cast(pl.Int64, strict=False)
    return starts(column.cast(pl.String))


def _iso_share(column: pl.Series) -> float:
    """Share of the first cells that are ISO 8601."""
    cells = starts(column.drop_nulls()[:SHOWN])
    return float(iso_text(cells).str.contains(ISO_TIME).mean() or 0.0)  # type: ignore[arg-type]


def _of_cells(column: pl.Series, name: str, faults: Faults, time_format: str) -> pl.Series:
    """Text or numbers → datetimes, with the zone UTC where they name one."""
    if time_format in EPOCHS:
        return _counted(column, name, faults, time_format)
    text = _as_text(column)
    written = "an ISO 8601 time such as 2018-02-05 23:40:00 or 2018-02-05T23:40:00+01:00; write all times so, or name"
    written += " another way in dataset.time_format (--time-format)"
    if time_format != ISO:
        written = f"a time written as {time_format}"
    return _parse(text, iso_text(text) if time_format == ISO else rewritten(text, time_format), written, name, faults)


def _counted(column: pl.Series, name: str, faults: Faults, time_format: str) -> pl.Series:
    """Counts since 1970 → datetimes in UTC."""
    import polars as pl

    number = column if column.dtype.is_integer() else column.cast(pl.Float64, strict=False)
    number = _without(
        number,
        number.is_null() & column.is_not_null(),
        faults,
        lambda row: DataError(
            f"{name}: {at(row)}, column '{column.name}': {quoted(str(column[row]))} is not a time written as"
            f" {time_format}",
            code="time-unreadable",
            file=name,
            column=column.name,
            row=row + 1,
        ),
    )
    size, most = EPOCHS[time_format], 9.2e18 / EPOCHS[time_format]
    number = _without(
        number,
        number.cast(pl.Float64).abs() > most,
        faults,
        lambda row: DataError(
            f"{name}: {at(row)}, column '{column.name}': {number[row]} is out of range as {time_format}",
            code="year-out-of-range",
            file=name,
            column=column.name,
            row=row + 1,
        ),
    )
    ticks = number.cast(pl.Int64) * size
    if number.dtype.is_float():
        ticks += ((number - number.floor()) * size).round().cast(pl.Int64)
    return ticks.cast(pl.Datetime("ns", "UTC")).alias(column.name)


def _parse(column: pl.Series, text: pl.Series, written: str, name: str, faults: Faults) -> pl.Series:
    """Cells in ISO 8601 → datetimes, with the zone UTC where the text names one.

    column: the cells as they stand in the table; text: the same in ISO 8601; written: what would fit, for messages.
    """
    import polars as pl

    title = column.name
    text = _without(
        text,
        ~text.str.contains(ISO_TIME).fill_null(False) & column.is_not_null(),
        faults,
        lambda row: DataError(
            f"{name}: {at(row)}, column '{title}': {quoted(column[row])} is not {written}",
            code="time-not-iso" if "ISO" in written else "time-unreadable",
            file=name,
            column=title,
            row=row + 1,
        ),
    )
    text = _in_range(text, text.str.strip_chars().str.head(4).cast(int), name, faults)
    zoned = text.str.contains(ZONED)
    first = int(zoned.is_not_null().arg_max() or 0)
    text = _without(
        text,
        zoned != zoned[first] if zoned.any() else zoned,
        faults,
        lambda row: DataError(
            f"{name}: column '{title}' mixes times with and without a zone: '{column[first]}' in {at(first)},"
            f" '{column[row]}' in {at(row)}; write all of them the same way",
            code="zones-mixed",
            file=name,
            column=title,
            row=row + 1,
        ),
    )
    text = text.str.strip_chars().str.replace(f"^({DATE}) ", "${1}T").str.replace(r"\s+", "")
    text = text.str.replace(f"^({MONTH})$", "${1}-01")
    text = text.str.replace(f"^({DATE})$", "${1}T00:00").str.replace(f"T({CLOCK})($|Z|[+-])", "T${1}:00$2")
    midnight = text.str.contains(MIDNIGHT)
    text = text.str.replace(MIDNIGHT, "T00:00:00")
    if zoned[first]:
        text = text.str.replace("Z$", "+00:00")
        parsed = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="ns", strict=False)
    else:
        parsed = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="ns", strict=False)
    if midnight.any():
        parsed = pl.select(pl.when(midnight).then(parsed.dt.offset_by("1d")).otherwise(parsed)).to_series().alias(title)
    return _without(
        parsed,
        parsed.is_null() & text.is_not_null(),
        faults,
        lambda row: DataError(
            f"{name}: {at(row)}, column '{title}': the time {quoted(column[row])} does not exist",
            code="no-such-time",
            file=name,
            column=title,
            row=row + 1,
        ),
    )


def _years(column: pl.Series) -> pl.Series:
    """The year of each time, clipped to 1 … 9999: polars has no calendar beyond."""
    if column.dtype.time_unit == "ns":  # type: ignore[attr-defined]
        return column.dt.year()
    per_second = 1000 if column.dtype.time_unit == "ms" else 1_000_000  # type: ignore[attr-defined]
    first, last = (int(datetime(year, 7, 1, tzinfo=UTC).timestamp()) * per_second for year in (1, 9999))
    return column.to_physical().clip(first, last).cast(column.dtype).dt.year()


def _in_range(column: pl.Series, years: pl.Series, name: str, faults: Faults) -> pl.Series:
    first, last = YEARS
    return _without(
        column,
        ~years.is_between(first, last),
        faults,
        lambda row: DataError(
            f"{name}: {at(row)}, column '{column.name}': the year {years[row]} is out of range;"
            f" {first} to {last} are supported",
            code="year-out-of-range",
            file=name,
            column=column.name,
            row=row + 1,
            found=int(years[row]),
        ),
    )


def _localise(column: pl.Series, name: str, zone: str, faults: Faults, blank: pl.Series | None) -> pl.Series:
    """Naive local times in UTC. A time that the clock skips is null in a blank row, and refused in any other."""
    import polars as pl

    if zone == "UTC":
        return column.dt.replace_time_zone("UTC")
    first = column.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    second = column.dt.replace_time_zone(zone, ambiguous="latest", non_existent="null")
    skipped = first.is_null() & column.is_not_null()
    if skipped.any() and column.drop_nulls().dt.time().n_unique() == 1:
        # rows of one time of day are days, also the day on which the clock skips that time
        shifted = pl.Series(utc_time(column.to_physical().fill_null(0).to_numpy(), zone)).cast(pl.Datetime("ns", "UTC"))
        first = pl.select(pl.when(skipped).then(shifted.dt.convert_time_zone(zone)).otherwise(first)).to_series()
        skipped = first.is_null() & column.is_not_null()
    first = _without(
        first.alias(column.name),
        skipped & ~blank if blank is not None else skipped,
        faults,
        lambda row: DataError(
            f"{name}: {at(row)}: {column[row]} does not exist in {zone}, where the clock skips it (such rows:"
            f" {skipped.sum()}); leave such a row out, write the times with their offset, or set dataset.timezone to"
            " the zone that the rows keep",
            code="clock-change",
            file=name,
            column=column.name,
            row=row + 1,
            timezone=zone,
        ),
    )
    used = first.is_not_null()
    change = (second - first).dt.total_nanoseconds().fill_null(0).filter(used).to_numpy()
    if not change.any():
        return first
    again = np.zeros(len(column), dtype=bool)
    again[used.to_numpy()] = second_pass(column.filter(used).to_physical().to_numpy(), change)
    return pl.select(pl.when(pl.Series(again)).then(second).otherwise(first)).to_series().alias(column.name)
