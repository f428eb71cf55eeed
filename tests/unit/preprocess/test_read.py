"""The reader accepts what people have; it refuses, with file, column and row, whatever it would have to guess."""

from __future__ import annotations

import hashlib
import io
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pytest
from tests.support.raising import raises
from tests.support.series import HOUR, hourly

from flts.contracts.errors import DataError, Plain
from flts.preprocess.read import Reading, read_rows, split
from flts.preprocess.source import RawFile, RawTable
from flts.spec.dataset import Dataset

SECOND = 10**9


def utc(*moment: int) -> int:
    """UTC nanoseconds of a calendar time."""
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * SECOND  # type: ignore[misc,arg-type]


def read(content: str | bytes, name: str = "rows.csv", **dataset: Any) -> Reading:
    """The rows of a file with this content; `y` is the target."""
    data = content if isinstance(content, bytes) else content.encode()
    return read_rows(RawFile(name, data), Dataset(**{"targets": ["y"], **dataset}))


def read_table(table: Any, **dataset: Any) -> Reading:
    """The rows of a table in memory; `y` is the target."""
    return read_rows(RawTable.of("rows", table), Dataset(**{"targets": ["y"], **dataset}))


def refuse(content: str | bytes, code: str, data: dict[str, Plain] | None = None, **dataset: Any) -> str:
    """The one line with which rows.csv is refused for this reason."""
    with raises(DataError, code=code, file="rows.csv", **(data or {})) as raised:
        read(content, **dataset)
    assert raised.value.exit_code == 4
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("rows.csv: ")
    return str(raised.value)


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def same(a: Reading, b: Reading) -> bool:
    """Whether two readings hold the same rows, empty cells included."""
    return (
        a.rows.columns == b.rows.columns
        and np.array_equal(a.rows.times, b.rows.times)
        and np.array_equal(a.rows.values, b.rows.values, equal_nan=True)
    )


ARABIC_2020 = "".join(chr(0x660 + int(digit)) for digit in "2020")
PLAIN = "time,y,x\n2020-01-01 00:00:00,1,0.5\n2020-01-01 01:00:00,2,\n"


def test_a_csv_is_read_in_its_own_units_and_column_order() -> None:
    reading = read(PLAIN)
    assert reading.rows.columns == ("y", "x")
    assert reading.rows.times.tolist() == [utc(2020, 1, 1, 0), utc(2020, 1, 1, 1)]
    np.testing.assert_array_equal(reading.rows.values, [[1, 0.5], [2, math.nan]])
    assert reading.rows.times.dtype == np.int64
    assert reading.rows.values.dtype == np.float64
    assert reading.warnings == []


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.replace("\n", "\r\n"),
        "\ufeff" + PLAIN,
        PLAIN.replace(" ", "T"),
        PLAIN.replace(":00:00", ":00"),
        PLAIN.replace(":00,", ":00Z,"),
        PLAIN.replace("01 0", "01T0").replace(":00,", ":00.000+00:00,"),
        PLAIN.replace("2020-01-01 00:00:00", "2020-01-01"),
        PLAIN.replace("2020", " 2020").replace(":00,", ":00 ,"),
        PLAIN.replace("1,0.5", '"1", 0.5').replace(",2,", ", 2 ,NA"),
        PLAIN.replace("2,", "2, null "),
        PLAIN.replace("time,y,x", " time, y ,x "),
        PLAIN.replace(":00,", ":00 +00:00 ,"),
        PLAIN + "\n,,\n\n",
        "time,y,x\n2020-01-01T01:00:00+01:00,1,0.5\n2019-12-31T20:30:00-0430,2,\n",
    ],
    ids=[
        "crlf",
        "bom",
        "T",
        "minutes",
        "Z",
        "offset",
        "date",
        "spaces",
        "quoted",
        "padded null",
        "spaces in the header",
        "spaced offset",
        "blank end",
        "offsets",
    ],
)
def test_the_same_rows_written_another_way_are_the_same_rows(content: str) -> None:
    assert same(read(content), read(PLAIN))


