"""The reader takes what people have and refuses, with the place, whatever it would have to guess."""

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
from tests.support.series import HOUR, hourly

from flts.contracts.errors import DataError
from flts.preprocess.read import Reading, read_rows, split
from flts.preprocess.source import RawFile, RawTable
from flts.spec.fields import Dataset

SECOND = 10**9


def utc(*moment: int) -> int:
    """UTC nanoseconds of a calendar time."""
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * SECOND  # type: ignore[misc,arg-type]


def read(content: str | bytes, name: str = "rows.csv", **dataset: Any) -> Reading:
    """The rows of a file with this content, `y` to be forecast."""
    data = content if isinstance(content, bytes) else content.encode()
    return read_rows(RawFile(name, data), Dataset(**{"targets": ["y"], **dataset}))


def read_table(table: Any, **dataset: Any) -> Reading:
    """The rows of a table in memory, `y` to be forecast."""
    return read_rows(RawTable.of("rows", table), Dataset(**{"targets": ["y"], **dataset}))


def refusal(content: str | bytes, name: str = "rows.csv", **dataset: Any) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(DataError) as raised:
        read(content, name, **dataset)
    assert raised.value.exit_code == 4
    assert "\n" not in str(raised.value)
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


def test_booleans_are_numbers() -> None:
    assert read("time,y\n2020-01-01,true\n2020-01-02,false\n").rows.values.tolist() == [[1.0], [0.0]]


def test_columns_that_are_not_numeric_are_left_out_with_a_warning() -> None:
    reading = read("time,y,name,note\n2020-01-01,1,a,1\n2020-01-02,2,3,x\n")
    assert reading.rows.columns == ("y",)
    assert reading.warnings == ["rows.csv: columns that are not numeric were left out: name, note"]
    odd = read_table({"time": ["2020-01-01"], "y": [1], "d": [timedelta(1)], "t": [time(1)], "l": [[1]], "b": [b"x"]})
    assert odd.rows.columns == ("y",)
    assert odd.warnings == ["rows: columns that are not numeric were left out: d, t, l, b"]


