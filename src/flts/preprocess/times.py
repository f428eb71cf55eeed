"""A column of times as people write it → UTC nanoseconds; what would have to be guessed is refused with its row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flts.contracts.errors import DataError

if TYPE_CHECKING:
    import polars as pl

DATE, CLOCK, OFFSET = "[0-9]{4}-[0-9]{2}-[0-9]{2}", "[0-9]{2}:[0-9]{2}", "[+-][0-9]{2}:?[0-9]{2}"
ISO_TIME = rf"^\s*{DATE}([T ]{CLOCK}(:[0-9]{{2}}(\.[0-9]{{1,9}})?)?\s*(Z|{OFFSET})?)?\s*$"
ZONED = rf"[T ]{CLOCK}.*(Z|{OFFSET})\s*$"
LONG = 60
"""Characters of a cell that a message shows."""
YEARS = (1678, 2261)
"""First and last whole year that 64 bits of nanoseconds reach."""

Faults = list[str] | None
"""None: the first fault is raised. A list: each kind of fault is added to it, and its cells become empty."""


def utc_times(column: pl.Series, name: str, timezone: str, faults: Faults = None) -> pl.Series:
    """UTC nanoseconds as Int64; naive times are read in `timezone`. `name` is what messages call the table.

    Raises DataError that names the first row whose time cannot be used, unless `faults` collects such messages; a
    column that holds no times at all is always refused.
    """
    import polars as pl

    of = f"column '{column.name}'"
    column = _without(column, column.is_null(), faults, lambda row: f"{name}: {at(row)} has no time in {of}")
    if column.dtype == pl.String:
        column = _parse(column, name, faults)
    elif column.dtype == pl.Date:
        column = column.cast(pl.Datetime("ms"))
    elif not isinstance(column.dtype, pl.Datetime):
        raise DataError(f"{name}: {of} holds {column.dtype}; write times as ISO 8601, such as 2018-02-05 23:40:00")
    column = _near(column, _years(column), name, faults).dt.cast_time_unit("ns")
    if column.dtype.time_zone is None:  # type: ignore[attr-defined]
        column = _localise(column, name, timezone, faults)
    return column.dt.convert_time_zone("UTC").to_physical()


def is_zoned(column: pl.Series) -> bool:
    """Whether times carry their zone, so that none has to be known."""
    import polars as pl

    if column.dtype == pl.String:
        return bool(column.str.contains(ZONED).any())
    return isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None


def looks_like_times(column: pl.Series) -> bool:
    """Whether a column holds times, by its type or because each of its cells is written as one."""
    import polars as pl

    if column.dtype == pl.String:
        return len(column) > 0 and bool(column.str.contains(ISO_TIME).fill_null(False).all())
    return column.dtype in {pl.Date, pl.Datetime}


def at(index: int) -> str:
    """Rows are counted as a person does: the first one below the header is row 1."""
    return f"row {index + 1}"


def shown(cell: str) -> str:
    """A cell as messages show it: in quotes, on one line, and not all of a long one."""
    return repr(cell if len(cell) <= LONG else f"{cell[:LONG]}…")


def _without(column: pl.Series, bad: pl.Series, faults: Faults, said: Callable[[int], str]) -> pl.Series:
    """The column with its bad cells empty, the fault noted, or DataError. `said` gets the first bad row."""
    import polars as pl

    if not bad.any():
        return column
    message = said(int(bad.fill_null(False).arg_max() or 0))
    if faults is None:
        raise DataError(message)
    faults.append(message)
    return pl.select(pl.when(~bad.fill_null(False)).then(column)).to_series().alias(column.name)


def _parse(column: pl.Series, name: str, faults: Faults) -> pl.Series:
    """Text in ISO 8601 → datetimes, with the zone UTC where the text names one."""
    place = f"column '{column.name}'"
    column = _without(
        column,
        ~column.str.contains(ISO_TIME),
        faults,
        lambda row: (
            f"{name}: {at(row)}, {place}: {shown(column[row])} is no ISO 8601 time"
            " such as 2018-02-05 23:40:00 or 2018-02-05T23:40:00+01:00"
        ),
    )
    column = _near(column, column.str.strip_chars().str.head(4).cast(int), name, faults)
    zoned = column.str.contains(ZONED)
    first = int(zoned.is_not_null().arg_max() or 0)
    column = _without(
        column,
        zoned != zoned[first] if zoned.any() else zoned,
        faults,
        lambda row: (
            f"{name}: {place} mixes times with and without a zone: '{column[first]}' at {at(first)},"
            f" '{column[row]}' at {at(row)}; write all of them one way"
        ),
    )
    text = column.str.strip_chars().str.replace(f"^({DATE}) ", "${1}T").str.replace(r"\s+", "")
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
        lambda row: f"{name}: {at(row)}, {place}: {shown(column[row])} is no time that exists",
    )


def _years(column: pl.Series) -> pl.Series:
    """The year of each time; 1 or 9999 for what polars itself has no calendar for."""
    if column.dtype.time_unit == "ns":  # type: ignore[attr-defined]
        return column.dt.year()
    per_second = 1000 if column.dtype.time_unit == "ms" else 1_000_000  # type: ignore[attr-defined]
    first, last = (int(datetime(year, 7, 1, tzinfo=UTC).timestamp()) * per_second for year in (1, 9999))
    return column.to_physical().clip(first, last).cast(column.dtype).dt.year()


def _near(column: pl.Series, years: pl.Series, name: str, faults: Faults) -> pl.Series:
    first, last = YEARS
    return _without(
        column,
        ~years.is_between(first, last),
        faults,
        lambda row: (
            f"{name}: {at(row)}, column '{column.name}': the year {years[row]} is out of reach; {first} to {last} fit"
        ),
    )


def _localise(column: pl.Series, name: str, zone: str, faults: Faults) -> pl.Series:
    """Naive local times in UTC; a time that the clock shows twice, or never, is refused."""
    if zone == "UTC":
        return column.dt.replace_time_zone("UTC")
    local = column.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    bad = local.is_null() & column.is_not_null()
    return _without(
        local,
        bad,
        faults,
        lambda row: (
            f"{name}: {at(row)}: {column[row]} is ambiguous or skipped in {zone} (the clock changes);"
            f' {bad.sum()} such rows; write the times with their offset, or in UTC with dataset.timezone = "UTC"'
        ),
    )
