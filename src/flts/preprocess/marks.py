"""Numbers as people write them: a decimal comma, thousands set apart, a minus behind; found from all cells of a table.

One cell may be read in two ways: 1,234 is a thousand or a bit more than one. Other cells of the table decide, or
nothing does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flts.preprocess.dialect import Dialect
from flts.spec.time_formats import INFER

if TYPE_CHECKING:
    import polars as pl

EMPTY = (
    *("", "NA", "NaN", "nan", "NAN", "null", "None", "NULL", "N/A", "n/a", "n.a.", "n/e", "<NA>", "-nan", "-NaN"),
    *("-", "--", ".", ".."),
    *("#N/A", "#N/A N/A", "#NA", "#NV", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)
"""How a cell without a value is written: what pandas takes for one, errors of Excel, n/e of ENTSO-E, dashes, dots."""
EXPONENT = "([eE][+-]?[0-9]+)?"
NUMBER = r"^[+-]?([0-9]+([.,' ][0-9]{3})*)?([.,][0-9]*)?" + EXPONENT + "$"
"""Any number in any of the ways."""
MOSTLY = 0.5
"""Share of numbers from which a column of text counts as one of numbers."""
SHOWN = 10_000
"""Cells that say whether a column of text holds numbers."""


@dataclass(frozen=True)
class NumberMarks:
    """decimal: None where nothing decides between two readings; thousands: empty where they are not set apart."""

    decimal: str | None
    thousands: str


def marks_of(columns: Sequence[pl.Series], dialect: Dialect, *, point: bool) -> NumberMarks:
    """The marks of the numbers in columns of text.

    point: whether numbers beside them are known to have a decimal point, so that a comma sets thousands apart.
    """
    texts = [text for column in columns if _mostly_numbers(text := bare(column).drop_nulls())]
    decimal = dialect.decimal if dialect.decimal != INFER else None
    if decimal is None and dialect.thousands in {",", "."}:
        decimal = "." if dialect.thousands == "," else ","
    if decimal is None:
        decimal = _decimal(texts, point=point, point_is_usual=dialect.separator in {INFER, ","})
    if dialect.thousands != INFER:
        return NumberMarks(decimal, dialect.thousands)
    other = "," if decimal == "." else "."
    for mark in (*((other,) if decimal else ()), " ", "'"):
        if _any(texts, rf"^[+-]?[0-9]+([{mark}][0-9]{{3}})+([.,][0-9]*)?$"):
            return NumberMarks(decimal, mark)
    return NumberMarks(decimal, "")


def as_numbers(column: pl.Series, marks: NumberMarks) -> pl.Series | None:
    """A column of text as numbers where each of its cells is empty or a number; None otherwise."""
    import polars as pl

    text = bare(column)
    if marks.decimal is None:
        if text.str.contains(r"^[+-]?[0-9]{1,3}[.,][0-9]{3}$").any():
            return None
    elif marks != NumberMarks(".", ""):
        apart = f"([{marks.thousands}][0-9]{{3}})*" if marks.thousands else ""
        fits = rf"^[+-]?([0-9]+{apart})?([{marks.decimal}][0-9]*)?{EXPONENT}$"
        plain = text.str.to_lowercase().is_in(["inf", "-inf", "+inf", "infinity", "-infinity"])
        if not (text.str.contains(fits) | plain).fill_null(True).all():
            return None
        if marks.thousands:
            text = text.str.replace_all(marks.thousands, "", literal=True)
        text = text.str.replace(marks.decimal, ".", literal=True)
    numbers = text.cast(pl.Float64, strict=False)
    return numbers if numbers.null_count() == text.null_count() else None


def bare(column: pl.Series) -> pl.Series:
    """Text without surrounding spaces, with one kind of space, apostrophe and minus in front; empty cells are null."""
    text = column.str.strip_chars()
    if text.str.contains(r"[^\x21-\x7e]|[0-9]-$").any():
        text = (
            text.str.replace_all("[\u00a0\u2009\u202f]", " ")
            .str.replace_all("[\u2019\u00b4]", "'")
            .str.replace("^\u2212", "-")
        )
        text = text.str.replace("^([0-9].*[0-9])-$", "-${1}")
    return text.set(text.is_in(EMPTY), None)


def not_a_number(column: pl.Series) -> int | None:
    """The first row whose cell is no number with any marks; else the first that is none as programs write them."""
    import polars as pl

    text = bare(column)
    for wrong in (~text.str.contains(NUMBER), text.cast(pl.Float64, strict=False).is_null() & text.is_not_null()):
        if wrong.any():
            return int(wrong.fill_null(False).arg_max() or 0)
    return None


PLAIN = "write plain CSV, with commas between cells and numbers such as 1234.5, or name"
"""The way on where nobody can name a dialect, as of a forecast service; and then the one where somebody can."""


def looks_like(cell: str) -> str:
    """What a cell that is no number looks like, for a sentence; empty where it looks like text."""
    import re

    text = cell.strip()
    if not re.search("[0-9]", text):
        return ""
    if text.endswith("%"):
        return "a number with a percent sign; write the number alone"
    if re.search("[€$£¥₹]|^[A-Z]{3} ?[0-9]|[0-9] ?[A-Z]{3}$", text):
        return "a number with a currency; write the number alone"
    if re.fullmatch(r"[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}", text):
        return f"a number whose mark sets thousands apart or is a decimal one; {PLAIN} dataset.decimal"
    if re.fullmatch(r"[+-]?[0-9]+([.' ][0-9]{3})*,[0-9]*", text):
        return f'a number with a decimal comma; {PLAIN} dataset.decimal = ","'
    if re.fullmatch(r"[+-]?[0-9]+([,' ][0-9]+)+(\.[0-9]*)?", text):
        return f"a number with thousands separators; {PLAIN} dataset.thousands"
    if re.fullmatch(r"[+-]?[0-9][0-9.,]*\s*[^\W\d]\S*", text):
        return "a number with its unit; write the number alone"
    return ""


def _decimal(texts: Sequence[pl.Series], *, point: bool, point_is_usual: bool) -> str | None:
    comma = _any(texts, _decimal_by(",")) or _any(texts, _apart_by(".", ","))
    point = point or _any(texts, _decimal_by(".")) or _any(texts, _apart_by(",", "."))
    if comma != point:
        return "," if comma else "."
    if not comma and _any(texts, r"^[+-]?[1-9][0-9]{0,2},[0-9]{3}$"):
        return None
    if not comma and not point_is_usual and _any(texts, r"^[+-]?[1-9][0-9]{0,2}\.[0-9]{3}$"):
        return None
    return "."


def _decimal_by(mark: str) -> str:
    """Numbers in which this mark can only be the decimal one."""
    few = rf"[0-9]*[{mark}]([0-9]{{0,2}}|[0-9]{{4,}})"
    long = rf"(0|0[0-9]+|[0-9]{{4,}})?[{mark}][0-9]+"
    other = "." if mark == "," else ","
    return rf"^[+-]?({few}|{long}|[0-9]+([{other}' ][0-9]{{3}})+[{mark}][0-9]*){EXPONENT}$"


def _apart_by(mark: str, decimal: str) -> str:
    """Numbers in which this mark can only set thousands apart."""
    return rf"^[+-]?[0-9]+([{mark}][0-9]{{3}}){{2,}}([{decimal}][0-9]*)?$"


def _any(texts: Sequence[pl.Series], pattern: str) -> bool:
    return any(bool(text.str.contains(pattern).any()) for text in texts)


def _mostly_numbers(text: pl.Series) -> bool:
    shown = text[:SHOWN]
    return len(shown) > 0 and float(shown.str.contains(NUMBER).mean() or 0.0) >= MOSTLY  # type: ignore[arg-type]
