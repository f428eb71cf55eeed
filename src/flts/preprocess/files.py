"""The bytes of one file → a table, or one message that says what the file is instead."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from flts.contracts.errors import DataError
from flts.preprocess.dialect import OPEN, Dialect
from flts.preprocess.footer import size_of
from flts.preprocess.layout import WESTERN, Layout, layout_of
from flts.preprocess.limits import Limits
from flts.preprocess.marks import EMPTY, NUMBER
from flts.preprocess.tables import refuse_patterns, with_offsets
from flts.preprocess.times import looks_like_times
from flts.preprocess.unpack import COMPRESSED, ZIP, text_of
from flts.spec.time_formats import EPOCHS, INFER, ISO

if TYPE_CHECKING:
    import polars as pl

HEADER_BYTES = 1 << 20
HEAD = 1 << 18
"""Bytes that say how a file is laid out."""
LINE_BYTES = 2**27
"""Bytes of the longest line: that of a million columns is shorter."""
CELL, TEXT, COLUMN = 8, 16, 1024
"""Bytes in memory of a number, of a text beside its letters, and of a column beside its cells."""
TYPED = Dialect("utf-8", ",")
"""Of a file with types. Its columns of text are read as those of a table in memory."""
SEPARATOR_NAMES = {",": "commas", ";": "';'", "\t": "tabs", "|": "'|'"}


@dataclass(frozen=True)
class File:
    """The content of a file under the name that messages give it; dialect: what is named of how it is written."""

    name: str
    content: Path | bytes
    limits: Limits = field(default_factory=Limits)
    dialect: Dialect = OPEN

    def open(self) -> io.BytesIO | io.BufferedReader:
        """Its bytes from the start."""
        return io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")

    @property
    def source(self) -> Path | bytes:
        """What polars is given, with `glob=False`: it takes a path with `*`, `[` or `~` for other files."""
        return self.content if isinstance(self.content, bytes) else self.content.absolute()


@dataclass(frozen=True)
class Read:
    """The table in a file, the dialect as far as its text tells it, and notes for people."""

    frame: pl.DataFrame
    dialect: Dialect
    notes: tuple[str, ...] = ()


def read_file(file: File) -> Read:
    """The table in a CSV or Parquet file. Raises DataError naming the file, and the row where there is one.

    Its size in memory is known, and refused where it is above the limits, before anything is decoded. Cells stay text
    where the file is not plain CSV.
    """
    import polars as pl

    try:
        if file.name.endswith(".parquet"):
            return Read(_without_blank_ends(_parquet(file)).rename(_name), file.dialect.over(TYPED))
        return _csv(file)
    except pl.exceptions.NoDataError:
        raise DataError(
            f"{file.name}: is empty; a header and at least one row are needed", code="file-empty", file=file.name
        ) from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError) as error:
        raise _unreadable(file, str(error).splitlines()[0]) from None
    except OSError as error:
        raise DataError(
            f"{file.name}: cannot be read: {error.strerror or error}", code="file-unreadable", file=file.name
        ) from None


def _parquet(file: File) -> pl.DataFrame:
    """Read Parquet; where a file is damaged in two places, polars may panic in two threads and end the process."""
    import polars as pl

    with file.open() as opened:
        try:
            size = size_of(opened)
        except ValueError as error:
            raise _unreadable(file, str(error)) from None
    file.limits.check(file.name, size.rows, size.columns, size.cells, size.memory)
    frame = with_offsets(file.name, lambda: pl.read_parquet(file.source, glob=False))
    # rows of a dictionary share its texts; whatever works on them writes each one out
    file.limits.check(file.name, size.rows, size.columns, size.cells, int(frame.estimated_size()))
    return frame


def _csv(file: File) -> Read:
    """Read CSV as its first bytes say that it is laid out."""
    layout = _layout(file)
    if _is_plain(file, layout) and (frame := _plain(file)) is not None:
        point = INFER if not any(dtype.is_float() for dtype in frame.dtypes) else "."
        found, notes = Dialect(layout.encoding, layout.separator, point), _notes(file.name, layout)
    else:
        text, encoding = _decoded(file, layout.encoding)
        layout = replace(layout, encoding=encoding)
        frame = _laid_out(file, text, layout)
        found, notes = Dialect(encoding, layout.separator), _notes(file.name, layout)
    frame = _without_unnamed(_without_blank_ends(frame), file.name)
    _check_header(frame, file.name)
    return Read(frame.rename(_name), file.dialect.over(found), notes)


def _layout(file: File) -> Layout:
    """How the first bytes say that the text is laid out. Raises DataError for a file that is no text."""
    head = b"".join(islice(text_of(file), 1))[:HEAD]
    if head.startswith(b"PAR1"):
        raise DataError(
            f"{file.name}: is Parquet; let its name end in .parquet",
            code="wrong-format",
            file=file.name,
            found="Parquet",
        )
    return layout_of(head, file.dialect)


def _is_plain(file: File, layout: Layout) -> bool:
    """Whether the parser can be given the bytes, and may infer numbers."""
    dialect = file.dialect
    with file.open() as opened:
        zipped = opened.read(4) == ZIP
    numbers = dialect.decimal in {INFER, "."} and dialect.thousands in {INFER, ""}
    return layout.plain and not zipped and numbers and dialect.time_format in {INFER, ISO, *EPOCHS}


def _plain(file: File) -> pl.DataFrame | None:
    """CSV with inferred types, or all as text where a number is beyond every type of integer; None if not UTF-8."""
    import polars as pl

    _count(file, text_of(file), ",", CELL)
    try:
        frame = pl.read_csv(file.source, infer_schema_length=None, null_values=list(EMPTY), glob=False)
    except pl.exceptions.NoDataError:
        raise
    except pl.exceptions.PolarsError:
        if not _is_utf8(file):
            return None
        frame = pl.read_csv(file.source, infer_schema=False, null_values=list(EMPTY), glob=False)
    if any("\ufffd" in column for column in frame.columns) and not _is_utf8(file):
        return None
    return frame


def _is_utf8(file: File) -> bool:
    """Whether all of a text is UTF-8. That of zstd always is: its decoder here replaces what is not."""
    try:
        "".join(io.TextIOWrapper(io.BytesIO(b"".join(text_of(file))), encoding="utf-8"))
    except UnicodeDecodeError:
        return False
    return True


def _decoded(file: File, encoding: str) -> tuple[str, str]:
    """All of the text, with `\\n` at the end of each line, and its encoding: what is not UTF-8 is Latin-1."""
    chunks, size = [], 0
    for chunk in text_of(file):
        size += len(chunk)
        file.limits.check(file.name, 0, 0, 0, 2 * size, size)
        chunks.append(chunk)
    data = b"".join(chunks)
    attempts = [encoding]
    if file.dialect.encoding == INFER and encoding in {"utf-8", WESTERN}:
        attempts += [WESTERN, "latin-1"]
    for attempt in attempts:
        try:
            text = data.decode(attempt).removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            line, byte = data.count(b"\n", 0, error.start) + 1, data[error.start : error.start + 1]
            continue
        return text.replace("\r\n", "\n").replace("\r", "\n"), attempt
    raise DataError(
        f"{file.name}: is not {encoding} text: line {line} contains the byte 0x{byte.hex()}; save it as UTF-8, or name"
        " dataset.encoding",
        code="wrong-encoding",
        file=file.name,
        line=line,
    )


def _laid_out(file: File, text: str, layout: Layout) -> pl.DataFrame:
    """CSV as text, from where its header is."""
    import polars as pl

    body = "".join(islice(io.StringIO(text), layout.skipped, None)) if layout.skipped else text
    data = body.encode(errors="replace")
    _count(file, [data], layout.separator, TEXT)
    if layout.ragged and (fault := _longer_than_header(file.name, io.StringIO(body), layout, spare=1)):
        raise fault
    return pl.read_csv(
        data,
        separator=layout.separator,
        infer_schema=False,
        null_values=list(EMPTY),
        skip_rows_after_header=int(layout.units),
        truncate_ragged_lines=layout.ragged,
        glob=False,
    )


def _notes(name: str, layout: Layout) -> tuple[str, ...]:
    """What people should know of how a file was read."""
    notes = []
    if layout.encoding in {WESTERN, "latin-1"}:
        notes.append(f"{name}: is not UTF-8 and was read as {layout.encoding}")
    if above := layout.skipped - layout.declared:
        notes.append(f"{name}: lines above the header were skipped: {above}")
    if layout.units:
        notes.append(f"{name}: the line below the header holds no digit and was skipped, as one of units")
    return tuple(notes)


def _count(file: File, chunks: Iterable[bytes], separator: str, cell: int) -> None:
    """Refuse a CSV file above the limits. A text takes about what it has in the file, beside the bytes of a cell.

    A line counts as a row with all columns of the header, because polars fills a short one with empty cells. The header
    ends with the first line break outside quotes. A line that never ends is refused too: a parser takes several times
    its size.
    """
    columns, lines, size, quoted, in_header, unended = 1, 0, 0, False, True, 0
    mark = separator.encode()
    for chunk in chunks:
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
            columns += line.count(mark)
            quoted ^= bool(line.count(b'"') % 2)
            in_header = not ended or (quoted and size <= HEADER_BYTES)
        memory = max(cell * lines * columns, size) + COLUMN * columns
        file.limits.check(file.name, lines, columns, lines * columns, memory, size)


def _without_blank_ends(frame: pl.DataFrame) -> pl.DataFrame:
    """Drop blank lines at the end; one in the middle stays, as a row whose time is missing."""
    import polars as pl

    if frame.width == 0 or frame.height == 0 or any(value is not None for value in frame.row(-1)):
        return frame
    filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    return frame[: frame.height - int(filled.reverse().arg_max() or 0)] if filled.any() else frame.clear()


def _without_unnamed(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Without columns that have no name and no cell: lines that end with a separator make one."""
    unnamed = [n for n in frame.columns if re.fullmatch(r"\s*(_duplicated_\d+)?", n) and frame[n].is_null().all()]
    return frame.drop(unnamed) if len(unnamed) < frame.width else frame