@pytest.mark.parametrize(
    "table",
    [
        pl.read_csv(PLAIN.encode()),
        pl.read_csv(PLAIN.encode(), try_parse_dates=True),
        pl.read_csv(PLAIN.encode(), try_parse_dates=True).to_pandas(),
        pl.read_csv(PLAIN.encode(), try_parse_dates=True).to_pandas().set_index("time"),
        pl.read_csv(PLAIN.encode()).to_arrow(),
        {"time": ["2020-01-01 00:00", "2020-01-01 01:00"], "y": [1, 2], "x": [0.5, None]},
        {"time": [datetime(2020, 1, 1), datetime(2020, 1, 1, 1)], "y": ["1", "2"], "x": [Decimal("0.5"), None]},
        {
            "time": [datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, 2, tzinfo=ZoneInfo("Europe/Madrid"))],
            "y": [1, 2],
            "x": [0.5, math.nan],
        },
    ],
    ids=["polars", "datetimes", "pandas", "pandas index", "arrow", "mapping", "text and decimals", "zones"],
)
def test_a_table_in_memory_is_read_like_a_file(table: Any) -> None:
    assert same(read_table(table), read(PLAIN))


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_parquet_is_read_like_csv_in_any_unit_of_time(unit: Any) -> None:
    frame = pl.read_csv(PLAIN.encode(), try_parse_dates=True).with_columns(pl.col("time").cast(pl.Datetime(unit)))
    assert same(read(parquet(frame), "rows.parquet"), read(PLAIN))


def test_a_file_on_disk_is_read_like_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(PLAIN)
    on_disk, in_memory = RawFile("rows.csv", path), RawFile("rows.csv", PLAIN.encode())
    assert same(read_rows(on_disk, Dataset(targets=["y"])), read(PLAIN))
    assert on_disk.digest() == in_memory.digest() == hashlib.sha256(PLAIN.encode()).hexdigest()


def test_dates_are_midnights_and_nanoseconds_are_kept() -> None:
    assert read_table({"time": [date(2020, 1, 1)], "y": [1]}).rows.times.tolist() == [utc(2020, 1, 1)]
    reading = read("time,y\n2020-01-01T00:00:00.123456789,1\n2020-01-01T00:00:00.5,1\n")
    assert (reading.rows.times - utc(2020, 1, 1)).tolist() == [123456789, 500000000]


@pytest.mark.parametrize("cell", ["", "NA", "NaN", "nan", "null", "None", '""'])
def test_an_empty_cell_may_be_written_in_several_ways(cell: str) -> None:
    reading = read(f"time,y,x\n2020-01-01,1,2\n2020-01-02,{cell},3\n")
    np.testing.assert_array_equal(reading.rows.values, [[1, 2], [math.nan, 3]])


def test_a_column_without_any_value_is_an_empty_numeric_column() -> None:
    for reading in (
        read("time,y,x\n2020-01-01,1,\n2020-01-02,2,NA\n"),
        read_table({"time": ["2020-01-01", "2020-01-02"], "y": [1, 2], "x": [None, None]}),
    ):
        assert reading.rows.columns == ("y", "x")
        assert np.isnan(reading.rows.values[:, 1]).all()
        assert reading.warnings == []


def said(reading: Reading) -> list[str]:
    """The warnings as sentences."""
    return [str(notice) for notice in reading.warnings]


def test_booleans_are_numbers() -> None:
    assert read("time,y\n2020-01-01,true\n2020-01-02,false\n").rows.values.tolist() == [[1.0], [0.0]]


def test_columns_that_are_not_numeric_are_left_out_with_a_warning() -> None:
    reading = read("time,y,name,note\n2020-01-01,1,a,1\n2020-01-02,2,3,x\n")
    assert reading.rows.columns == ("y",)
    assert said(reading) == ["rows.csv: columns that are not numeric were left out: name, note"]
    odd = read_table({"time": ["2020-01-01"], "y": [1], "d": [timedelta(1)], "t": [time(1)], "l": [[1]], "b": [b"x"]})
    assert odd.rows.columns == ("y",)
    assert said(odd) == ["rows: columns that are not numeric were left out: d, t, l, b"]


