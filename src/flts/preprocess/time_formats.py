"""How a column writes its times: found from its cells, and each cell rewritten as ISO 8601.

A format is `iso`, a count since 1970 in UTC such as `epoch s`, or a pattern of the directives of strptime, such as
`%d.%m.%Y %H:%M`. In a pattern the clock may be absent from a cell, which is midnight, and may have seconds or not.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from flts.spec.time_formats import EPOCHS, ISO

if TYPE_CHECKING:
    import polars as pl

RECENT = (631_152_000, 4_102_444_800)
"""Seconds from 1990 to 2100: a count in this range is taken for a time."""
EXCEL = (20_000.0, 60_000.0)
"""Days that Excel counts from 1899-12-30, for dates from 1954 to 2064."""
DIRECTIVES = {
    "Y": r"(?P<Y>[0-9]{4})",
    "y": r"(?P<y>[0-9]{2})",
    "m": r"(?P<m>[0-9]{1,2})",
    "d": r"(?P<d>[0-9]{1,2})",
    "b": r"(?P<b>\pL+)\.?",
    "q": r"(?P<q>[1-4])",
    "H": r"(?P<H>[0-9]{1,2})",
    "I": r"(?P<I>[0-9]{1,2})",
    "M": r"(?P<M>[0-9]{2})",
    "S": r"(?P<S>[0-9]{2}(?:[.,][0-9]{1,9})?)",
    "p": r"(?P<p>[AaPp]\.?\s?[Mm]\.?)",
}
"""What each directive of a pattern stands for."""
ZONE = r"(?P<zone>Z|z|UTC|GMT|MESZ|MEZ|CEST|CET|WEST|WET|EEST|EET|[+\-−][0-9]{2}(?::?[0-9]{2})?)"
"""An offset, or a name that stands for one offset everywhere; others, such as EST, do not."""
OFFSETS = {
    **dict.fromkeys(("Z", "z", "UTC", "GMT", "WET"), "+00:00"),
    **dict.fromkeys(("CET", "MEZ", "WEST"), "+01:00"),
    **dict.fromkeys(("CEST", "MESZ", "EET"), "+02:00"),
    "EEST": "+03:00",
}
OCLOCK = r"([0-9])\s*Uhr$"
INTERVAL = r"^(?:([0-9A-Za-z]*[./-]\S+.*?)\s+[-\u2013]\s+[0-9].*|([0-9]{4}-[^/]+)/[0-9P]\S*)$"
"""A time from which an interval lasts, until another time or for a while."""
CLOCK = (
    r"(?P<gap>[\sT]+|,\s*)(?P<H>[0-9]{1,2}):(?P<M>[0-9]{2})(?P<S>:[0-9]{2}([.,][0-9]{1,9})?)?"
    r"(?P<p>\s*[AaPp]\.?\s?[Mm]\.?)?"
)
SHAPES = tuple(
    re.compile(rf"(?:(?P<weekday>[^\W\d_]+)[.,]*\s+)?{date}(?:{CLOCK})?\s*{ZONE}?")
    for date in (
        r"(?P<first>[0-9]{1,4})(?P<mark>[./-]\s?)(?P<second>[0-9]{1,2})(?P=mark)(?P<third>[0-9]{4}|[0-9]{1,2})",
        r"(?P<d>[0-9]{1,2})(?P<after>[.\s/-]*)(?P<b>[^\W\d_]+)(?P<then>\.?[\s/,-]*)(?P<y>[0-9]{4}|[0-9]{2})",
        r"(?P<b>[^\W\d_]+)(?P<after>\.?[\s-]+)(?P<d>[0-9]{1,2})(?P<then>,?[\s/-]+)(?P<y>[0-9]{4})",
        r"(?P<y>[0-9]{4})(?P<after>[\s/-]+)(?P<b>[^\W\d_]+)(?P<then>\.?[\s/-]+)(?P<d>[0-9]{1,2})",
        r"(?P<b>[^\W\d_]+)(?P<after>\.?[\s/-]+)(?P<y>[0-9]{4}|[0-9]{2})",
        r"(?P<y>[0-9]{4})(?P<after>\s*[./-]?\s*)Q(?P<q>[1-4])",
        r"Q(?P<q>[1-4])(?P<after>\s*[./-]?\s*)(?P<y>[0-9]{4}|[0-9]{2})",
        r"(?P<y>[0-9]{4})(?P<after>\s?M)(?P<m>[0-9]{1,2})",
        r"(?P<m>[0-9]{1,2})(?P<after>[./-])(?P<y>[0-9]{4})",
        r"(?P<y>[0-9]{4})(?P<after>[./])(?P<m>[0-9]{1,2})",
    )
)
"""Dates as people write them, beside ISO 8601."""
DIGITS = {4: "%Y", 6: "%Y%m", 8: ISO, 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
"""The format of times that are digits alone, by their number."""
MONTHS = (
    "january januar jänner janvier januari enero gennaio janeiro",
    "february februar feber février februari febrero febbraio fevereiro",
    "march märz mrz mars maart mrt marzo março",
    "april avril abril aprile",
    "may mai mei mayo maggio maio maj",
    "june juni juin junio giugno junho",
    "july juli juillet julio luglio julho",
    "august août augustus agosto augusti",
    "september septembre septiembre settembre setembro",
    "october oktober octobre octubre ottobre outubro",
    "november novembre noviembre novembro",
    "december dezember décembre diciembre dicembre dezembro",
)
"""Names of the months in English, German, French, Dutch, Spanish, Italian, Portuguese and Swedish."""
SHORTEST = 3
"""Letters of an abbreviated month."""
SEVERAL = 3
"""Years in which no month but the first four is no chance."""
LOOKED_AT = 50
"""Cells that say how the times of a column are written."""
LONGEST = 200
"""Characters of the longest cell that is compared with the shapes, which takes their square at worst."""


@dataclass(frozen=True)
class Undecided:
    """Times that can be read in several ways: a cell, and the formats that fit all of them."""

    cell: str
    formats: tuple[str, ...]


def format_of(column: pl.Series) -> str | Undecided | None:
    """How most of the first cells of a column write times, None where they do not. Text, or whole numbers."""
    import polars as pl

    cells = column.drop_nulls()
    if column.dtype.is_integer() or column.dtype.is_float():
        return _of_numbers(cells.cast(pl.Float64))
    if column.dtype != pl.String:
        return None
    text = starts(cells)
    digits = text.filter(text.str.contains(r"^[0-9]+(\.0+)?$"))
    if len(digits) and len(digits) == len(text):
        return _of_numbers(digits.cast(pl.Float64))
    found: dict[str | Undecided, int] = {}
    for cell in text.head(LOOKED_AT):
        for pattern in _patterns(cell):
            found[pattern] = found.get(pattern, 0) + 1
    if not found:
        return None
    fitting = [p for p, count in found.items() if count == max(found.values())]
    best = [str(p) for p in fitting]
    if len(best) == 1:
        return quarters_or(best[0], text)
    rates = {pattern: _share(text, pattern) for pattern in best}
    best = [pattern for pattern in best if rates[pattern] == max(rates.values())]
    return best[0] if len(best) == 1 else Undecided(text[0], tuple(best))


def quarters_or(months: str, text: pl.Series) -> str | Undecided:
    """A pattern of months, undecided where no number of a month in several years is above 4: they may be quarters."""
    if "%m" not in months or any(part in months for part in ("%d", "%H", "M%m")):
        return months
    found = text.str.extract_groups(_regex(months)).struct.unnest()
    numbers, years = found["m"].drop_nulls().str.strip_chars_start("0"), found["Y" if "Y" in found.columns else "y"]
    if years.n_unique() < SEVERAL or set(numbers.unique()) != {"1", "2", "3", "4"}:
        return months
    return Undecided(text[0], (months, months.replace("%m", "%q")))


def like_times(column: pl.Series) -> float:
    """The share of the cells of a column of text that could be times by their shape, ISO 8601 left aside."""
    shown = starts(column.drop_nulls().head(LOOKED_AT))
    if not len(shown):
        return 0.0
    return sum(any(True for _ in _patterns(cell)) for cell in shown) / len(shown)


def starts(column: pl.Series) -> pl.Series:
    """Text without surrounding spaces and o'clock; of an interval its start, which is the time of its row."""
    text = column.str.strip_chars().str.replace(OCLOCK, "${1}")
    return text.str.replace(INTERVAL, "${1}${2}") if text.str.contains(INTERVAL).any() else text


