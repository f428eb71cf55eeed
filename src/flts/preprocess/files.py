"""The bytes of one file → a table, or one message that says what the file is instead."""

from __future__ import annotations

import csv
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from flts.contracts.errors import DataError
from flts.preprocess.footer import size_of
from flts.preprocess.limits import Limits

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
"""First bytes of files that people mistake for CSV, what such a file is, and how to convert it."""
DEFLATED = (b"\x1f\x8b", b"x\x01", b"x\x9c", b"x\xda")
ZSTD = b"\x28\xb5\x2f\xfd"
COMPRESSED = (*DEFLATED, ZSTD)
"""First bytes of gzip, zlib and zstd: polars decompresses all of them."""
ZSTD_BLOCK = 1 << 17
"""Bytes that a block of zstd decodes to at most (RFC 8878, 3.1.1.2.4)."""
HEADER_BYTES = 1 << 20
LINE_BYTES = 2**27
"""Bytes of the longest line: that of a million columns is shorter."""
CHUNK = 1 << 20
CELL, COLUMN = 8, 1024
"""Bytes in memory of a number, and of a column beside its cells."""
WANTED = "CSV with commas and a header, UTF-8"


@dataclass(frozen=True)
class File:
    """The content of a file under the name that messages give it."""

    name: str
    content: Path | bytes
    limits: Limits = field(default_factory=Limits)

    def open(self) -> io.BytesIO | io.BufferedReader:
        """Its bytes from the start."""
        return io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")

    @property
    def source(self) -> Path | bytes:
        """What polars is given, with `glob=False`: it takes a path with `*`, `[` or `~` for other files."""
        return self.content if isinstance(self.content, bytes) else self.content.absolute()


def read_file(file: File) -> pl.DataFrame:
    """The table in a CSV or Parquet file. Raises DataError naming the file, and the row where there is one.

    Its size in memory is known, and refused where it is above the limits, before anything is decoded.
    """
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
    """Read Parquet; where a file is damaged in two places, polars may panic in two threads and end the process."""
    import polars as pl

    with file.open() as opened:
        try:
            size = size_of(opened)
        except ValueError as error:
            raise _unreadable(file, str(error)) from None
    file.limits.check(file.name, size.rows, size.columns, size.cells, size.memory)
    frame = pl.read_parquet(file.source, glob=False)
    # rows of a dictionary share its texts; whatever works on them writes each one out
    file.limits.check(file.name, size.rows, size.columns, size.cells, int(frame.estimated_size()))
    return frame


def _csv(file: File) -> pl.DataFrame:
    """Read CSV with inferred types, or all as text where a number is beyond every type of integer."""
    import polars as pl

    _count(file)
    try:
        return pl.read_csv(file.source, infer_schema_length=None, null_values=list(EMPTY), glob=False)
    except pl.exceptions.NoDataError:
        raise
    except pl.exceptions.PolarsError:
        return pl.read_csv(file.source, infer_schema=False, null_values=list(EMPTY), glob=False)


def _count(file: File) -> None:
    """Refuse a CSV file above the limits. A number takes eight bytes in memory, a text about what it has in the file.

    A line counts as a row with all columns of the header, because polars fills a short one with empty cells. The header
    ends with the first line break outside quotes. A line that never ends is refused too: a parser takes several times
    its size.
    """
    columns, lines, size, quoted, in_header, unended = 1, 0, 0, False, True, 0
    for chunk in _text(file):
        rest = chunk if size else chunk.lstrip(b"\xef\xbb\xbf\r\n \t")
        size += len(chunk)
        lines += chunk.count(b"\n")
        tail = len(chunk) - chunk.rfind(b"\n") - 1
        unended = tail + (unended if tail == len(chunk) else 0)
        if unended > LINE_BYTES:
            raise DataError(
                f"{file.name}: line {lines + 1:,} has more than {LINE_BYTES:,} bytes; write one row a line",
                code="line-too-large",
                file=file.name,
                line=lines + 1,
            )
        while in_header and rest:
            line, ended, rest = rest.partition(b"\n")
            columns += line.count(b",")
            quoted ^= bool(line.count(b'"') % 2)
            in_header = not ended or (quoted and size <= HEADER_BYTES)
        memory = max(CELL * lines * columns, size) + COLUMN * columns
        file.limits.check(file.name, lines, columns, lines * columns, memory, size)


def _text(file: File) -> Iterator[bytes]:
    """The text of a CSV file in chunks, decompressed."""
    with file.open() as opened:
        magic = opened.read(4)
        opened.seek(0)
        if magic.startswith(DEFLATED):
            try:
                yield from _inflated(opened)
            except zlib.error as error:
                raise _unreadable(file, str(error)) from None
        elif magic == ZSTD:
            file.limits.check(file.name, 0, 0, 0, most_of_zstd(opened))  # one line may hold all of the text
            yield from _lines(file)
        else:
            yield from iter(lambda: opened.read(CHUNK), b"")


def _inflated(opened: IO[bytes]) -> Iterator[bytes]:
    """The text of gzip, which may have several members, or zlib."""
    inflater, waiting = zlib.decompressobj(wbits=47), b""
    while waiting := waiting or opened.read(CHUNK):
        yield inflater.decompress(waiting, CHUNK)
        waiting = inflater.unconsumed_tail
        if inflater.eof:
            waiting = inflater.unused_data or opened.read(CHUNK)
            if not waiting.startswith(DEFLATED):
                return
            inflater = zlib.decompressobj(wbits=47)


