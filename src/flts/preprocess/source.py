"""Where raw rows come from: a CSV or Parquet file, on disk or fetched, or a table in memory."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from flts.errors import DataError, SpecError
from flts.lineage import RawDigests, canonical_json
from flts.spec import Dataset

if TYPE_CHECKING:
    import polars as pl

SUFFIXES = (".csv", ".parquet")
EMPTY = ("", "NA", "NaN", "nan", "null", "None")
"""How a cell without a value is written in CSV."""
DELIMITERS = {";": "';'", "\t": "tabs", "|": "'|'"}
FORMATS = (
    (b"\xff\xfe", "UTF-16 text", "save it as UTF-8 (iconv -f UTF-16 -t UTF-8 makes it from UTF-16)"),
    (b"\xfe\xff", "UTF-16 text", "save it as UTF-8 (iconv -f UTF-16 -t UTF-8 makes it from UTF-16)"),
    (b"PAR1", "Parquet", "let its name end in .parquet"),
    (b"PK\x03\x04", "an Excel workbook or another ZIP archive", "export its rows as CSV"),
)
"""First bytes of what people take for CSV, what it is, and the way on."""
COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
"""First bytes of gzip and zstd, which are read as what is in them."""
HEADER_BYTES = 1 << 20

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


def _read_frame(raw: RawFile) -> pl.DataFrame:
    import polars as pl

    source = io.BytesIO(raw.content) if isinstance(raw.content, bytes) else raw.content
    try:
        if raw.name.endswith(".parquet"):
            return pl.read_parquet(source)
        _refuse_other_formats(raw)
        frame = pl.read_csv(source, infer_schema_length=None, null_values=list(EMPTY))
    except pl.exceptions.NoDataError:
        raise DataError(f"{raw.name}: is empty; a header and at least one row are needed") from None
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise _unreadable(raw, str(error).splitlines()[0]) from None
    except OSError as error:
        raise DataError(f"{raw.name}: cannot be read: {error.strerror or error}") from None
    _check_header(frame.columns, raw)
    return frame


def _refuse_other_formats(raw: RawFile) -> None:
    """What the first bytes give away, before a parser finds columns in it."""
    with _opened(raw) as file:
        start = file.read(1024)
    for magic, found, way_on in FORMATS:
        if start.startswith(magic):
            raise DataError(f"{raw.name}: is {found}; {way_on}")
    if b"\0" in start and not start.startswith(COMPRESSED):
        raise DataError(f"{raw.name}: holds zero bytes, as UTF-16 does; save it as UTF-8 text")


def _unreadable(raw: RawFile, reason: str) -> DataError:
    """Why a parser gave up: another encoding, another delimiter, or what it says itself."""
    if raw.name.endswith(".parquet"):
        return DataError(f"{raw.name}: cannot be read as Parquet: {reason}")
    with _opened(raw) as file:
        header = file.readline(HEADER_BYTES)
    if not header.startswith(COMPRESSED):
        foreign = _other_encoding(raw) or _other_delimiter(header.decode(errors="replace"), raw.name)
        if foreign is not None:
            return foreign
    return DataError(f"{raw.name}: cannot be read as CSV with commas and a header, UTF-8: {reason}")


def _other_encoding(raw: RawFile) -> DataError | None:
    with _opened(raw) as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte = line[error.start : error.start + 1]
                return DataError(
                    f"{raw.name}: is not UTF-8 text: line {number} holds the byte 0x{byte.hex()}, which in Latin-1 is"
                    f" '{byte.decode('latin-1')}'; save it as UTF-8 (iconv -f LATIN1 -t UTF-8 makes it from Latin-1)"
                )
    return None


def _other_delimiter(header: str, name: str) -> DataError | None:
    count, found = max((header.count(delimiter), delimiter) for delimiter in DELIMITERS)
    if count <= header.count(","):
        return None
    return DataError(
        f"{name}: its columns are separated by {DELIMITERS[found]}; commas are needed, with a point in decimal numbers"
    )


def _check_header(columns: Sequence[str], raw: RawFile) -> None:
    """What polars mends or passes over in the header of a CSV: one column, bytes not UTF-8, a name that comes twice."""
    if len(columns) == 1 and (foreign := _other_delimiter(columns[0], raw.name)) is not None:
        raise foreign
    if any("\ufffd" in column for column in columns) and (foreign := _other_encoding(raw)) is not None:
        raise foreign
    for column in columns:
        twice = re.fullmatch(r"(.+)_duplicated_\d+", column)
        if twice and twice[1] in columns:
            raise DataError(
                f"{raw.name}: the header names the column '{twice[1]}' twice; give each column its own name"
            )


def _opened(raw: RawFile) -> BinaryIO:
    return io.BytesIO(raw.content) if isinstance(raw.content, bytes) else raw.content.open("rb")