def rewritten(column: pl.Series, time_format: str) -> pl.Series:
    """The cells of a pattern as ISO 8601 text; null where a cell does not fit it, or names no month."""
    import polars as pl

    groups = column.str.strip_chars().str.extract_groups(_regex(time_format)).struct.unnest()
    names = set(groups.columns)

    def group(name: str, otherwise: str) -> pl.Expr:
        return (pl.col(name) if name in names else pl.lit(None, pl.String)).fill_null(otherwise)

    year = pl.col("Y") if "Y" in names else _century(pl.col("y"))
    if "b" in names:
        month = pl.col("b").replace_strict(_months_in(groups["b"]), default=None, return_dtype=pl.String)
    elif "q" in names:
        month = (pl.col("q").cast(pl.Int64) * 3 - 2).cast(pl.String)
    else:
        month = group("m", "01")
    hour = group("H", "00")
    if "I" in names:
        late = pl.col("p").str.contains("^[Pp]").fill_null(False) if "p" in names else pl.lit(False)
        hour = (pl.col("I").cast(pl.Int64) % 12 + late * 12).cast(pl.String).fill_null("00")
    second = group("S", "00").str.replace(",", ".")
    zone = group("zone", "").replace(OFFSETS).str.replace("−", "-")
    moment = pl.concat_str(
        year,
        *(pl.lit("-") + part.str.zfill(2) for part in (month, group("d", "01"))),
        pl.lit("T") + hour.str.zfill(2),
        *(pl.lit(":") + part for part in (group("M", "00"), second)),
        zone,
    )
    return groups.select(moment).to_series().alias(column.name)