def test_rows_out_of_order_are_sorted_with_a_warning_that_names_the_first() -> None:
    reading = read("time,y\n2020-01-02,2\n2020-01-03,3\n2020-01-01,1\n2020-01-04,4\n")
    assert reading.rows.values[:, 0].tolist() == [1, 2, 3, 4]
    assert (np.diff(reading.rows.times) > 0).all()
    assert said(reading) == ["rows.csv: rows are not in order of time (first at row 3); they were sorted"]


@pytest.mark.parametrize(
    ("content", "code", "data"),
    [
        ("", "file-empty", {}),
        ("\n\n", "file-empty", {}),
        ("time,y", "no-rows", {}),
        ("time,y\n", "no-rows", {}),
        ("time,y\n,\n\n", "no-rows", {}),
        ("Time,y\n2020-01-01,1\n", "time-column-missing", {"column": "time"}),
        ("time|y\n2020-01-01|1,5,3\n", "not-a-number", {"column": "y", "row": 1}),
        ("2020-01-01,1\n2020-01-02,2\n", "header-missing", {}),
        ('time,y\n2020-01-01,"1,500"\n', "not-a-number", {"column": "y", "row": 1}),
        ("time;y\n2020-01-01;1.500\n", "not-a-number", {"column": "y", "row": 1}),
        ("time,y\n01/02/2020,1\n", "times-ambiguous", {"column": "time", "row": 1}),
        ("time,y\n31.12.2020,1\nSumme,2\n", "time-unreadable", {"column": "time", "row": 2}),
        ("time,y\n43831,1\n", "column-not-times", {"column": "time", "found": "Int64"}),
        ("time,yy\n2020-01-01,1\n", "column-missing", {"column": "y"}),
        ("time,a,b\n2020-01-01,1,x\n", "column-missing", {"column": "y"}),
        ("time,y\n2020-01-01,1\n2020-01-02,oops\n", "not-a-number", {"column": "y", "row": 2}),
        ("time,y\n2020-01-01,1\n2020-01-02, \n2020-01-03,NULL?\n", "not-a-number", {"column": "y", "row": 3}),
        (f"time,y\n2020-01-01,{ARABIC_2020}\n", "not-a-number", {"column": "y", "row": 1}),
        ("time,y\n2020-01-01,1\n,2\n", "time-missing", {"column": "time", "row": 2}),
        ("time,y\nNA,1\n", "time-missing", {"column": "time", "row": 1}),
        ("time,y\n2020-01-01,1\n\n2020-01-02,2\n", "time-missing", {"column": "time", "row": 2}),
        ("time,y\n2020-01-01,1\n01.02.2020,2\n", "time-not-iso", {"column": "time", "row": 2}),
        ("time,y\n2020-01-01T10:00 EST,1\n", "time-not-iso", {"column": "time", "row": 1}),
        (f"time,y\n{ARABIC_2020}-01-01,1\n", "time-not-iso", {"column": "time", "row": 1}),
        ('time,y\n"2020\n01",1\n', "time-not-iso", {"column": "time", "row": 1}),
        ("time,y\n2020-02-30,1\n", "no-such-time", {"column": "time", "row": 1}),
        ("time,y\n2020-01-01 25:00,1\n", "no-such-time", {"column": "time", "row": 1}),
        ("time,y\n2020-01-01T10:00+25:00,1\n", "no-such-time", {"column": "time", "row": 1}),
        ("time,y\n1500-01-01,1\n", "year-out-of-range", {"column": "time", "row": 1, "found": 1500}),
        ("time,y\n2020-01-01,1\n2262-01-01T00:00Z,1\n", "year-out-of-range", {"row": 2, "found": 2262}),
        ("time,y\n2020-01-01,1\n2020-01-02,inf\n", "value-infinite", {"column": "y", "row": 2}),
        ("time,y,x\n2020-01-02,1,-Infinity\n2020-01-01,1,1e999\n", "value-infinite", {"column": "x", "row": 1}),
        ("time,y,x\n2020-01-01,1,-1e31\n2020-01-02,2,inf\n", "value-infinite", {"column": "x", "row": 2}),
        (f"time,y\n2020-01-01,1{'0' * 45}\n", "value-too-large", {"column": "y", "row": 1, "found": "1e+45"}),
        ("time,y\n2020-01-01,1\n2020-01-02,2e30\n", "value-too-large", {"column": "y", "row": 2, "found": "2e+30"}),
        ("time,y\n2020-01-01,1,2\n", "line-too-long", {"line": 2, "found": 3, "expected": 2}),
        ('time,y\n2020-01-01,"1\n', "not-csv", {}),
        ("time,y\r2020-01-01,1\r", "wrong-line-ends", {}),
        ("time,y, y \n2020-01-01,1,2\n", "column-twice", {"column": "y"}),
        ("time,y,y\n2020-01-01,1,2\n", "column-twice", {"column": "y"}),
        ("time,y,time\n2020-01-01,1,2\n", "column-twice", {"column": "time"}),
        ("time,y, ^.$ \n2020-01-01,1,2\n", "column-pattern", {"column": "^.$"}),
        ("^$", "column-pattern", {"column": "^$"}),
        (b"PAR1 and more", "wrong-format", {"found": "Parquet"}),
        (b"PK\x03\x04 and more", "not-csv", {}),
    ],
)
def test_a_mistake_in_a_csv_is_refused_with_column_and_row(
    content: str | bytes, code: str, data: dict[str, Plain]
) -> None:
    refuse(content, code, data)


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        ("Time,y\n2020-01-01,1\n", "time-column-missing", "has no time column 'time'; did you mean 'Time'?"),
        ("time,yy\n2020-01-01,1\n", "column-missing", "has no column 'y' to forecast; did you mean 'yy'?"),
        ("time,y\n2020-01-01,oops\n", "not-a-number", "row 1: 'oops' in the column 'y' is not a number"),
        ('time,y\n"2020\n01",1\n', "time-not-iso", r"row 1, column 'time': '2020\n01' is not an ISO 8601 time"),
        (f"time,y\n{'x' * 99},1\n", "time-not-iso", f"row 1, column 'time': '{'x' * 60}…' is not an ISO 8601 time"),
    ],
)
def test_a_message_shows_the_cell_and_what_would_fit(content: str | bytes, code: str, message: str) -> None:
    assert message in refuse(content, code)


