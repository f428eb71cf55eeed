"""The tables of a request as JSON has them → the rows that the bundle uses, and warnings about them.

RFC 3339 times and plain numbers take a way of numpy alone. Everything else goes to the reader of all tables, in a
thread, because that may import polars. What the first way accepts, both read alike.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flts.contracts.errors import DataError
from flts.contracts.notices import Notice
from flts.forecasting.bundle import Bundle
from flts.preprocess.history import read_history, settle
from flts.preprocess.iso import CLOCK, DATE
from flts.preprocess.read import Reading, in_order, too_large
from flts.preprocess.rows import Rows, Times, Values
from flts.preprocess.source import Raw, RawTable
from flts.preprocess.time_column import time_of
from flts.preprocess.times import YEARS, at, quoted
from flts.preprocess.transform import FittedPreprocess
from flts.serve.ahead import Later, unused
from flts.serve.answer import far, usable_history, usable_rows

NAME, FUTURE = "history", "future"
"""What messages call the tables."""
ON_LOOP = 1_000
"""Rows that are read on the event loop, in about a millisecond; more are read in a thread."""
TEXT = frozenset({str})
NUMBERS = frozenset({float, int, type(None)})
PLAIN = frozenset({float, int, type(None), str, bool})
"""Types of the cells that a table may hold, also in columns that no model uses."""
MOMENT = rf"({DATE}[T ]{CLOCK}(?::[0-9]{{2}}(?:\.[0-9]{{1,9}})?)?)(Z|[+-]{CLOCK})?|({DATE})"
"""A local part and a zone, or a date alone."""
LONGEST = len("2018-02-05T23:40:00.123456789+01:00")
FIRST, LAST = f"{YEARS[0] + 1}", f"{YEARS[1]}"
"""Years whose times the reader takes in every zone."""
ZEROS = str.maketrans("123456789", "000000000")
MINUTE = 60 * 10**9


class Constant(str):
    """NaN, Infinity or -Infinity in a body: no JSON, but some writers put it there."""


@dataclass(frozen=True)
class Cells:
    """The columns of a JSON object by name, all of one length. Cells are what the parser made of them."""

    columns: Mapping[str, Sequence[Any]]
    text: str | None = field(default=None, compare=False)
    """The column that holds text alone, where no other one holds a text, true or false; None where nobody looked."""

    @cached_property
    def kinds(self) -> Mapping[str, frozenset[type]]:
        """The types of the cells of each column."""
        return {name: frozenset(map(type, cells)) for name, cells in self.columns.items()}

    @property
    def rows(self) -> int:
        """How many rows the table has."""
        return max(map(len, self.columns.values()), default=0)


async def usable(
    bundle: Bundle, history: Raw | Cells, future: Cells | None = None, horizon: int | None = None
) -> tuple[Rows, tuple[Notice, ...]]:
    """The rows of a history that the bundle uses, with what it knows of the rows to forecast, and warnings.

    Raises DataError.
    """
    if isinstance(history, Cells) and history.rows <= ON_LOOP and future is None:
        reading = quick(history, bundle.model.task.fitted, bundle.manifest.time_column)
        if reading is not None:
            return usable_rows(bundle, reading, NAME, None, horizon)
    return await asyncio.to_thread(_in_thread, bundle, history, future, horizon)


def _in_thread(
    bundle: Bundle, history: Raw | Cells, future: Cells | None, horizon: int | None
) -> tuple[Rows, tuple[Notice, ...]]:
    fitted, time_column = bundle.model.task.fitted, bundle.manifest.time_column
    later = None if future is None or not bundle.given else _later(future, fitted, time_column, bundle.given)
    if isinstance(history, Cells):
        reading = quick(history, fitted, time_column) or exact(history, fitted, time_column, bundle.needed)
        rows, warnings = usable_rows(bundle, reading, NAME, later, horizon)
    else:
        rows, warnings = usable_history(bundle, history, later, horizon)
    return rows, warnings if future is None else (*warnings, *unused(bundle))


def _later(cells: Cells, fitted: FittedPreprocess, time_column: str, given: tuple[str, ...]) -> Later:
    """The rows to forecast with the given columns. Other columns of the train rows may be there, and are not read."""
    only = replace(fitted, columns=tuple(column for column in fitted.columns if column.name in given), targets=())
    others = set(fitted.names).difference(given)
    read = Cells({name: column for name, column in cells.columns.items() if name not in others})
    reading = quick(read, only, time_column, FUTURE) or exact(read, only, time_column, table=FUTURE)
    return Later(FUTURE, reading)


def exact(
    cells: Cells,
    fitted: FittedPreprocess,
    time_column: str,
    needed: Sequence[str] | None = None,
    table: str = NAME,
) -> Reading:
    """The rows of any table. needed: as of `read_history`. Raises DataError that names column and row."""
    import polars as pl

    time, count = time_of(cells.columns, time_column), cells.rows
    series = {}  # a list of them would give a column without a name one
    for name, column in cells.columns.items():
        if name == time:
            _refuse_other_than_times(table, name, column)
            series[name] = pl.Series(name, column, dtype=pl.String)
        elif name in fitted.names:
            _refuse_other_than_numbers(table, name, column)
            series[name] = pl.Series(name, np.array(column, dtype=np.float64))
        else:
            _refuse_nested(table, name, column)
            series[name] = pl.Series(name, [None] * count, dtype=pl.Null)  # only its name matters
    return read_history(RawTable(table, pl.DataFrame(series)), fitted, time_column, needed)


def quick(cells: Cells, fitted: FittedPreprocess, time_column: str, table: str = NAME) -> Reading | None:
    """The same without polars where times and numbers are plain, else None. Raises DataError as `exact` does."""
    columns, kinds, names = cells.columns, cells.kinds, fitted.names
    time = time_of(columns, time_column)
    if kinds.get(time) != TEXT or not all(name in kinds and kinds[name] <= NUMBERS for name in names):
        return None
    extra = [name for name in columns if name != time and name not in names] if len(columns) > len(names) + 1 else []
    times = utc(columns[time], fitted.grid.timezone)
    if times is None or not all(kinds[name] <= PLAIN for name in extra):
        return None
    values = np.empty((len(times), 0)) if not names else np.array([columns[name] for name in names], np.float64).T
    rows = Rows(times, np.ascontiguousarray(values), names)
    return settle(in_order(rows, np.arange(len(times), dtype=np.int64), table), extra, fitted, table)


def quick_together(
    histories: Sequence[Cells], fitted: FittedPreprocess
) -> tuple[Times, Values, NDArray[np.bool_]] | None:
    """Histories of equal length, each with the columns of `fitted` and one of text, read in one pass.

    Returns times [histories, rows], values [histories, rows, columns] and whether each history is ordinary
    [histories]: on the grid, in order, no row absent, every target measured, no value far from those of training.
    `quick` reads such a history alike, and nobody has to be warned of anything. None where their times or numbers are
    not plain.
    """
    names, count = fitted.names, len(histories)
    texts = [text for cells in histories for text in cells.columns[cells.text or ""]]
    rows = len(texts) // count
    times = utc(texts, fitted.grid.timezone)
    if times is None:
        return None
    try:
        values = np.array([[cells.columns[name] for name in names] for cells in histories], np.float64)
    except (TypeError, ValueError, OverflowError):  # a cell that is a list or an object
        return None
    if values.shape != (count, len(names), rows):
        return None
    values, times = np.ascontiguousarray(values.transpose(0, 2, 1)), times.reshape(count, rows)
    usual = fitted.grid.follows(times) & fitted.measured(values).all(axis=-1)
    return times, values, usual & ~(far(values, fitted) | too_large(values)).any(axis=(1, 2))


@dataclass(frozen=True)
class _Form:
    """How all times of a column are written.

    width: characters; local: of the part before the zone; zone: whether there is one and, if it is Z, no offset.
    least and span [width]: the smallest byte that each place may have, and by how much it may be larger.
    """

    width: int
    local: int
    zone: str | None
    least: NDArray[np.uint8]
    span: NDArray[np.uint8]


@lru_cache(maxsize=64)
def _form(zeros: str) -> _Form | None:
    """The form of a time whose digits are 0; None where it is not plain."""
    match = re.fullmatch(MOMENT, zeros)
    if match is None:
        return None
    local = match.end(1) if match[1] else len(zeros)
    places = [
        (ord("+"), 2) if i == local and mark != "Z" else (ord(mark), 9 if mark == "0" else 0)  # '+' to '-'
        for i, mark in enumerate(zeros)
    ]
    least, span = np.array(places, dtype=np.uint8).T
    return _Form(len(zeros), local, match[2], least, span)


def utc(texts: Sequence[str], timezone: str) -> Times | None:
    """UTC nanoseconds of times that are all written in one form; None where the reader of all tables has to decide.

    It has to for several forms, for text that is no time, and for local times of another zone than UTC.
    """
    form = _form(texts[0].translate(ZEROS)) if texts and len(texts[0]) <= LONGEST else None
    if form is None or (form.zone is None and timezone != "UTC"):
        return None
    text = "".join(texts)
    if not text.isascii() or {*map(len, texts)} != {form.width}:
        return None
    codes = np.frombuffer(text.encode(), dtype=np.uint8).reshape(len(texts), form.width)
    if not (codes - form.least <= form.span).all() or not FIRST <= min(texts) <= max(texts) < LAST:
        return None
    try:
        local = np.ascontiguousarray(codes[:, : form.local]).view(f"S{form.local}")[:, 0]
        times = local.astype("datetime64[ns]").view(np.int64)
    except ValueError:  # no such day or hour
        return None
    if form.zone is None or form.zone == "Z":
        return times
    ends = [time[form.local :] for time in texts]
    ahead = {end: _offset(end) for end in set(ends)}
    if None in ahead.values():
        return None
    return times - np.array([ahead[end] for end in ends], dtype=np.int64)


@lru_cache(maxsize=256)
def _offset(text: str) -> int | None:
    """Nanoseconds of an offset such as +01:00."""
    hours, minutes = int(text[1:3]), int(text[4:6])
    if text[0] not in "+-" or hours > 23 or minutes > 59:
        return None
    return (1 if text[0] == "+" else -1) * (60 * hours + minutes) * MINUTE


def _refuse_other_than_times(table: str, name: str, column: Sequence[Any]) -> None:
    """Refuse a cell that is no text, and a month alone, which may mean any of its days."""
    for row, cell in enumerate(column):
        if type(cell) is not str:
            if cell is None:
                continue  # the reader refuses it
            raise _unfit(table, name, row, cell, f"a time is text, such as {SUCH_AS}{_of_pandas(cell)}")
        if re.fullmatch(r"\s*[0-9]{4}-[0-9]{2}\s*", cell):
            raise _unfit(table, name, row, cell, f"a time names its day, such as {SUCH_AS}")


SUCH_AS = '"2018-02-05T23:40:00Z"'


def _of_pandas(cell: Any) -> str:
    """What helps with a count of milliseconds, which may be those of any clock."""
    return "; pandas writes such text with to_json(date_format='iso')" if type(cell) in {int, float} else ""


def _refuse_other_than_numbers(table: str, name: str, column: Sequence[Any]) -> None:
    for row, cell in enumerate(column):
        if type(cell) not in NUMBERS:
            raise _unfit(table, name, row, cell, "a value is a number, such as 1.5, or null where nothing was measured")


def _refuse_nested(table: str, name: str, column: Sequence[Any]) -> None:
    for row, cell in enumerate(column):
        if type(cell) not in PLAIN:
            raise _unfit(table, name, row, cell, "a cell is a number, text, true, false or null")


def _unfit(table: str, name: str, row: int, cell: Any, fits: str) -> DataError:
    return DataError(
        f"{table}: {at(row)}, column '{name}': {shown(cell)} does not fit; {fits}",
        code="cell-unfit",
        file=table,
        column=name,
        row=row + 1,
    )


def shown(value: object) -> str:
    """A value of a body as messages quote it."""
    match value:
        case Constant():
            return f"the literal {value}"
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case str():
            return f"the text {quoted(value)}"
        case dict():
            return "an object"
        case list():
            return "a list"
        case _:
            return f"the number {value!r}"