def _of_numbers(cells: pl.Series) -> str | None:
    """The format of times that are numbers."""
    if not len(cells) or cells.is_nan().any():
        return None
    low, high = float(cells.min()), float(cells.max())  # type: ignore[arg-type]
    whole = bool((cells == cells.floor()).all())
    lengths = {len(f"{low:.0f}"), len(f"{high:.0f}")}
    if whole and len(lengths) == 1 and (length := lengths.pop()) in DIGITS and _are_dates(cells, length):
        return DIGITS[length]
    for name, size in EPOCHS.items():
        per_second = 10**9 // size
        if RECENT[0] * per_second <= low and high <= RECENT[1] * per_second and (whole or name == "epoch s"):
            return name
    return None


def _are_dates(cells: pl.Series, length: int) -> bool:
    """Whether whole numbers are written as years, months and days."""
    import polars as pl

    digits = cells.cast(pl.Int64) // 10 ** max(0, length - 8)
    day = digits % 100 if length >= 8 else None
    month = digits // 100 % 100 if length >= 8 else digits % 100 if length == 6 else None
    year = digits // 10 ** (min(length, 8) - 4)
    fits = year.is_between(1800, 2200)
    for part, most in ((month, 12), (day, 31)):
        if part is not None:
            fits &= part.is_between(1, most)
    return bool(fits.all())


def _patterns(cell: str) -> Iterator[str]:
    """Every pattern that a cell may be written in."""
    if len(cell) > LONGEST:
        return
    for shape in SHAPES:
        found = shape.fullmatch(cell)
        if found is None:
            continue
        part = found.groupdict()
        clock = ""
        if part["H"] is not None:
            twelve = "I" if part["p"] else "H"
            gap = re.sub(r"\s+", " ", part["gap"])
            noon = (" %p" if part["p"][0].isspace() else "%p") if part["p"] else ""
            clock = f"{gap}%{twelve}:%M{':%S' if part['S'] else ''}{noon}"
        for date in _dates(part):
            yield date + clock