def test_rows_out_of_order_are_sorted_with_a_warning_that_names_the_first() -> None:
    reading = read("time,y\n2020-01-02,2\n2020-01-03,3\n2020-01-01,1\n2020-01-04,4\n")
    assert reading.rows.values[:, 0].tolist() == [1, 2, 3, 4]
    assert (np.diff(reading.rows.times) > 0).all()
    assert reading.warnings == ["rows.csv: rows are not in order of time (first at row 3); they were sorted"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "rows.csv: is empty; a header and at least one row are needed"),
        ("\n\n", "rows.csv: is empty; a header and at least one row are needed"),
        ("time,y", "rows.csv: has no rows; a header and at least one row are needed"),
        ("time,y\n", "rows.csv: has no rows; a header and at least one row are needed"),
        ("Time,y\n2020-01-01,1\n", "has no time column 'time'; did you mean 'Time'? (valid: Time, y)"),
        ("time;y\n2020-01-01;1\n", "its columns are separated by ';'; commas are needed, with a point in decimal numb"),
        ("time;y\n2020-01-01;1,5\n", "its columns are separated by ';'; commas are needed"),
        ("time\ty\n2020-01-01\t1\n", "its columns are separated by tabs; commas are needed"),
        ("time|y\n2020-01-01|1,5,3\n", "its columns are separated by '|'; commas are needed"),
        ("time,yy\n2020-01-01,1\n", "has no column 'y' to forecast; did you mean 'yy'? (valid: yy)"),
        ("time,a,b\n2020-01-01,1,x\n", "has no column 'y' to forecast; valid: a"),
        ("time,y\n2020-01-01,1\n2020-01-02,oops\n", "row 2: 'oops' in column 'y' is no number"),
        ("time,y\n2020-01-01,1\n2020-01-02, \n2020-01-03,NULL\n", "row 3: 'NULL' in column 'y' is no number"),
        ('time,y\n2020-01-01,"1,5"\n', "row 1: '1,5' in column 'y' is no number"),
        ("time,y\n2020-01-01,1\n,2\n", "row 2 has no time in column 'time'"),
        ("time,y\nNA,1\n", "row 1 has no time in column 'time'"),
        ("time,y\n2020-01-01,1\n01.02.2020,2\n", "row 2, column 'time': '01.02.2020' is no ISO 8601 time such as 2018"),
        ("time,y\n2020-01-01T10,1\n", "row 1, column 'time': '2020-01-01T10' is no ISO 8601 time"),
        ("time,y\n2020-02-30,1\n", "row 1, column 'time': '2020-02-30' is no time that exists"),
        ("time,y\n2020-01-01 24:00,1\n", "'2020-01-01 24:00' is no time that exists"),
        ("time,y\n2020-01-01T10:00+25:00,1\n", "'2020-01-01T10:00+25:00' is no time that exists"),
        ("time,y\n1577836800,1\n", "column 'time' holds Int64; write times as ISO 8601"),
        ("time,y\n1500-01-01,1\n", "row 1, column 'time': the year 1500 is out of reach; 1678 to 2261 fit"),
        ("time,y\n2020-01-01,1\n2262-01-01T00:00Z,1\n", "the year 2262 is out of reach"),
        ("time,y\n2020-01-01,1\n2020-01-02,inf\n", "column 'y' holds an infinite value (1 cells in all, the first"),
        ("time,y,x\n2020-01-02,1,-Infinity\n2020-01-01,1,1e999\n", "column 'x' holds an infinite value (2 cells"),
        ("time,y\n2020-01-01,1,2\n", "line 2 has 3 cells, the header 2; write decimal numbers with a point, text with"),
        ("# of 2020\ntime,y\n2020-01-01,1\n", "line 2 has 2 cells, the header 1; write decimal numbers"),
        ('time,y\n2020-01-01,"1\n', "cannot be read as CSV with commas and a header, UTF-8: "),
        ("time,y\r2020-01-01,1\r", "its lines end with CR alone; save it with LF or CRLF at the end of a line"),
        ("time,y, y \n2020-01-01,1,2\n", "the header names the column 'y' twice"),
        ("time,y\n2020-01-01,1\n\n2020-01-02,2\n", "row 2 has no time in column 'time'"),
        ("time,y\n,\n\n", "rows.csv: has no rows; a header and at least one row are needed"),
        (f"time,y\n{ARABIC_2020}-01-01,1\n", f"row 1, column 'time': '{ARABIC_2020}-01-01' is no ISO 8601 time such"),
        ("time,y\n2020-01-01 +01:00,1\n", "row 1, column 'time': '2020-01-01 +01:00' is no ISO 8601 time such as"),
        (f"time,y\n2020-01-01,{ARABIC_2020}\n", f"row 1: '{ARABIC_2020}' in column 'y' is no number"),
        ('time,y\n"2020\n01",1\n', r"row 1, column 'time': '2020\n01' is no ISO 8601 time"),
        (f"time,y\n{'x' * 99},1\n", f"row 1, column 'time': '{'x' * 60}…' is no ISO 8601 time"),
        (f"time,y\n2020-01-01,1{'0' * 45}\n", "column 'y' holds 1e+45, beyond the ±1e+30"),
        ("time,y\n2020-01-01,1\n2020-01-02,2e30\n", "column 'y' holds 2e+30, beyond the ±1e+30 that 32-bit features"),
        ("time,y,x\n2020-01-01,1,-1e31\n2020-01-02,2,inf\n", "column 'x' holds an infinite value (1 cells in all"),
        (
            b"time,y,s\n2020-01-01,1,\xe9\n",
            "is not UTF-8 text: line 2 holds the byte 0xe9, which in Latin-1 is 'é'; save it as UTF-8",
        ),
        (b"time,y,\xfc\n2020-01-01,1,2\n", "is not UTF-8 text: line 1 holds the byte 0xfc, which in Latin-1 is 'ü'"),
        (PLAIN.encode("utf-16"), "is UTF-16 text; save it as UTF-8 (iconv -f UTF-16 -t UTF-8 makes it from UTF-16)"),
        (b"\xfe\xff" + PLAIN.encode("utf-16-be"), "is UTF-16 text; save it as UTF-8"),
        (PLAIN.encode("utf-16-le"), "holds zero bytes, as UTF-16 does; save it as UTF-8 text"),
        (b"PAR1 and more", "is Parquet; let its name end in .parquet"),
        (b"PK\x03\x04 and more", "is an Excel workbook or another ZIP archive; export its rows as CSV"),
        ("time,y,y\n2020-01-01,1,2\n", "the header names the column 'y' twice"),
        ("time,y,time\n2020-01-01,1,2\n", "the header names the column 'time' twice"),
    ],
)
def test_a_mistake_in_a_csv_is_refused_with_its_place(content: str | bytes, said: str) -> None:
    message = refusal(content)
    assert message.startswith("rows.csv: ")
    assert said in message


def test_a_number_at_the_edge_of_what_fits_is_read() -> None:
    assert read("time,y\n2020-01-01,1e30\n2020-01-02,-1e30\n").rows.values.tolist() == [[1e30], [-1e30]]


def test_a_header_may_hold_the_character_that_stands_for_what_is_no_text() -> None:
    assert read("time,y,\ufffd\n2020-01-01,1,2\n").rows.columns == ("y", "\ufffd")


def test_times_with_and_without_a_zone_are_refused_with_a_row_of_each() -> None:
    message = refusal("time,y\n2020-01-01 00:00Z,1\n2020-01-01 01:00Z,1\n2020-01-01 02:00,1\n")
    assert "mixes times with and without a zone: '2020-01-01 00:00Z' at row 1, '2020-01-01 02:00' at row 3" in message


