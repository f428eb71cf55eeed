"""How large a Parquet file becomes, from its footer and the headers of its pages; nothing is decoded.

The layout is that of the format's parquet.thrift, in Thrift's compact protocol. Run-length encoding and dictionaries
let a page of a few bytes hold any number of values, so the sizes in bytes that a file states are not enough. The footer
may say less than the pages hold, so both are read and the larger counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Any

MAGIC = b"PAR1"
LARGEST_FOOTER = 1 << 24
"""Bytes of a footer that are read: that of a file with 10,000 columns has a few megabytes."""
HEADER = 1 << 16
"""Bytes in which the header of a page ends, with its statistics."""
WIDTHS = {0: 1, 1: 4, 2: 8, 3: 8, 4: 4, 5: 8, 6: 16}
"""Bytes of a value in memory by physical type: boolean, int32, int64, int96, float, double, byte array (a view)."""
MOST_PAGES = 1_000_000
DEEPEST = 16
DEEPEST_COLUMN = 64
"""Levels of lists and structs in a column; parsers descend them one call each, and a deeper one ends the process."""


@dataclass(frozen=True)
class Size:
    """Rows and columns as the footer states them; cells: values in all columns; memory: their bytes when decoded."""

    rows: int
    columns: int
    cells: int
    memory: int


def size_of(file: IO[bytes]) -> Size:
    """The size of a Parquet file. Raises ValueError with the reason where its headers cannot be read."""
    length = file.seek(0, 2)
    if length < 12:
        raise ValueError("it ends too early")
    file.seek(length - 8)
    tail = file.read(8)
    footer_length = int.from_bytes(tail[:4], "little")
    if tail[4:] != MAGIC:
        raise ValueError("it does not end in PAR1")
    if footer_length > min(LARGEST_FOOTER, length - 12):
        raise ValueError(f"its footer has {footer_length:,} bytes")
    file.seek(length - 8 - footer_length)
    footer = _Compact(file.read(footer_length)).struct()
    try:
        _refuse_deep(footer[2])
        pages = _Pages(file, length)
        leaves = [_width(element) for element in footer[2][1:] if not element.get(5)]
        rows, cells, memory = footer[3], 0, 0
        for group in footer[4]:
            for width, column in zip(leaves, group[1], strict=True):
                values, held = pages.of_chunk(column[3], width)
                cells += max(values, group[3])
                memory += max(held, width * group[3])
    except (KeyError, TypeError, IndexError, AttributeError):
        raise ValueError("its footer does not describe columns") from None
    return Size(max(rows, sum(group[3] for group in footer[4])), len(leaves), cells, memory)


def _refuse_deep(schema: list[dict[int, Any]]) -> None:
    """Refuse columns nested too deep. A schema lists its elements depth first, each with its number of children."""
    awaited: list[int] = []  # children still to come, by level
    for element in schema:
        while awaited and not awaited[-1]:
            awaited.pop()
        if awaited:
            awaited[-1] -= 1
        awaited.append(element.get(5, 0))
        if len(awaited) > DEEPEST_COLUMN:
            raise ValueError("its columns are nested too deep")


def _width(element: dict[int, Any]) -> int:
    """Bytes of one value of a column; a fixed-length array says its length."""
    return int(element[2]) if element[1] == 7 else WIDTHS[element[1]]


class _Pages:
    """The pages of a file; several chunks may name the same ones, so they are counted for all chunks together."""

    def __init__(self, file: IO[bytes], length: int) -> None:
        self._file, self._length, self._read = file, length, 0

    def of_chunk(self, column: dict[int, Any], width: int) -> tuple[int, int]:
        """How many values a column chunk holds, and how many bytes it takes in memory, encoded or decoded."""
        at = column.get(11) or column[9]
        end = min(at + column[7], self._length)
        values, memory, stated = 0, 0, column[5]
        while values < stated and at < end:
            self._read += 1
            if self._read > MOST_PAGES:
                raise ValueError(f"it has more than {MOST_PAGES:,} pages")
            self._file.seek(at)
            compact = _Compact(self._file.read(min(HEADER, end - at)))
            page = compact.struct()
            kind: dict[int, Any] = next((page[field] for field in (5, 7, 8) if field in page), {})
            count, uncompressed, compressed = kind.get(1, 0), page[2], page[3]
            if min(count, uncompressed, compressed) < 0:
                raise ValueError("a page has a negative size")
            values += 0 if 7 in page else count  # a dictionary holds no cells
            memory += max(count * width, uncompressed)
            at += compact.at + compressed
        return max(values, stated), max(memory, stated * width, column[6])


class _Compact:
    """Reads Thrift's compact protocol. A struct is a dictionary by field number, a list a list."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at, self._depth = data, 0, 0

    def struct(self) -> dict[int, Any]:
        """The struct at this place. Raises ValueError for bytes that are none."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise ValueError("its headers are nested too deep")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._signed()
            fields[number] = self._value(head & 15)
        self._depth -= 1
        return fields

    def _value(self, kind: int, *, in_list: bool = False) -> Any:
        if kind in {1, 2}:
            return self._byte() == 1 if in_list else kind == 1
        if kind == 3:
            return self._byte()
        if kind in {4, 5, 6}:
            return self._signed()
        if kind == 7:
            return self._bytes(8)
        if kind == 8:
            return self._bytes(self._unsigned())
        if kind in {9, 10}:
            return self._list()
        if kind == 12:
            return self.struct()
        raise ValueError("its headers are damaged")

    def _list(self) -> list[Any]:
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._unsigned()
        if count > len(self._data) - self.at:  # an element takes a byte at least
            raise ValueError("its headers are damaged")
        self._depth += 1
        if self._depth > DEEPEST:
            raise ValueError("its headers are nested too deep")
        items = [self._value(head & 15, in_list=True) for _ in range(count)]
        self._depth -= 1
        return items

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _bytes(self, count: int) -> bytes:
        part = self._data[self.at : self.at + count]
        if len(part) < count:
            raise ValueError("its headers end too early")
        self.at += count
        return part

    def _unsigned(self) -> int:
        number = 0
        for shift in range(0, 64, 7):
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
        raise ValueError("its headers are damaged")

    def _signed(self) -> int:
        number = self._unsigned()
        return (number >> 1) ^ -(number & 1)