def _dates(part: dict[str, str | None]) -> Iterator[str]:
    """The patterns of the date in the groups of a shape."""
    if first := part.get("first"):
        mark = part["mark"]
        second, third = str(part["second"]), str(part["third"])
        if len(first) == 4:
            yield f"%Y{mark}%m{mark}%d"
        elif len(first) <= 2:
            year = "Y" if len(third) == 4 else "y"
            orders = [f"%d{mark}%m{mark}%{year}"]
            if not str(mark).startswith(".") or int(second) > 12:
                orders.append(f"%m{mark}%d{mark}%{year}")
            if year == "y" and mark == "-" and len(first) == 2:
                orders.append("%y-%m-%d")
            values = dict(zip("abc", map(int, (first, second, third)), strict=True))
            for order in orders:
                places = dict(zip((d for d in order if d.isalpha()), values.values(), strict=True))
                if 1 <= places["d"] <= 31 and 1 <= places["m"] <= 12:
                    yield order
        return
    if part.get("b") is not None and month_number(str(part["b"])) is None:
        return
    written = {
        "d": "%d",
        "m": "%m",
        "b": "%b",
        "q": "Q%q",
        "y": "%Y" if len(str(part["y"])) == 4 else "%y",
    }
    pattern = ""
    for name, text in part.items():
        if name in written and text is not None:
            pattern += written[name]
        elif name in {"after", "then"}:
            between = re.sub(r"\s+", " ", str(text))
            pattern += between.removeprefix(".") if pattern.endswith("%b") else between
    yield pattern


def _share(text: pl.Series, pattern: str) -> float:
    """The share of the cells that exist as times of a pattern."""

    iso = rewritten(text, pattern).str.head(10)
    return float(iso.str.to_date("%Y-%m-%d", strict=False).is_not_null().mean() or 0.0)  # type: ignore[arg-type]


@cache
def _regex(time_format: str) -> str:
    """A pattern as a regular expression; its clock, seconds and a zone may be absent."""
    date, clock = re.fullmatch(r"(.*?)((?:[\sT]|,\s*)?%[HI].*)?", time_format, re.DOTALL).groups()  # type: ignore[union-attr]
    text = _literal(date)
    if clock and re.match(r"[\sT,]", clock):
        text += f"(?:{_literal(clock)})?"
    else:
        text += _literal(clock or "")
    weekday = r"(?:\pL+[.,]*\s+)?" if not time_format.startswith("%b") else ""
    return rf"^{weekday}{text}\s*{ZONE}?$"


def _literal(pattern: str) -> str:
    parts = re.split("(%.)", pattern)
    text = "".join(
        DIRECTIVES[part[1]] if part[:1] == "%" and len(part) == 2 else re.sub(r"(\\?\s)+", r"\\s+", re.escape(part))
        for part in parts
    )
    if "%M" in pattern and "%S" not in pattern and ":%M" in pattern:
        minute = DIRECTIVES["M"]
        text = text.replace(minute, rf"{minute}(?::{DIRECTIVES['S']})?")
    return text.replace(f":{DIRECTIVES['S']}", rf"(?::{DIRECTIVES['S']})?") if "%S" in pattern else text


def _century(year: pl.Expr) -> pl.Expr:
    """Two digits as POSIX reads them: 69 to 99 are of the last century."""
    import polars as pl

    return pl.when(year.cast(pl.Int64) < 69).then(pl.lit("20") + year).otherwise(pl.lit("19") + year)


def _months_in(names: pl.Series) -> dict[str, str]:
    found = {name: month_number(name) for name in names.drop_nulls().unique()}
    return {name: str(number) for name, number in found.items() if number is not None}


@cache
def month_number(name: str) -> int | None:
    """The month of a name, or of an abbreviation of three letters or more; None where it is none, or could be two."""
    stem = _bare(name)
    if len(stem) < SHORTEST:
        return None
    found = {number for number, names in enumerate(MONTHS, 1) if any(_bare(n).startswith(stem) for n in names.split())}
    return found.pop() if len(found) == 1 else None


def _bare(name: str) -> str:
    """A name in small letters without accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", name.lower()) if not unicodedata.combining(c))