def test_a_number_at_the_edge_of_what_fits_is_read() -> None:
    assert read("time,y\n2020-01-01,1e30\n2020-01-02,-1e30\n").rows.values.tolist() == [[1e30], [-1e30]]


def test_a_header_may_contain_the_replacement_character() -> None:
    assert read("time,y,\ufffd\n2020-01-01,1,2\n").rows.columns == ("y", "\ufffd")


def test_times_with_and_without_a_zone_are_refused_with_a_row_of_each() -> None:
    content = "time,y\n2020-01-01 00:00Z,1\n2020-01-01 01:00Z,1\n2020-01-01 02:00,1\n"
    message = refuse(content, "zones-mixed", {"column": "time", "row": 3})
    assert "'2020-01-01 00:00Z' in row 1, '2020-01-01 02:00' in row 3" in message


def test_rows_of_one_time_keep_the_order_of_the_file() -> None:
    reading = read("time,y\n2020-01-02,3\n2020-01-01,1\n2020-01-01,2\n")
    assert reading.rows.values[:, 0].tolist() == [1, 2, 3]
    assert reading.rows.times[0] == reading.rows.times[1]


@pytest.mark.parametrize("written", ["2010-02", " 2010-02 "])
def test_a_month_is_its_first_day(written: str) -> None:
    assert read(f"time,y\n{written},1\n").rows.times.tolist() == [utc(2010, 2, 1)]
    assert read(f"time,y\n{written},1\n", timezone="Europe/Madrid").rows.times.tolist() == [utc(2010, 1, 31, 23)]