def _unreadable(file: File, reason: str) -> DataError:
    """Why the parser failed: a line too long, or the reason it gives itself."""
    if file.name.endswith(".parquet"):
        return DataError(f"{file.name}: cannot be read as Parquet: {reason}", code="not-parquet", file=file.name)
    with file.open() as opened:
        start = opened.read(4)
    if not start.startswith((*COMPRESSED, ZIP)):
        layout = _layout(file)
        text, _ = _decoded(file, layout.encoding)
        lines = islice(io.StringIO(text), layout.skipped, None)
        if (cause := _longer_than_header(file.name, lines, layout)) is not None:
            return cause
    return DataError(
        f"{file.name}: cannot be read as CSV with a header: {reason}",
        code="not-csv",
        file=file.name,
    )


def _longer_than_header(name: str, lines: Iterable[str], layout: Layout, spare: int = 0) -> DataError | None:
    """The first line with more cells than the header, beside empty spare ones; decimal commas are the usual cause."""
    reader = csv.reader(lines, delimiter=layout.separator)
    try:
        header = next((cells for cells in reader if cells), [])
        for cells in reader:
            beyond = cells[len(header) :]
            if len(beyond) > spare or any(beyond):
                return DataError(
                    f"{name}: line {layout.skipped + reader.line_num} has {len(cells)} cells, the header"
                    f" {len(header)}, separated by {SEPARATOR_NAMES.get(layout.separator, repr(layout.separator))};"
                    " write decimal numbers with a point, and text that holds the separator in quotes",
                    code="line-too-long",
                    file=name,
                    line=layout.skipped + reader.line_num,
                    found=len(cells),
                    expected=len(header),
                )
    except csv.Error:
        return None
    return None