def most_of_zstd(opened: IO[bytes]) -> int:
    """How many bytes a zstd file decodes to at most, from the headers of its blocks (RFC 8878, section 3.1)."""
    most = 0
    while len(magic := opened.read(4)) == 4:
        if magic[1:] == b"\x2a\x4d\x18" and magic[0] >> 4 == 5:  # a frame to skip
            opened.seek(int.from_bytes(opened.read(4), "little"), io.SEEK_CUR)
            continue
        (flags,) = opened.read(1) or b"\0"
        if magic != ZSTD:
            break
        single = flags >> 5 & 1
        sizes = (not single, (0, 1, 2, 4)[flags & 3], (single, 2, 4, 8)[flags >> 6])  # window, dictionary, content
        opened.seek(sum(sizes), io.SEEK_CUR)
        last = False
        while not last and len(header := opened.read(3)) == 3:
            head = int.from_bytes(header, "little")
            last, kind, size = bool(head & 1), head >> 1 & 3, head >> 3
            most += max(size, ZSTD_BLOCK) if kind == 2 else size
            opened.seek(1 if kind == 1 else size, io.SEEK_CUR)  # kind 1 repeats one byte
        opened.seek(4 if flags >> 2 & 1 else 0, io.SEEK_CUR)  # a checksum
    return most


def _lines(file: File) -> Iterator[bytes]:
    """The text of a compressed file, a few thousand lines at a time."""
    import polars as pl

    scanned = pl.scan_csv(
        file.source,
        has_header=False,
        separator="\x01",
        quote_char=None,
        schema={"line": pl.String},
        encoding="utf8-lossy",
        empty_string_is_null=False,
        extra_columns="ignore",
        glob=False,
    )
    for batch in scanned.collect_batches(maintain_order=True):
        yield "\n".join([*batch["line"].to_list(), ""]).encode()


def _without_blank_ends(frame: pl.DataFrame) -> pl.DataFrame:
    """Drop blank lines at the end; one in the middle stays, as a row whose time is missing."""
    import polars as pl

    if frame.width == 0 or frame.height == 0 or any(value is not None for value in frame.row(-1)):
        return frame
    filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    return frame[: frame.height - int(filled.reverse().arg_max() or 0)] if filled.any() else frame.clear()


def _refuse_other_formats(file: File) -> None:
    """Refuse a file by its first bytes, before a parser finds columns in it."""
    with file.open() as opened:
        start = opened.read(1024)
    for magic, kind, fix in FORMATS:
        if start.startswith(magic):
            raise DataError(f"{file.name}: is {kind}; {fix}", code="wrong-format", file=file.name, found=kind)
    if b"\0" in start and not start.startswith(COMPRESSED):
        raise DataError(
            f"{file.name}: contains zero bytes, as UTF-16 text does; save it as UTF-8",
            code="wrong-encoding",
            file=file.name,
        )


def _unreadable(file: File, reason: str) -> DataError:
    """Why the parser failed: another encoding, another delimiter, a line too long, or the reason it gives itself."""
    if file.name.endswith(".parquet"):
        return DataError(f"{file.name}: cannot be read as Parquet: {reason}", code="not-parquet", file=file.name)
    with file.open() as opened:
        header = opened.readline(HEADER_BYTES)
    if not header.startswith(COMPRESSED):
        cause = (
            _other_encoding(file)
            or _other_delimiter(header.decode(errors="replace"), file.name)
            or _longer_than_header(file)
        )
        if cause is not None:
            return cause
    return DataError(f"{file.name}: cannot be read as {WANTED}: {reason}", code="not-csv", file=file.name)


def _other_encoding(file: File) -> DataError | None:
    with file.open() as opened:
        for number, line in enumerate(opened, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte = line[error.start : error.start + 1]
                return DataError(
                    f"{file.name}: is not UTF-8 text: line {number} contains the byte 0x{byte.hex()}, which is"
                    f" '{byte.decode('latin-1')}' in Latin-1; save it as UTF-8 (iconv -f LATIN1 -t UTF-8)",
                    code="wrong-encoding",
                    file=file.name,
                    line=number,
                )
    return None


def _other_delimiter(header: str, name: str) -> DataError | None:
    count, delimiter = max((header.count(mark), mark) for mark in DELIMITERS)
    if count <= header.count(","):
        return None
    return DataError(
        f"{name}: its columns are separated by {DELIMITERS[delimiter]}; commas are needed, with a point in decimal"
        " numbers",
        code="wrong-delimiter",
        file=name,
        found=delimiter,
    )


def _longer_than_header(file: File) -> DataError | None:
    """The first line with more cells than the header; decimal commas are the usual cause."""
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
    """A column name without surrounding spaces; a name of spaces only stays, because several columns may have one."""
    return written.strip() or written


def _check_header(frame: pl.DataFrame, file: File) -> None:
    """Refuse mistakes in a header that polars repairs or ignores."""
    columns: Sequence[str] = frame.columns
    if len(columns) == 1 and (cause := _other_delimiter(columns[0], file.name)) is not None:
        raise cause
    if any("\ufffd" in column for column in columns) and (cause := _other_encoding(file)) is not None:
        raise cause
    if frame.height == 0 and any("\r" in column for column in columns):
        raise DataError(
            f"{file.name}: its lines end in CR; save it with LF or CRLF line endings",
            code="wrong-line-ends",
            file=file.name,
        )
    times = Counter(_name(column) for column in columns)
    for column in times:
        renamed = re.fullmatch(r"(.+)_duplicated_\d+", column)
        name = renamed[1] if renamed and renamed[1] in times else column
        if name != column or times[name] > 1:
            raise DataError(
                f"{file.name}: the header names the column '{name}' twice; give each column its own name",
                code="column-twice",
                file=file.name,
                column=name,
            )