def test_repeated_times_are_refused_with_the_first_few_in_utc() -> None:
    days = "".join(f"2020-01-0{day} 02:00,1\n" * 2 for day in range(1, 5))
    message = refusal("time,y\n" + days, timezone="Europe/Madrid")
    assert "4 rows repeat the time of another row (UTC 2020-01-01T01:00:00, 2020-01-02T01:00:00," in message
    assert "2020-01-04" not in message
    offsets = "time,y\n2020-01-01T10:00Z,1\n2020-01-01T11:00+01:00,1\n"
    assert "1 rows repeat the time of another row (UTC 2020-01-01T10:00:00)" in refusal(offsets)


def test_naive_times_are_read_in_the_zone_of_the_spec() -> None:
    rows = read("time,y\n2021-01-15 12:00,1\n2021-07-15 12:00,2\n", timezone="Europe/Madrid").rows
    assert rows.times.tolist() == [utc(2021, 1, 15, 11), utc(2021, 7, 15, 10)]


@pytest.mark.parametrize(
    ("zone", "local"),
    [
        ("Europe/Madrid", "2021-03-28 02:30"),
        ("Europe/Madrid", "2021-10-31 02:30"),
        ("America/New_York", "2021-03-14 02:00"),
        ("Australia/Lord_Howe", "2021-10-03 02:15"),
        ("Australia/Lord_Howe", "2021-04-04 01:45"),
    ],
)
def test_a_local_time_that_is_skipped_or_shown_twice_is_refused_with_its_row(zone: str, local: str) -> None:
    content = f"time,y\n2021-01-01 00:00,1\n{local},2\n"
    message = refusal(content, timezone=zone)
    assert f"row 2: {local}:00 is ambiguous or skipped in {zone} (the clock changes); 1 such rows" in message
    assert read(content).rows.values.tolist() == [[1], [2]]


def test_a_time_that_is_shown_twice_is_read_with_its_offset() -> None:
    rows = read("time,y\n2021-10-31T02:30+02:00,1\n2021-10-31T02:30+01:00,2\n", timezone="Europe/Madrid").rows
    assert rows.times.tolist() == [utc(2021, 10, 31, 0, 30), utc(2021, 10, 31, 1, 30)]


def test_the_time_column_may_have_another_name() -> None:
    assert same(read(PLAIN.replace("time", "when"), time_column="when"), read(PLAIN))


def test_a_numeric_column_that_would_lie_under_the_name_of_the_times_is_refused() -> None:
    message = refusal("when,y,time\n2020-01-01,1,1577836800\n", time_column="when")
    assert "has a numeric column 'time' beside the time column 'when'" in message
    text = read("when,y,time\n2020-01-01,1,noon\n", time_column="when")
    assert text.rows.columns == ("y",)


@pytest.mark.parametrize("content", [b"", b"PAR1junk", PLAIN.encode()])
def test_what_is_no_parquet_is_refused_by_its_name(content: bytes) -> None:
    assert refusal(content, "rows.parquet").startswith("rows.parquet: cannot be read as Parquet: ")


def test_a_file_that_went_away_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^gone\.csv: cannot be read: "):
        RawFile("gone.csv", tmp_path / "gone.csv").frame()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (5, "a int is no table of columns"),
        ({"time": ["2020-01-01", "2020-01-02"], "y": [1]}, "a dict is no table of columns"),
        ({"time": ["2020-01-01", "2020-01-02"], "y": [1, "a"]}, "a dict is no table of columns"),
        ([1, 2], "has no time column 'time'"),
        (pl.DataFrame(), "has no rows"),
        ({"time": [], "y": []}, "has no rows"),
        ({"time": [time(1)], "y": [1]}, "column 'time' holds Time"),
        ({"time": [datetime(1500, 1, 1)], "y": [1]}, "row 1, column 'time': the year 1500 is out of reach"),
        ({"time": [datetime(2020, 1, 1), None], "y": [1, 2]}, "row 2 has no time in column 'time'"),
        ({"time": ["2020-01-01"], "y": [[1]]}, "column 'y' holds List(Int64), no numbers, and it is to be forecast"),
        (pd.DataFrame({"time": [pd.Timestamp("2020-01-01"), pd.NaT], "y": [1, 2]}), "row 2 has no time"),
    ],
    ids=str,
)
def test_a_table_that_cannot_be_used_is_refused_in_one_line(table: Any, said: str) -> None:
    with pytest.raises(DataError) as raised:
        read_table(table)
    assert str(raised.value).startswith("rows: ")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_one_file_is_split_into_its_first_and_its_last_rows() -> None:
    rows = hourly(10)
    train, test = split(rows, 0.25, "rows.csv")
    assert (len(train), len(test)) == (8, 2)
    assert test.times[0] - train.times[-1] == HOUR
    np.testing.assert_array_equal(train.then(test).values, rows.values)


@pytest.mark.parametrize(("count", "fraction"), [(1, 0.5), (2, 0.1), (3, 0.9)])
def test_a_split_that_leaves_a_side_empty_is_refused(count: int, fraction: float) -> None:
    message = f"rows.csv: {count} rows cannot be split with test_fraction = {fraction}"
    with pytest.raises(DataError, match=message):
        split(hourly(count), fraction, "rows.csv")
