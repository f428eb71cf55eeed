"""The bytes of one file → a table, or one message that says what the file is instead."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flts.contracts.errors import DataError

if TYPE_CHECKING:
    import polars as pl

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
WANTED = "CSV with commas and a header, UTF-8"


@dataclass(frozen=True)
class File:
    """The content of a file under the name that messages give it."""

    name: str
    content: Path | bytes

    def open(self) -> io.BytesIO | io.BufferedReader:
        """Its bytes from the start."""
        return io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")


def read_file(file: File) -> pl.DataFrame:
    """The table in a CSV or Parquet file. Raises DataError naming the file, and the row where there is one."""
    import polars as pl

    try:
        if file.name.endswith(".parquet"):
            return _parquet(file)
        _refuse_other_formats(file)
        frame = _csv(file)
    except pl.exceptions.NoDataError:
        raise DataError(
            f"{file.name}: is empty; a header and at least one row are needed", code="file-empty", file=file.name
        ) from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, UnicodeDecodeError) as error:
        raise _unreadable(file, str(error).splitlines()[0]) from None
    except OSError as error:
        raise DataError(
            f"{file.name}: cannot be read: {error.strerror or error}", code="file-unreadable", file=file.name
        ) from None
    _check_header(frame, file)
    return _without_blank_ends(frame).rename(_name)


def _parquet(file: File) -> pl.DataFrame:
    """Damage inside a file is refused too, but polars may panic over it in two threads and so end the process."""
    import polars as pl

    return pl.read_parquet(file.content)


def _csv(file: File) -> pl.DataFrame:
    """Numbers where a column holds nothing else; all as text where a number is beyond every type of integer."""
    import polars as pl

    try:
        return pl.read_csv(file.content, infer_schema_length=None, null_values=list(EMPTY))
    except pl.exceptions.NoDataError:
        raise
    except pl.exceptions.PolarsError:
        return pl.read_csv(file.content, infer_schema=False, null_values=list(EMPTY))


def _without_blank_ends(frame: pl.DataFrame) -> pl.DataFrame:
    """Blank lines at the end are no rows; one in the middle is a row whose time is missing."""
    import polars as pl

    if frame.width == 0 or frame.height == 0 or any(value is not None for value in frame.row(-1)):
        return frame
    held = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    return frame[: frame.height - int(held.reverse().arg_max() or 0)] if held.any() else frame.clear()


def _refuse_other_formats(file: File) -> None:
    """What the first bytes give away, before a parser finds columns in it."""
    with file.open() as opened:
        start = opened.read(1024)
    for magic, found, way_on in FORMATS:
        if start.startswith(magic):
            raise DataError(f"{file.name}: is {found}; {way_on}", code="wrong-format", file=file.name, found=found)
    if b"\0" in start and not start.startswith(COMPRESSED):
        raise DataError(
            f"{file.name}: holds zero bytes, as UTF-16 does; save it as UTF-8 text",
            code="wrong-encoding",
            file=file.name,
        )


def _unreadable(file: File, reason: str) -> DataError:
    """Why a parser gave up: another encoding, another delimiter, a longer line, or what it says itself."""
    if file.name.endswith(".parquet"):
        return DataError(f"{file.name}: cannot be read as Parquet: {reason}", code="not-parquet", file=file.name)
    with file.open() as opened:
        header = opened.readline(HEADER_BYTES)
    if not header.startswith(COMPRESSED):
        found = (
            _other_encoding(file)
            or _other_delimiter(header.decode(errors="replace"), file.name)
            or _longer_than_header(file)
        )
        if found is not None:
            return found
    return DataError(f"{file.name}: cannot be read as {WANTED}: {reason}", code="not-csv", file=file.name)


def _other_encoding(file: File) -> DataError | None:
    with file.open() as opened:
        for number, line in enumerate(opened, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte = line[error.start : error.start + 1]
                return DataError(
                    f"{file.name}: is not UTF-8 text: line {number} holds the byte 0x{byte.hex()}, which in Latin-1 is"
                    f" '{byte.decode('latin-1')}'; save it as UTF-8 (iconv -f LATIN1 -t UTF-8 makes it from Latin-1)",
                    code="wrong-encoding",
                    file=file.name,
                    line=number,
                )
    return None


def _other_delimiter(header: str, name: str) -> DataError | None:
    count, found = max((header.count(delimiter), delimiter) for delimiter in DELIMITERS)
    if count <= header.count(","):
        return None
    return DataError(
        f"{name}: its columns are separated by {DELIMITERS[found]}; commas are needed, with a point in decimal numbers",
        code="wrong-delimiter",
        file=name,
        found=found,
    )


def _longer_than_header(file: File) -> DataError | None:
    """A line with more cells than the header, as a comma in a number makes one."""
    with file.open() as opened:
        lines = csv.reader(io.TextIOWrapper(opened, encoding="utf-8-sig", newline=""))
        try:
            header = next((cells for cells in lines if cells), [])
            for cells in lines:
                if len(cells) > len(header):
                    return DataError(
                        f"{file.name}: line {lines.line_num} has {len(cells)} cells, the header {len(header)}; write"
                        " decimal numbers with a point, text with a comma in quotes, and nothing above the header",
                        code="line-too-long",
                        file=file.name,
                        line=lines.line_num,
                        found=len(cells),
                        expected=len(header),
                    )
        except csv.Error:
            return None
    return None


def _name(written: str) -> str:
    """A name without the spaces around it; one of spaces alone stays, as there may be several."""
    return written.strip() or written


def _check_header(frame: pl.DataFrame, file: File) -> None:
    """What polars mends or passes over in the header of a CSV."""
    columns: Sequence[str] = frame.columns
    if len(columns) == 1 and (foreign := _other_delimiter(columns[0], file.name)) is not None:
        raise foreign
    if any("\ufffd" in column for column in columns) and (foreign := _other_encoding(file)) is not None:
        raise foreign
    if frame.height == 0 and any("\r" in column for column in columns):
        raise DataError(
            f"{file.name}: its lines end with CR alone; save it with LF or CRLF at the end of a line",
            code="wrong-line-ends",
            file=file.name,
        )
    stripped = [_name(column) for column in columns]
    for column in stripped:
        renamed = re.fullmatch(r"(.+)_duplicated_\d+", column)
        name = renamed[1] if renamed and renamed[1] in stripped else column
        if name != column or stripped.count(name) > 1:
            raise DataError(
                f"{file.name}: the header names the column '{name}' twice; give each column its own name",
                code="column-twice",
                file=file.name,
                column=name,
            )