def _name(written: str) -> str:
    """A column name without surrounding spaces and with single quotes marks inside; one of spaces only stays."""
    return written.strip().replace('""', '"') or written


def _check_header(frame: pl.DataFrame, name: str) -> None:
    """Refuse mistakes in a header that polars repairs or ignores."""
    import polars as pl

    columns: Sequence[str] = frame.columns
    if frame.height == 0 and any("\r" in column for column in columns):
        raise DataError(
            f"{name}: its lines end in CR; save it with LF or CRLF line endings", code="wrong-line-ends", file=name
        )
    times = Counter(_name(column) for column in columns)
    refuse_patterns(name, [*times])
    written = [re.sub(r"_duplicated_\d+$", "", column) for column in times if column.strip()]
    values = pl.Series(written, dtype=pl.String)
    if columns[0].strip() and all(
        re.search(NUMBER, cell) or looks_like_times(values[i : i + 1]) for i, cell in enumerate(written)
    ):
        shown = ", ".join(islice(chain(written), 3))
        raise DataError(
            f"{name}: its first line holds values ({shown}), not names; write a header above the rows",
            code="header-missing",
            file=name,
        )
    for column in times:
        renamed = re.fullmatch(r"(.+)_duplicated_\d+", column)
        name_of = renamed[1] if renamed and renamed[1] in times else column
        if name_of != column or times[name_of] > 1:
            raise DataError(
                f"{name}: the header names the column '{name_of}' twice; give each column its own name",
                code="column-twice",
                file=name,
                column=name_of,
            )
