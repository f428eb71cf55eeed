"""Read as much as possible of a table that `flts run` would refuse, and keep the message of each refusal.

The reader itself decides: it runs again after each repair, so an inspection never differs from a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flts.contracts.errors import DataError
from flts.preprocess.marks import NUMBER, bare, looks_like, not_a_number
from flts.preprocess.parquet import TIME
from flts.preprocess.place import refuse_repeated
from flts.preprocess.read import LARGEST, Reading, dialect_of, read_columns, read_rows
from flts.preprocess.rows import Rows
from flts.preprocess.source import RawTable
from flts.preprocess.tidy import is_clock, tidy
from flts.preprocess.times import NAMES, is_zoned, looks_like_times, nearly_times, numbers_like_times
from flts.spec.dataset import Dataset

if TYPE_CHECKING:
    import polars as pl

MOSTLY = 0.5
"""Share of numbers from which a column of text was probably meant to be numeric."""


@dataclass(frozen=True)
class Repeats:
    """Rows that have the time of an earlier row."""

    rows: int
    conflicting: int
    """How many of them differ from the earlier row in some cell."""
    series: str | None
    """A column that distinguishes rows of the same time: several series in one table."""
    kinds: int
    """How many values that column has."""


@dataclass(frozen=True)
class NearlyNumeric:
    """A column of text that is mostly numbers, and its first cell that is not a number. Rows count from 1."""

    name: str
    share: float
    row: int
    cell: str


@dataclass(frozen=True)
class Repaired:
    """Usable rows, sorted, one per time, finite; and what had to be left out."""

    name: str
    rows: Rows
    text: tuple[str, ...]
    """Columns that are not numeric."""
    nearly_numeric: tuple[NearlyNumeric, ...]
    zoned: bool
    repeats: Repeats | None
    refusals: tuple[str, ...]
    """Messages with which `flts run` would refuse the table; empty when it accepts it."""
    warnings: tuple[str, ...]

    def table(self) -> RawTable:
        """The rows as a table that can be read again; its times are in UTC."""
        import polars as pl

        times = pl.Series(TIME, self.rows.times).cast(pl.Datetime("ns")).dt.replace_time_zone("UTC")
        columns = [pl.Series(name, self.rows.values[:, i]) for i, name in enumerate(self.rows.columns)]
        return RawTable(self.name, pl.DataFrame([times, *columns]), tidied=True)


def find_time_column(frame: pl.DataFrame) -> str:
    """The column called 'time', or else the first that contains times, or nearly so, or is called like one."""
    if TIME in frame.columns and not is_clock(frame[TIME]):
        return TIME
    for holds in (_of_dates, _of_counts, looks_like_times, nearly_times):
        found = next((column.name for column in frame.iter_columns() if holds(column)), None)
        if found is not None:
            return found
    return next((name for name in frame.columns if NAMES.match(name)), TIME)


def _of_dates(column: pl.Series) -> bool:
    """Whether a column holds times that are no numbers: 1.2023 and 202301 may be either."""
    return looks_like_times(column) and not _of_numbers(column)


def _of_counts(column: pl.Series) -> bool:
    """Whether a column of numbers, or of text that holds them, holds times in order or is called like times."""
    if _of_numbers(column):
        return looks_like_times(column) and bool(NAMES.match(column.name))
    return numbers_like_times(column)


def _of_numbers(column: pl.Series) -> bool:
    import polars as pl

    return column.dtype == pl.String and bool(bare(column).str.contains(NUMBER).all())


def tidied(tables: Sequence[RawTable], time_column: str) -> list[RawTable]:
    """The tables with numbers as numbers; how train is written decides where test can be read in two ways."""
    done: list[RawTable] = []
    for table in tables:
        tidy_one = tidy(replace(table, hint=done[0].dialect) if done else table, time_column)
        done.append(replace(tidy_one, dialect=dialect_of(tidy_one, time_column)))
    return done


def read_repaired(raw: RawTable, dataset: Dataset) -> Repaired:
    """All rows that can be used. Raises DataError where nothing can: no rows, no times, no such column."""
    time = dataset.time_column
    refusals: list[str] = []
    repeats: Repeats | None = None
    try:
        reading = _read(raw, dataset)
    except DataError as error:
        refusals.append(str(error))
        table = _dated(raw, dataset, refusals)
        refusals += _refusal(replace(raw, table=table), dataset)
        table = _as_numbers(table, dataset.targets)
        refusals += _refusal(replace(raw, table=table), dataset)
        table = _finite(table)
        refusals += _refusal(replace(raw, table=table), dataset)
        repeats = _repeats(table, time)
        table = table.unique(subset=time, keep="first", maintain_order=True)
        reading = _read(replace(raw, table=table), dataset)
    text = tuple(name for name in raw.table.columns if name not in {*reading.rows.columns, time})
    nearly = tuple(column for name in text if (column := _nearly_numeric(raw.table[name])) is not None)
    zoned, distinct = is_zoned(raw.table[time], raw.dialect.time_format), tuple(dict.fromkeys(refusals))
    return Repaired(raw.name, reading.rows, text, nearly, zoned, repeats, distinct, tuple(map(str, reading.warnings)))


def _read(raw: RawTable, dataset: Dataset) -> Reading:
    """The rows. Raises DataError for what the reader refuses, and for repeated times, which no grid can hold."""
    reading = read_rows(raw, dataset)
    refuse_repeated(reading.rows.times, reading.rows.times, raw.name)
    return reading


def _refusal(raw: RawTable, dataset: Dataset) -> list[str]:
    try:
        _read(raw, dataset)
    except DataError as error:
        return [str(error)]
    return []


def _as_numbers(table: pl.DataFrame, targets: Sequence[str]) -> pl.DataFrame:
    """The table with only the numbers left in targets of text."""
    import polars as pl

    text = [name for name in targets if name in table.columns and table[name].dtype == pl.String]
    return table.with_columns(pl.col(name).str.strip_chars().cast(pl.Float64, strict=False) for name in text)


def _dated(raw: RawTable, dataset: Dataset, refusals: list[str]) -> pl.DataFrame:
    """The rows whose time can be read, with that time in UTC; each kind of fault is added to the refusals."""
    import polars as pl

    columns = read_columns(raw, dataset.time_column, dataset.timezone, refusals)
    times = columns.times.cast(pl.Datetime("ns")).dt.replace_time_zone("UTC").alias(dataset.time_column)
    dated = raw.table.with_columns(times).filter(times.is_not_null())
    if not dated.height:
        raise DataError(refusals[0], code="no-readable-times", file=raw.name, column=dataset.time_column)
    return dated


def _repeats(table: pl.DataFrame, time: str) -> Repeats | None:
    """How many rows repeat a time, and whether another column explains it."""
    repeated = table.height - table[time].n_unique()
    if not repeated:
        return None
    conflicting = table.n_unique() - table[time].n_unique()
    for column in table.drop(time).iter_columns():
        kinds = column.n_unique()
        distinguished = 1 < kinds <= table.height // 2 and table.n_unique(subset=[time, column.name]) == table.height
        if distinguished and not column.dtype.is_float():
            return Repeats(repeated, conflicting, column.name, kinds)
    return Repeats(repeated, conflicting, None, 0)


def _nearly_numeric(column: pl.Series) -> NearlyNumeric | None:
    import polars as pl

    if column.dtype != pl.String:
        return None
    cells = bare(column)
    numbers = cells.str.contains(NUMBER)
    share = float(numbers.sum()) / max(1, cells.count())
    row = not_a_number(column)
    if row is None or (share < MOSTLY and not looks_like(column[row])):
        return None
    return NearlyNumeric(column.name, share, row + 1, column[row])


def _finite(table: pl.DataFrame) -> pl.DataFrame:
    """The table with cells emptied that are infinite or too large."""
    import polars as pl
    import polars.selectors as cs

    return table.with_columns(pl.when(cs.float().abs() <= LARGEST).then(cs.float()))
