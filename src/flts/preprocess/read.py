"""Find the raw rows, read them, and refuse what cannot be used with one message that names the place.

Accepts CSV, Parquet and tables in memory. Times become UTC nanoseconds; numeric columns become float64 with NaN for
an empty cell; other columns are left out and named in a warning.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flts.errors import DataError, SpecError, nearest
from flts.lineage import RawDigests, canonical_json
from flts.preprocess.parquet import TIME
from flts.preprocess.rows import Rows
from flts.spec import Dataset

if TYPE_CHECKING:
    import polars as pl

SUFFIXES = (".csv", ".parquet")
ISO_TIME = r"^\s*\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?)?\s*(Z|[+-]\d{2}:?\d{2})?\s*$"
ZONED = r"[T ]\d{2}:.*(Z|[+-]\d{2}:?\d{2})\s*$"
EMPTY = ("", "NA", "NaN", "nan", "null", "None")
"""How a cell without a value is written in CSV."""
YEARS = (1678, 2261)
"""First and last whole year that 64 bits of nanoseconds reach."""
SHOWN = 3

OpenFile = Callable[[str], "Path | bytes | None"]


@dataclass(frozen=True)
class RawFile:
    """One file of rows, on disk or fetched."""

    name: str
    content: Path | bytes

    def digest(self) -> str:
        """SHA-256 of the bytes."""
        if isinstance(self.content, bytes):
            return hashlib.sha256(self.content).hexdigest()
        with self.content.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def frame(self) -> pl.DataFrame:
        """The table in the file. Raises DataError naming the file."""
        return _read_frame(self)


@dataclass(frozen=True)
class RawTable:
    """Rows handed over in memory."""

    name: str
    table: pl.DataFrame

    @classmethod
    def of(cls, name: str, table: Any) -> RawTable:
        """A polars, pandas or Arrow table, or a mapping of columns. Raises DataError for anything else."""
        import polars as pl

        if isinstance(table, pl.DataFrame):
            return cls(name, table)
        if isinstance(table, str | bytes | Path):
            raise DataError(f"{name}: {table!r} is no table; read the file first, for instance with polars.read_csv")
        try:
            if hasattr(table, "reset_index") and getattr(table.index, "name", None) is not None:
                table = table.reset_index()  # pandas often keeps the time as a named index
            return cls(name, pl.DataFrame(table))
        except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{name}: a {type(table).__name__} is no table of columns: {reason}") from None

    def digest(self) -> str:
        """SHA-256 over names, types and values, column by column, independent of how the table is held."""
        import polars as pl

        digest = hashlib.sha256()
        for column in self.table.iter_columns():
            digest.update(canonical_json([column.name, str(column.dtype), len(column)]))
            wide = column.dtype.is_decimal() or column.dtype in {pl.Int128, pl.UInt128}  # numpy has no such numbers
            if (column.dtype.is_numeric() and not wide) or column.dtype.is_temporal():
                digest.update(column.is_null().to_numpy().tobytes())
                digest.update(column.fill_null(strategy="zero").to_physical().to_numpy().tobytes())
            else:
                digest.update(canonical_json([None if v is None else str(v) for v in column.to_list()]))
        return digest.hexdigest()

    def frame(self) -> pl.DataFrame:
        """The table."""
        return self.table


Raw = RawFile | RawTable


@dataclass(frozen=True)
class RawInput:
    """The raw train and test rows; `test` is None when one file holds both."""

    train: Raw
    test: Raw | None

    def digests(self) -> RawDigests:
        """What data_hash takes of the bytes."""
        return RawDigests(self.train.digest(), self.test.digest() if self.test else None)


@dataclass
class Reading:
    """The rows of one table and what is worth saying about them."""

    rows: Rows
    warnings: list[str] = field(default_factory=list)


def locate(dataset: Dataset, open_file: OpenFile, where: str) -> RawInput:
    """The files a Spec names. Raises SpecError when none is named, DataError when one is not there."""

    def fetch(name: str) -> RawFile | None:
        content = open_file(name)
        return None if content is None else RawFile(name, content)

    def required(name: str) -> RawFile:
        found = fetch(name)
        if found is None:
            raise DataError(f"{where}: there is no file '{name}'; put it there, or name the folder with --source")
        return found

    if dataset.train_file:
        return RawInput(required(dataset.train_file), required(dataset.test_file) if dataset.test_file else None)
    if dataset.test_file:
        raise SpecError("dataset.test_file is set and dataset.train_file is not; set both, or dataset.name")
    if not dataset.name:
        raise SpecError("the Spec names no data: set dataset.name, or dataset.train_file")
    for suffix in SUFFIXES:
        train = fetch(dataset.name + suffix)
        if train is not None:
            test = next(filter(None, (fetch(f"{dataset.name}_test{s}") for s in SUFFIXES)), None)
            return RawInput(train, test)
    names = " or ".join(dataset.name + suffix for suffix in SUFFIXES)
    raise DataError(f"{where}: there is no {names}; put it there, or name the folder with --source")


def read_rows(raw: Raw, dataset: Dataset) -> Reading:
    """All numeric columns of a table, sorted by time. Raises DataError naming file, column and row."""
    frame = raw.frame()
    if frame.width == 0 or frame.height == 0:
        raise DataError(f"{raw.name}: has no rows; a header and at least one row are needed")
    if dataset.time_column not in frame.columns:
        raise DataError(
            f"{raw.name}: has no time column '{dataset.time_column}'; {nearest(dataset.time_column, frame.columns)}"
        )
    reading = Reading(Rows(np.empty(0, np.int64), np.empty((0, 0)), ()))
    times = _times(frame[dataset.time_column], raw.name, dataset)
    columns, values = _numeric(frame.drop(dataset.time_column), raw.name, reading.warnings)
    if TIME in columns:
        raise DataError(
            f"{raw.name}: has a numeric column '{TIME}' beside the time column '{dataset.time_column}';"
            f" '{TIME}' is what the times are kept as, so give this column another name"
        )
    for target in dataset.targets:
        if target not in columns:
            raise _unusable_target(target, frame, columns, raw.name)
    if (np.diff(times) < 0).any():
        row = int(np.argmax(np.diff(times) < 0)) + 1
        reading.warnings.append(f"{raw.name}: rows are not in order of time (first at {_row(row)}); they were sorted")
        order = np.argsort(times, kind="stable")
        times, values = times[order], values[order]
    _refuse_duplicates(times, raw.name)
    _refuse_infinite(values, columns, raw.name)
    reading.rows = Rows(times, values, tuple(columns))
    return reading


def split(rows: Rows, test_fraction: float, name: str) -> tuple[Rows, Rows]:
    """The first rows as train, the last `test_fraction` as test."""
    test = round(len(rows) * test_fraction)
    if not 0 < test < len(rows):
        raise DataError(f"{name}: {len(rows)} rows cannot be split with test_fraction = {test_fraction}")
    return rows[: len(rows) - test], rows[len(rows) - test :]


def _read_frame(raw: RawFile) -> pl.DataFrame:
    import polars as pl

    source = io.BytesIO(raw.content) if isinstance(raw.content, bytes) else raw.content
    try:
        if raw.name.endswith(".parquet"):
            return pl.read_parquet(source)
        frame = pl.read_csv(source, infer_schema_length=None, null_values=list(EMPTY))
    except pl.exceptions.NoDataError:
        raise DataError(f"{raw.name}: is empty; a header and at least one row are needed") from None
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        kind = "Parquet" if raw.name.endswith(".parquet") else "CSV with commas and a header, UTF-8"
        raise DataError(f"{raw.name}: cannot be read as {kind}: {str(error).splitlines()[0]}") from None
    except OSError as error:
        raise DataError(f"{raw.name}: cannot be read: {error.strerror or error}") from None
    _check_header(frame.columns, raw.name)
    return frame


def _check_header(columns: Sequence[str], name: str) -> None:
    """What polars mends in the header of a CSV without a word: a name that comes twice, bytes that are not UTF-8."""
    if any("\ufffd" in column for column in columns):
        raise DataError(f"{name}: cannot be read as CSV with commas and a header, UTF-8: the header is not UTF-8")
    for column in columns:
        twice = re.fullmatch(r"(.+)_duplicated_\d+", column)
        if twice and twice[1] in columns:
            raise DataError(f"{name}: the header names the column '{twice[1]}' twice; give each column its own name")


def _times(column: pl.Series, name: str, dataset: Dataset) -> np.ndarray[Any, np.dtype[np.int64]]:
    import polars as pl

    if column.null_count():
        row = int(column.is_null().arg_max() or 0)
        raise DataError(f"{name}: {_row(row)} has no time in column '{column.name}'")
    if column.dtype == pl.String:
        column = _parse_times(column, name)
    elif column.dtype == pl.Date:
        column = column.cast(pl.Datetime("ns"))
    elif not isinstance(column.dtype, pl.Datetime):
        raise DataError(
            f"{name}: column '{column.name}' holds {column.dtype}; write times as ISO 8601, such as 2018-02-05 23:40:00"
        )
    _refuse_far(column.dt.year(), column.name, name)
    column = column.dt.cast_time_unit("ns")
    if column.dtype.time_zone is None:  # type: ignore[attr-defined]
        column = _localise(column, name, dataset.timezone)
    return column.dt.convert_time_zone("UTC").to_physical().to_numpy()


def _parse_times(column: pl.Series, name: str) -> pl.Series:
    import polars as pl

    fits = column.str.contains(ISO_TIME)
    if not fits.all():
        row = int((~fits).arg_max() or 0)
        raise DataError(
            f"{name}: {_row(row)}, column '{column.name}': '{column[row]}' is no ISO 8601 time"
            " such as 2018-02-05 23:40:00 or 2018-02-05T23:40:00+01:00"
        )
    _refuse_far(column.str.strip_chars().str.head(4).cast(pl.Int32), column.name, name)
    zoned = column.str.contains(ZONED)
    if zoned.any() and not zoned.all():
        row = int((zoned != zoned[0]).arg_max() or 0)
        raise DataError(
            f"{name}: column '{column.name}' mixes times with and without a zone: "
            f"'{column[0]}' at {_row(0)}, '{column[row]}' at {_row(row)}; write all of them one way"
        )
    text = column.str.strip_chars().str.replace(" ", "T", literal=True).str.replace(" ", "", literal=True)
    text = text.str.replace(r"^(\d{4}-\d{2}-\d{2})$", "${1}T00:00").str.replace(
        r"T(\d{2}:\d{2})($|Z|[+-])", "T${1}:00$2"
    )
    if zoned.all():
        parsed = text.str.replace("Z$", "+00:00").str.to_datetime(
            "%Y-%m-%dT%H:%M:%S%.f%z", time_unit="ns", strict=False
        )
    else:
        parsed = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="ns", strict=False)
    if parsed.null_count():
        row = int(parsed.is_null().arg_max() or 0)
        raise DataError(f"{name}: {_row(row)}, column '{column.name}': '{column[row]}' is no time that exists")
    return parsed


def _refuse_far(years: pl.Series, column: str, name: str) -> None:
    first, last = YEARS
    far = ~years.is_between(first, last)
    if far.any():
        row = int(far.arg_max() or 0)
        raise DataError(
            f"{name}: {_row(row)}, column '{column}': the year {years[row]} is out of reach; {first} to {last} fit"
        )


def _localise(column: pl.Series, name: str, zone: str) -> pl.Series:
    """Naive local times in UTC; a time that the clock shows twice, or never, is refused."""
    if zone == "UTC":
        return column.dt.replace_time_zone("UTC")
    local = column.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    if local.null_count():
        rows = np.flatnonzero(local.is_null().to_numpy())
        first = int(rows[0])
        raise DataError(
            f"{name}: {_row(first)}: {column[first]} is ambiguous or skipped in {zone} (the clock changes);"
            f' {len(rows)} such rows; write the times with their offset, or in UTC with dataset.timezone = "UTC"'
        )
    return local


def _numeric(
    frame: pl.DataFrame, name: str, warnings: list[str]
) -> tuple[list[str], np.ndarray[Any, np.dtype[np.float64]]]:
    """Names and values of the numeric columns."""
    import polars as pl

    columns, arrays, left_out = [], [], []
    for column in map(_numbers, frame.iter_columns()):
        if column.dtype.is_numeric() or column.dtype in {pl.Boolean, pl.Null}:
            columns.append(column.name)
            arrays.append(column.cast(pl.Float64).fill_null(float("nan")).to_numpy())
        else:
            left_out.append(column.name)
    if left_out:
        warnings.append(f"{name}: columns that are not numeric were left out: {', '.join(left_out)}")
    return columns, np.column_stack(arrays) if arrays else np.empty((frame.height, 0))


def _numbers(column: pl.Series) -> pl.Series:
    """A column of text as numbers when all of its cells are, such as ' 1', or are empty."""
    import polars as pl

    if column.dtype != pl.String:
        return column
    text = column.str.strip_chars()
    text = text.set(text.is_in(EMPTY), None)
    numbers = text.cast(pl.Float64, strict=False)
    return numbers if numbers.null_count() == text.null_count() else column


def _unusable_target(target: str, frame: pl.DataFrame, columns: Sequence[str], name: str) -> DataError:
    if target not in frame.columns:
        return DataError(f"{name}: has no column '{target}' to forecast; {nearest(target, columns)}")
    import polars as pl

    column = frame[target]
    if column.dtype != pl.String:
        return DataError(f"{name}: column '{target}' holds {column.dtype}, no numbers, and it is to be forecast")
    text = column.str.strip_chars()
    wrong = text.is_not_null() & ~text.is_in(EMPTY) & text.cast(pl.Float64, strict=False).is_null()
    row = int(wrong.arg_max() or 0)
    return DataError(
        f"{name}: {_row(row)}: '{column[row]}' in column '{target}' is no number, and it is to be forecast"
    )


def _refuse_duplicates(times: np.ndarray[Any, np.dtype[np.int64]], name: str) -> None:
    same = np.flatnonzero(np.diff(times) == 0)
    if len(same):
        shown = ", ".join(str(np.datetime64(int(t), "ns").astype("datetime64[s]")) for t in times[same[:SHOWN]])
        raise DataError(f"{name}: {len(same)} rows repeat the time of another row (UTC {shown}); keep one row per time")


def _refuse_infinite(values: np.ndarray[Any, np.dtype[np.float64]], columns: Sequence[str], name: str) -> None:
    infinite = np.isinf(values)
    if infinite.any():
        row, column = (int(index) for index in np.argwhere(infinite)[0])
        raise DataError(
            f"{name}: column '{columns[column]}' holds an infinite value ({int(infinite.sum())} cells in all,"
            f" the first in the row of UTC time order {row + 1}); leave the cell empty where nothing was measured"
        )


def _row(index: int) -> str:
    """Rows are counted as a person does: the first one below the header is row 1."""
    return f"row {index + 1}"
