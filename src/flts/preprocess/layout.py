"""How the text of a CSV file is laid out: its encoding, its separator, and where its header and rows start."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice

from flts.preprocess.dialect import Dialect
from flts.spec.time_formats import INFER

SEPARATORS = (",", ";", "\t", "|")
BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""First bytes of a text, and the encoding that they stand for."""
WESTERN = "cp1252"
"""Latin-1 as Windows writes it: what text is that is not UTF-8."""
LINES = 100
"""Lines that say how a file is laid out."""
DECLARED = re.compile(r"\s*sep=(.)\s*", re.IGNORECASE)
"""The line in which Excel is told the separator."""


@dataclass(frozen=True)
class Layout:
    """How a text is laid out.

    skipped: lines above the header, with that in which the separator is declared; units: whether the line below it has
    no digit in any cell; ragged: whether every row ends with a separator and the header does not.
    """

    encoding: str
    separator: str
    skipped: int = 0
    units: bool = False
    ragged: bool = False
    declared: bool = False

    @property
    def plain(self) -> bool:
        """Whether the bytes can be parsed as they are."""
        return self == Layout("utf-8", ",")


def layout_of(head: bytes, dialect: Dialect) -> Layout:
    """The layout of a text from its first bytes. What the dialect names is taken as it is."""
    encoding = encoding_of(head) if dialect.encoding == INFER else dialect.encoding
    text = head.decode(encoding, errors="replace").lstrip("\ufeff")
    lines = list(islice(text.splitlines(), LINES + 1))
    whole = lines[:-1] if len(lines) > LINES or (len(lines) > 2 and not text.endswith(("\n", "\r"))) else lines
    declared = DECLARED.fullmatch(whole[0]) if whole else None
    if dialect.separator != INFER:
        separators: tuple[str, ...] = (dialect.separator,)
    else:
        separators = (declared[1],) if declared else SEPARATORS
    body = whole[1:] if declared else whole
    tables = {separator: _cells(body, separator) for separator in separators}
    separator = max(separators, key=lambda s: _regularity(tables[s]))
    layout = _of_table(encoding, separator, body, tables[separator])
    return replace(layout, skipped=layout.skipped + 1, declared=True) if declared else layout


def encoding_of(head: bytes) -> str:
    """The encoding of a text from its first bytes."""
    for mark, encoding in BOMS:
        if head.startswith(mark):
            return encoding
    zeros = (head[::2].count(0), head[1::2].count(0))
    if max(zeros) > len(head) // 8:
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return WESTERN
    return "utf-8"


def _cells(lines: list[str], separator: str) -> list[list[str]]:
    """The cells of each line that is not blank."""
    try:
        return list(csv.reader((line for line in lines if line.strip()), delimiter=separator))
    except csv.Error:
        return []


def _usual(table: list[list[str]]) -> int:
    """How many cells most lines have; the number that comes first on a tie."""
    counts = Counter(map(len, table))
    return max(counts, key=lambda cells: counts[cells], default=1)


def _regularity(table: list[list[str]]) -> tuple[float, int]:
    """How well a separator suits: in which share of the lines there are the usual several columns, and how many."""
    usual = _usual(table)
    if usual < 2:
        return 0.0, len(table[0]) if table else 0
    return sum(len(cells) == usual for cells in table) / len(table), usual


def _of_table(encoding: str, separator: str, lines: list[str], table: list[list[str]]) -> Layout:
    """Where the header is, and what the line below it holds."""
    usual = _usual(table)
    closed = all(len(cells) == usual and not cells[-1].strip() for cells in table[1:]) and len(table) > 1
    if closed and len(table[0]) == usual - 1 > 0:
        return Layout(encoding, separator, ragged=True)
    names = (i for i, cells in enumerate(table) if len(cells) == usual and not _valued(cells))
    header = next(names, 0) if usual > 1 else 0
    if not table or any(len(cells) > usual for cells in table[:header]):
        return Layout(encoding, separator)
    # blank lines count, and csv.reader was not given them
    above = [i for i, line in enumerate(lines) if line.strip()][header] if header else 0
    below = table[header + 1 : header + 3]
    units = len(below) == 2 and _wordy(below[0]) and not _wordy(below[1])
    return Layout(encoding, separator, above, units)


def _valued(cells: list[str]) -> bool:
    """Whether most cells of a line start as numbers and times do, so that it is no header."""
    held = [cell.strip() for cell in cells if cell.strip()]
    return sum(cell[0].isdigit() or cell[0] in "+-" for cell in held) > len(held) / 2


def _wordy(cells: list[str]) -> bool:
    """Whether no cell of a line holds a digit, and one holds something."""
    return any(cell.strip() for cell in cells) and not any(re.search("[0-9]", cell) for cell in cells)
