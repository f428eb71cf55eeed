"""A column of times as people write them → UTC nanoseconds; nothing is guessed, and a refusal names the row."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from flts.contracts.errors import DataError
from flts.preprocess.clock import second_pass
from flts.preprocess.grid import utc_time

if TYPE_CHECKING:
    import polars as pl

DATE, CLOCK, OFFSET = "[0-9]{4}-[0-9]{2}-[0-9]{2}", "[0-9]{2}:[0-9]{2}", "[+-][0-9]{2}:?[0-9]{2}"
MONTH = "[0-9]{4}-[0-9]{2}"
ISO_TIME = rf"^\s*({MONTH}|{DATE}([T ]{CLOCK}(:[0-9]{{2}}(\.[0-9]{{1,9}})?)?\s*(Z|{OFFSET})?)?)\s*$"
ZONED = rf"[T ]{CLOCK}.*(Z|{OFFSET})\s*$"
LONG = 60
"""Characters of a cell that a message quotes."""
YEARS = (1678, 2261)
"""First and last whole year that 64 bits of nanoseconds cover."""

Faults = list[str] | None
"""None: the first fault is raised. A list: it collects a message per kind of fault, and the cells become empty."""
Fault = Callable[[int], DataError]
"""The error about one row."""


def utc_times(
    column: pl.Series, name: str, timezone: str, faults: Faults = None, blank: pl.Series | None = None
) -> pl.Series:
    """UTC nanoseconds as Int64; naive times are read in `timezone`, in the order of the rows where its clock goes back.

    name: what messages call the table; blank: the rows without any value, whose time is null where the clock skips it.
    Raises DataError for the first row whose time cannot be used, unless `faults` collects such messages; a column of
    another type is always refused.
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
    if column.dtype == pl.String:
        column = _parse(column, name, faults)
    elif column.dtype == pl.Date:
        column = column.cast(pl.Datetime("ms"))
    elif not isinstance(column.dtype, pl.Datetime):
        raise DataError(
            f"{name}: column '{title}' holds {column.dtype}; write times as ISO 8601, such as 2018-02-05 23:40:00",
            code="column-not-times",
            file=name,
            column=title,
            found=str(column.dtype),
        )
    column = _in_range(column, _years(column), name, faults).dt.cast_time_unit("ns")
    if column.dtype.time_zone is None:  # type: ignore[attr-defined]
        column = _localise(column, name, timezone, faults, blank)
    return column.dt.convert_time_zone("UTC").to_physical()


def is_zoned(column: pl.Series) -> bool:
    """Whether the times carry their own zone, so that dataset.timezone does not matter for reading them."""
    import polars as pl

    if column.dtype == pl.String:
        return bool(column.str.contains(ZONED).any())
    return isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None


def zone_of(column: pl.Series) -> str | None:
    """The zone that a column of times names in its type, such as Europe/Madrid; text has offsets, and no zone."""
    import polars as pl

    zone = column.dtype.time_zone if isinstance(column.dtype, pl.Datetime) else None
    return zone if zone in zoneinfo.available_timezones() else None


def looks_like_times(column: pl.Series) -> bool:
    """Whether a column holds times, by its type or because each of its cells is written as one."""
    import polars as pl

    if column.dtype == pl.String:
        return len(column) > 0 and bool(column.str.contains(ISO_TIME).fill_null(False).all())
    return column.dtype in {pl.Date, pl.Datetime}


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


def _parse(column: pl.Series, name: str, faults: Faults) -> pl.Series:
    """Text in ISO 8601 → datetimes, with the zone UTC where the text names one."""
    title = column.name
    column = _without(
        column,
        ~column.str.contains(ISO_TIME),
        faults,
        lambda row: DataError(
            f"{name}: {at(row)}, column '{title}': {quoted(column[row])} is not an ISO 8601 time"
            " such as 2018-02-05 23:40:00 or 2018-02-05T23:40:00+01:00",
            code="time-not-iso",
            file=name,
            column=title,
            row=row + 1,
        ),
    )
    column = _in_range(column, column.str.strip_chars().str.head(4).cast(int), name, faults)
    zoned = column.str.contains(ZONED)
    first = int(zoned.is_not_null().arg_max() or 0)
    column = _without(
        column,
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
    text = column.str.strip_chars().str.replace(f"^({DATE}) ", "${1}T").str.replace(r"\s+", "")
    text = text.str.replace(f"^({MONTH})$", "${1}-01")
    text = text.str.replace(f"^({DATE})$", "${1}T00:00").str.replace(f"T({CLOCK})($|Z|[+-])", "T${1}:00$2")
    if zoned[first]:
        text = text.str.replace("Z$", "+00:00")
        parsed = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="ns", strict=False)
    else:
        parsed = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="ns", strict=False)
    return _without(
        parsed,
        parsed.is_null() & column.is_not_null(),
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
