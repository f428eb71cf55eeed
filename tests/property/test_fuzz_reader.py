"""Whatever bytes a file has, they become rows or one DataError; the style of a file changes no row."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import partial

import numpy as np
import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.raising import raises

from flts.contracts.errors import DataError
from flts.preprocess.read import Reading, read_rows
from flts.preprocess.source import RawFile
from flts.spec.dataset import Dataset

ZONES = st.sampled_from(["UTC", "Europe/Madrid", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"])
MARKS = [",", ",", ",", "\n", "\n", "\r\n", "\r", ";", "\t", '"', " ", "\0", "\ufeff", "#", "é", "", "-"]
MOMENTS_AS_TEXT = ["2020-01-01", "2020-01-01T00:00", "24:00", "Z", "+01:00", "0001-01-01", "2021-03-28 02:30"]
VALUES_AS_TEXT = ["1", "-0", ".5", "1e5", "1e999", "inf", "NaN", "NA", "null", "true", "False", "9" * 45]
PIECES = st.sampled_from(["time", "y", "x", *MARKS, *MOMENTS_AS_TEXT, *VALUES_AS_TEXT])
NEARLY_CSV = st.lists(PIECES, max_size=40).map(lambda pieces: "time,y\n" + "".join(pieces))


def read(content: bytes, name: str = "rows.csv", zone: str = "UTC") -> Reading:
    return read_rows(RawFile(name, content), Dataset(targets=["y"], timezone=zone))


def rows_or_one_line(content: bytes, name: str, zone: str = "UTC") -> None:
    """Read the file; a refusal is one line that names it."""
    try:
        rows = read(content, name, zone).rows
    except DataError as raised:
        refusal = str(raised)
    else:
        assert (np.diff(rows.times) >= 0).all()
        assert rows.values.shape == (len(rows), len(rows.columns))
        assert not np.isinf(rows.values).any()
        return
    assert refusal.startswith(f"{name}: ")
    assert "\n" not in refusal


@settings(deadline=None)
@given(st.binary(max_size=200), ZONES)
def test_any_bytes_are_rows_or_one_refusal(content: bytes, zone: str) -> None:
    rows_or_one_line(content, "rows.csv", zone)


@example(f"time,y\n{''.join(chr(0x660 + int(digit)) for digit in '2020')}-01-01,1\n", "UTC")  # digits, but not a number
@example(f"time,y\n2020-01-01,{'9' * 45}\n", "UTC")  # beyond the integers of polars
@example("time,y\n2020-01-01T00:00 +01:00,1\n", "UTC")  # the first space is not that before the clock
@example("time,y\n2020-01-01,1\n\n,\n", "UTC")  # blank lines at the end
@example("time,y\r2020-01-01,1\r", "UTC")
@example("time,y, ,  ,,\n2020-01-01,1,,,,\n", "UTC")  # several columns without a name
@example('time,y\n"2020\n01",1\n', "UTC")  # a message is one line even so
@example("time,y\n9999-12-31 23:59:59.999999999,1\n", "America/New_York")
@settings(deadline=None)
@given(NEARLY_CSV | st.text(max_size=80), ZONES)
def test_what_is_nearly_csv_is_rows_or_one_refusal(content: str, zone: str) -> None:
    rows_or_one_line(content.encode(errors="replace"), "rows.csv", zone)


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_a_parquet_that_was_cut_off_is_refused(length: int) -> None:
    rows_or_one_line(PARQUET, "rows.parquet")
    with raises(DataError, code="not-parquet", file="rows.parquet"):
        read(PARQUET[: length % len(PARQUET)], "rows.parquet")


def _parquet() -> bytes:
    buffer = io.BytesIO()
    times = [datetime(2020, 1, 1, hour) for hour in range(6)]
    pl.DataFrame({"time": times, "y": [1.0, None, 3.0, 4.5, 5.0, 6.0], "s": list("abcdef")}).write_parquet(buffer)
    return buffer.getvalue()


PARQUET = _parquet()


@dataclass(frozen=True)
class Style:
    """One way of writing the same table."""

    end: str
    bom: bool
    quoted: bool
    padded: str
    time: Callable[[datetime], str]
    number: Callable[[float], str]
    empty: str
    blank_lines: int


def zoned(moment: datetime, minutes: int, colon: bool) -> str:
    written = moment.astimezone(timezone(timedelta(minutes=minutes))).isoformat()
    return written if colon else written[:-3] + written[-2:]


TIMES = st.sampled_from(
    [
        lambda t: t.strftime("%Y-%m-%d %H:%M:%S"),
        lambda t: t.strftime("%Y-%m-%dT%H:%M:%S"),
        lambda t: t.strftime("%Y-%m-%dT%H:%M:%S.000"),
        lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ"),
        lambda t: t.strftime("%Y-%m-%d %H:%M:%S.000000000 +00:00"),
        lambda t: t.strftime("%Y-%m-%d %H:%M") if t.second == 0 else t.strftime("%Y-%m-%d %H:%M:%S"),
        lambda t: t.strftime("%Y-%m-%d") if t.hour == t.minute == t.second == 0 else str(t)[:19],
    ]
) | st.builds(
    lambda minutes, colon: partial(zoned, minutes=minutes, colon=colon), st.integers(-839, 839), st.booleans()
)
NUMBERS = st.sampled_from(
    [repr, lambda n: f"{n:.17e}", lambda n: f"+{n!r}" if n > 0 else repr(n), lambda n: f" {n!r} "]
)
STYLES = st.builds(
    Style,
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
    quoted=st.booleans(),
    padded=st.sampled_from(["", " ", "   "]),
    time=TIMES,
    number=NUMBERS,
    empty=st.sampled_from(["", "NA", "NaN", "nan", "null", "None"]),
    blank_lines=st.integers(0, 2),
)
MOMENTS = st.datetimes(datetime(1700, 1, 1), datetime(2250, 1, 1)).map(lambda t: t.replace(microsecond=0, tzinfo=UTC))
CELLS = st.none() | st.floats(-1e30, 1e30) | st.integers(-(10**6), 10**6).map(float)
ROWS = st.dictionaries(MOMENTS, st.tuples(CELLS, CELLS), min_size=1, max_size=6).map(lambda rows: sorted(rows.items()))


def written(rows: list[tuple[datetime, tuple[float | None, ...]]], order: list[int], style: Style) -> bytes:
    """The rows as a file; order: the position of each of the columns time, y, x."""

    def line(cells: list[str]) -> str:
        padded = [f"{style.padded}{cells[i]}{style.padded}" for i in order]
        return ",".join(f'"{cell}"' for cell in padded) if style.quoted else ",".join(padded)

    def number(value: float | None) -> str:
        return style.empty if value is None else style.number(value)

    lines = [line(["time", "y", "x"]), *(line([style.time(t), *map(number, values)]) for t, values in rows)]
    text = style.end.join(lines) + style.end * (1 + style.blank_lines)
    return text.encode("utf-8-sig" if style.bom else "utf-8")


@settings(deadline=None)
@given(ROWS, st.permutations([0, 1, 2]), STYLES)
def test_the_same_rows_are_read_however_they_are_written(
    rows: list[tuple[datetime, tuple[float | None, ...]]], order: list[int], style: Style
) -> None:
    result = read(written(rows, order, style)).rows
    assert result.times.tolist() == [
        int((t - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 10**9 for t, _ in rows
    ]
    expected = np.array([[np.nan if cell is None else cell for cell in cells] for _, cells in rows])
    np.testing.assert_array_equal(result.select(["y", "x"]), expected)
