"""Where raw rows come from: a CSV or Parquet file, on disk or fetched, or a table in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flts.contracts.canonical import canonical_json
from flts.contracts.errors import DataError, SpecError, UsageError, nearest
from flts.preprocess.dialect import OPEN, Dialect
from flts.preprocess.files import File, read_file
from flts.preprocess.limits import Limits
from flts.preprocess.tables import to_polars
from flts.preprocess.time_column import index_of
from flts.spec.dataset import Dataset

if TYPE_CHECKING:
    import polars as pl

SUFFIXES = (".csv", ".parquet")
OpenFile = Callable[[str], "Path | bytes | None"]


@dataclass(frozen=True)
class RawFile(File):
    """One file of rows, on disk or fetched; hint: as that of `RawTable`."""

    hint: Dialect = OPEN

    def digest(self) -> str:
        """SHA-256 of the bytes."""
        try:
            with self.open() as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(
                f"{self.name}: cannot be read: {error.strerror or error}", code="file-unreadable", file=self.name
            ) from None

    def loaded(self) -> RawTable:
        """The table in the file. Raises DataError naming the file."""
        read = read_file(self)
        return RawTable(self.name, read.frame, read.dialect, read.notes, self.hint)


@dataclass(frozen=True)
class RawTable:
    """Rows in memory, handed over or read from a file.

    dialect: what is named and known of how they are written; notes: what people should know of how they were read;
    hint: the dialect of other rows of the series, which decides where these can be read in two ways; tidied: whether
    `tidy` was applied; index: the column that was the time index of the table.
    """

    name: str
    table: pl.DataFrame
    dialect: Dialect = OPEN
    notes: tuple[str, ...] = ()
    hint: Dialect = OPEN
    tidied: bool = False
    index: str | None = None

    @classmethod
    def of(cls, name: str, table: Any, dialect: Dialect = OPEN) -> RawTable:
        """A polars, pandas or Arrow table, any other with Arrow's stream interface, a mapping of columns, or rows.

        Raises DataError for anything else.
        """
        return cls(name, to_polars(name, table), dialect, index=index_of(table))

    def digest(self) -> str:
        """SHA-256 over names and values as the reader takes them, whatever library holds the table.

        A number counts as float64, a time as microseconds and the nanoseconds beyond, an empty cell as NaN or null.
        """
        digest = hashlib.sha256()
        for column in self.table.iter_columns():
            kind, cells = _canonical(column)
            digest.update(canonical_json([column.name, kind, len(column)]))
            digest.update(cells)
        return digest.hexdigest()

    def loaded(self) -> RawTable:
        """These rows."""
        return self


def _canonical(column: pl.Series) -> tuple[str, bytes]:
    """The kind of a column and its cells: equal for all types that the reader turns into the same rows."""
    import polars as pl

    if column.dtype.is_numeric() or column.dtype in {pl.Boolean, pl.Null}:
        numbers = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        return "number", np.where(np.isnan(numbers), np.nan, numbers).tobytes()
    if column.dtype == pl.Date:
        column = column.cast(pl.Datetime("ms"))
    if isinstance(column.dtype, pl.Datetime):
        ticks = column.fill_null(strategy="zero").to_physical().to_numpy()
        micros, per_micro = {"ms": (1000, 1), "us": (1, 1), "ns": (1, 1000)}[column.dtype.time_unit]
        parts = (column.is_null().to_numpy(), ticks // per_micro * micros, ticks % per_micro)
        return ("zoned" if column.dtype.time_zone else "naive"), b"".join(part.tobytes() for part in parts)
    return "text", canonical_json([None if cell is None else str(cell) for cell in column.to_list()])


Raw = RawFile | RawTable


@dataclass(frozen=True)
class RawInput:
    """The raw train and test rows; `test` is None when one file holds both."""

    train: Raw
    test: Raw | None


def refuse_no_file(file: Path) -> None:
    """Raise UsageError or DataError unless a path that a person gives is a file of rows to read."""
    if file.suffix == ".toml":
        raise UsageError(
            f"{file}: is an experiment; name the CSV or Parquet file with its rows",
            code="not-rows",
            file=str(file),
        )
    if file.is_dir():
        raise UsageError(f"{file}: is a folder; name a CSV or Parquet file in it", code="not-a-file", file=str(file))
    if not file.exists():
        if file.is_symlink():
            raise DataError(f"{file}: is a link to a file that does not exist", code="file-missing", file=str(file))
        beside = [path.name for path in file.parent.glob("*") if path.suffix in SUFFIXES]
        hint = f"; {nearest(file.name, beside)}" if beside and len(beside) <= 20 else ""
        raise DataError(f"{file}: no such file{hint}", code="file-missing", file=str(file))
    if not file.is_file():  # to open a pipe waits for a writer, and some devices never end
        raise UsageError(f"{file}: is a pipe or a device; save the rows in a file", code="not-a-file", file=str(file))


def locate(dataset: Dataset, open_file: OpenFile, where: str, limits: Limits | None = None) -> RawInput:
    """The files that a Spec names. Raises SpecError when it names none, DataError when one is missing.

    open_file: the content of a file by its name, None where there is no such file; where: the folder, for messages;
    limits: of each table.
    """

    def fetch(name: str) -> RawFile | None:
        content = open_file(name)
        return None if content is None else RawFile(name, content, limits or Limits(), Dialect.of(dataset))

    def required(name: str) -> RawFile:
        file = fetch(name)
        if file is None:
            raise DataError(
                f"{where}: there is no file '{name}'; put it there, or name the folder with --source",
                code="file-missing",
                file=name,
                folder=where,
            )
        return file

    if dataset.train_file:
        return RawInput(required(dataset.train_file), required(dataset.test_file) if dataset.test_file else None)
    if dataset.test_file:
        raise SpecError(
            "dataset.test_file is set and dataset.train_file is not; set both, or dataset.name",
            code="train-file-unset",
            key="dataset.train_file",
        )
    if not dataset.name:
        raise SpecError(
            "the Spec names no data: set dataset.name, or dataset.train_file", code="no-data-named", key="dataset.name"
        )
    for suffix in SUFFIXES:
        train = fetch(dataset.name + suffix)
        if train is not None:
            test = next(filter(None, (fetch(f"{dataset.name}_test{s}") for s in SUFFIXES)), None)
            return RawInput(train, test)
    names = " or ".join(dataset.name + suffix for suffix in SUFFIXES)
    raise DataError(
        f"{where}: there is no {names}; put it there, or name the folder with --source",
        code="file-missing",
        file=dataset.name,
        folder=where,
    )