def test_naive_times_are_read_in_the_zone_of_the_spec() -> None:
    rows = read("time,y\n2021-01-15 12:00,1\n2021-07-15 12:00,2\n", timezone="Europe/Madrid").rows
    assert rows.times.tolist() == [utc(2021, 1, 15, 11), utc(2021, 7, 15, 10)]


def test_a_time_that_is_shown_twice_is_read_with_its_offset() -> None:
    rows = read("time,y\n2021-10-31T02:30+02:00,1\n2021-10-31T02:30+01:00,2\n", timezone="Europe/Madrid").rows
    assert rows.times.tolist() == [utc(2021, 10, 31, 0, 30), utc(2021, 10, 31, 1, 30)]


def test_the_time_column_may_have_another_name() -> None:
    assert same(read(PLAIN.replace("time", "when"), time_column="when"), read(PLAIN))


def test_a_numeric_column_with_the_stored_name_of_the_times_is_refused() -> None:
    refuse("when,y,time\n2020-01-01,1,1577836800\n", "column-named-time", {"column": "time"}, time_column="when")
    text = read("when,y,time\n2020-01-01,1,noon\n", time_column="when")
    assert text.rows.columns == ("y",)


@pytest.mark.parametrize("content", [b"", b"PAR1junk", PLAIN.encode()])
def test_bytes_that_are_not_parquet_are_refused_with_the_file_name(content: bytes) -> None:
    with raises(DataError, code="not-parquet", file="rows.parquet"):
        read(content, "rows.parquet")


def test_a_file_that_was_deleted_is_refused_with_its_name(tmp_path: Path) -> None:
    with raises(DataError, code="file-unreadable", file="gone.csv"):
        RawFile("gone.csv", tmp_path / "gone.csv").loaded()


@pytest.mark.parametrize(
    ("table", "code", "data"),
    [
        (5, "no-table", {}),
        ({"time": ["2020-01-01", "2020-01-02"], "y": [1]}, "no-table", {}),
        ({"time": ["2020-01-01", "2020-01-02"], "y": [1, "a"]}, "not-a-number", {"column": "y", "row": 2}),
        ([1, 2], "time-column-missing", {"column": "time"}),
        (pl.DataFrame(), "no-rows", {}),
        ({"time": [], "y": []}, "no-rows", {}),
        ({"time": [time(1)], "y": [1]}, "column-not-times", {"column": "time", "found": "Time"}),
        ({"time": [datetime(1500, 1, 1)], "y": [1]}, "year-out-of-range", {"row": 1, "found": 1500}),
        ({"time": [datetime(2020, 1, 1), None], "y": [1, 2]}, "time-missing", {"column": "time", "row": 2}),
        ({"time": ["2020-01-01"], "y": [[1]]}, "column-not-numeric", {"column": "y", "found": "List(Int64)"}),
        (pd.DataFrame({"time": [pd.Timestamp("2020-01-01"), pd.NaT], "y": [1, 2]}), "time-missing", {"row": 2}),
    ],
    ids=str,
)
def test_a_table_that_cannot_be_used_is_refused_in_one_line(table: Any, code: str, data: dict[str, Plain]) -> None:
    with raises(DataError, code=code, file="rows", **data) as raised:
        read_table(table)
    assert str(raised.value).startswith("rows: ")
    assert "\n" not in str(raised.value)


def test_one_file_is_split_into_its_first_and_its_last_rows() -> None:
    rows = hourly(10)
    train, test = split(rows, 0.25, "rows.csv")
    assert (len(train), len(test)) == (8, 2)
    assert test.times[0] - train.times[-1] == HOUR
    np.testing.assert_array_equal(train.then(test).values, rows.values)


@pytest.mark.parametrize(("count", "fraction"), [(1, 0.5), (2, 0.1), (3, 0.9)])
def test_a_split_that_leaves_a_side_empty_is_refused(count: int, fraction: float) -> None:
    with raises(DataError, code="split-empty", file="rows.csv", rows=count, test_fraction=fraction):
        split(hourly(count), fraction, "rows.csv")
