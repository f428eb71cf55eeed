"""The text of a compressed file in chunks, within limits: gzip, zlib, zstd, and ZIP with one file in it."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from flts.contracts.errors import DataError

if TYPE_CHECKING:
    from flts.preprocess.files import File

DEFLATED = (b"\x1f\x8b", b"x\x01", b"x\x9c", b"x\xda")
ZSTD = b"\x28\xb5\x2f\xfd"
ZIP = b"PK\x03\x04"
COMPRESSED = (*DEFLATED, ZSTD)
"""First bytes of gzip, zlib and zstd: polars decompresses all of them."""
ZSTD_BLOCK = 1 << 17
"""Bytes that a block of zstd decodes to at most (RFC 8878, 3.1.1.2.4)."""
CHUNK = 1 << 20


def text_of(file: File) -> Iterator[bytes]:
    """The text of a CSV file in chunks, decompressed. Raises DataError, ValueError where it is damaged."""
    with file.open() as opened:
        magic = opened.read(4)
        opened.seek(0)
        if magic.startswith(DEFLATED):
            try:
                yield from _inflated(opened)
            except zlib.error as error:
                raise ValueError(str(error)) from None
        elif magic == ZSTD:
            file.limits.check(file.name, 0, 0, 0, most_of_zstd(opened))  # one line may hold all of the text
            yield from _lines(file)
        elif magic == ZIP:
            yield from _zipped(opened, file.name)
        else:
            yield from iter(lambda: opened.read(CHUNK), b"")


def _zipped(opened: IO[bytes], name: str) -> Iterator[bytes]:
    """The one file in a ZIP archive."""
    try:
        with zipfile.ZipFile(opened) as archive:
            members = [member for member in archive.namelist() if not member.endswith("/")]
            if "[Content_Types].xml" in members or "mimetype" in members:
                raise _refused(name, "an Excel workbook or another office document", "export its rows as CSV")
            if len(members) != 1:
                raise _refused(name, f"a ZIP archive of {len(members)} files", "unpack it and name one of them")
            with archive.open(members[0]) as member:
                yield from iter(lambda: member.read(CHUNK), b"")
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # encrypted, or of another method
        raise ValueError(str(error)) from None


def _refused(name: str, kind: str, fix: str) -> DataError:
    return DataError(f"{name}: is {kind}; {fix}", code="wrong-format", file=name, found=kind)


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
