"""Local times without an offset: the order of the rows tells the two passes of an hour apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from tests.support.raising import raises

from flts.contracts.errors import DataError
from flts.preprocess.read import Reading, read_columns, read_rows
from flts.preprocess.source import RawFile, RawTable
from flts.spec.dataset import Dataset

BERLIN = "Europe/Berlin"


def read(times: list[str], values: list[float | None], zone: str = BERLIN) -> Reading:
    frame = pl.DataFrame({"time": times, "y": pl.Series(values, dtype=pl.Float64)})
    return read_rows(RawTable("rows.csv", frame), Dataset(targets=["y"], timezone=zone))


def utc(*times: str, zone: str = BERLIN) -> list[int]:
    """UTC nanoseconds of times with an offset."""
    return [int(pd.Timestamp(time).tz_convert("UTC").as_unit("ns").value) for time in times]


def around_the_changes(zone: str, freq: str) -> pd.DatetimeIndex:
    """Three days around each change of the clock in two years."""
    index = pd.date_range("2023-01-01", "2024-12-31", freq=freq, tz=zone)
    offset = pd.Series([time.utcoffset() for time in index])
    changes = np.flatnonzero(offset.diff().fillna(pd.Timedelta(0)) != pd.Timedelta(0))
    per_day = pd.Timedelta("1D") // pd.Timedelta(freq)
    first, last = max(changes[0] - per_day, 0), changes[-1] + 2 * per_day
    return index[first:last]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("freq", ["15min", "30min", "1h", "2h"])
@pytest.mark.parametrize("zone", [BERLIN, "America/New_York", "Australia/Lord_Howe", "Atlantic/Azores"])
def test_rows_in_order_keep_their_moments_through_every_change(zone: str, freq: str, newest_first: bool) -> None:
    index = around_the_changes(zone, freq)
    frame = pl.DataFrame({"time": index.tz_localize(None).to_numpy(), "y": np.arange(len(index), dtype=float)})
    frame = frame.reverse() if newest_first else frame
    as_csv = RawFile("rows.csv", frame.write_csv(datetime_format="%Y-%m-%d %H:%M:%S").encode())
    for raw in (RawTable("rows", frame), as_csv):
        rows = read_rows(raw, Dataset(targets=["y"], timezone=zone)).rows
        np.testing.assert_array_equal(rows.times, index.as_unit("ns").asi8)
        np.testing.assert_array_equal(rows.values[:, 0], np.arange(len(index)))


def test_a_logger_that_is_off_by_milliseconds_shows_the_hour_twice_too() -> None:
    index = pd.date_range("2024-10-01", "2024-11-01", freq="h", tz="UTC")
    index += pd.to_timedelta(np.random.default_rng(0).integers(-400, 400, len(index)), unit="ms")
    frame = pl.DataFrame({"time": index.tz_convert(BERLIN).tz_localize(None).to_numpy(), "y": np.ones(len(index))})
    rows = read_rows(RawTable("rows", frame), Dataset(targets=["y"], timezone=BERLIN)).rows
    np.testing.assert_array_equal(rows.times, index.as_unit("ns").asi8)


@pytest.mark.parametrize(
    "hours",
    [
        ["01:00", "02:00", "03:00", "04:00"],
        ["01:30", "01:45", "02:00", "02:15", "02:30", "02:45", "03:00"],
        ["02:00", "03:00", "04:00"],
        ["00:00", "01:00", "02:00"],
        ["02:00"],
    ],
)
def test_an_hour_that_the_file_has_once_is_the_first_pass(hours: list[str]) -> None:
    rows = read([f"2024-10-27 {hour}" for hour in hours], [1.0] * len(hours)).rows
    twice = [f"2024-10-27T{hour}+02:00" for hour in hours if hour.startswith("02")]
    assert [time for time in rows.times.tolist() if time in utc(*twice)] == utc(*twice)


def test_part_of_the_second_pass_is_told_by_the_step_back() -> None:
    hours = ["02:00", "02:15", "02:30", "02:45", "02:30", "02:45", "03:00"]
    rows = read([f"2024-10-27 {hour}" for hour in hours], [float(i) for i in range(7)]).rows
    assert rows.values[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert rows.times[4:6].tolist() == utc("2024-10-27T02:30+01:00", "2024-10-27T02:45+01:00")


def test_rows_in_no_order_are_told_apart_by_which_comes_first() -> None:
    hours = ["05:00", "02:00", "04:00", "01:00", "03:00", "02:00", "00:00"]
    rows = read([f"2024-10-27 {hour}" for hour in hours], [float(i) for i in range(7)]).rows
    assert rows.values[:, 0].tolist() == [6, 3, 1, 5, 4, 2, 0]
    assert np.diff(rows.times).tolist() == [3600 * 10**9] * 6


SKIPPED = ["2024-03-31 01:00", "2024-03-31 02:00", "2024-03-31 03:00"]


def test_a_row_without_values_in_the_skipped_hour_is_left_out_with_a_warning() -> None:
    reading = read(SKIPPED, [1.0, None, 3.0])
    assert reading.rows.times.tolist() == utc("2024-03-31T01:00+01:00", "2024-03-31T03:00+02:00")
    assert reading.rows.values[:, 0].tolist() == [1, 3]
    assert len(reading.warnings) == 1
    assert "first row 2" in str(reading.warnings[0])


@pytest.mark.parametrize(
    ("zone", "time"),
    [
        (BERLIN, "2024-03-31 02:30"),
        ("America/New_York", "2021-03-14 02:00"),
        ("Australia/Lord_Howe", "2021-10-03 02:15"),
    ],
)
def test_a_row_with_values_in_the_skipped_hour_is_refused_with_what_would_fit(zone: str, time: str) -> None:
    with raises(DataError, code="clock-change", file="rows.csv", row=2, timezone=zone) as raised:
        read(["2020-01-01 00:00", time, "2025-01-01 01:00"], [1.0, 2.0, 3.0], zone)
    assert f"{time}:00" in str(raised.value)
    assert "offset" in str(raised.value)


def test_only_blank_rows_in_the_skipped_hour_leave_no_rows() -> None:
    with raises(DataError, code="no-rows", file="rows.csv"):
        read(["2024-03-31 02:00", "2024-03-31 02:30"], [None, None])


def test_collected_faults_name_the_skipped_hour_and_leave_its_time_empty() -> None:
    faults: list[str] = []
    frame = pl.DataFrame({"time": SKIPPED, "y": [1.0, 2.0, 3.0]})
    columns = read_columns(RawTable("rows.csv", frame), "time", BERLIN, faults)
    assert columns.times.is_null().to_list() == [False, True, False]
    assert len(faults) == 1
    assert "row 2" in faults[0]
    faults.clear()
    emptied = frame.with_columns(y=pl.Series([1.0, None, 3.0]))
    blank = read_columns(RawTable("rows.csv", emptied), "time", BERLIN, faults)
    assert (blank.times.is_null().to_list(), faults) == ([False, True, False], [])


@pytest.mark.parametrize(
    ("times", "zone", "expected"),
    [
        (["2018-11-03", "2018-11-04"], "America/Sao_Paulo", ["2018-11-03T00:00-03:00", "2018-11-04T01:00-02:00"]),
        (["2024-03-30 02:30", "2024-03-31 02:30"], BERLIN, ["2024-03-30T02:30+01:00", "2024-03-31T03:30+02:00"]),
    ],
)
def test_days_keep_the_row_of_the_day_on_which_the_clock_skips_their_time(
    times: list[str], zone: str, expected: list[Any]
) -> None:
    assert read(times, [1.0, 2.0], zone).rows.times.tolist() == utc(*expected)
