"""Positions and times of grids, against the calendar of pandas, and the one place that multiplies steps."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import flts
from flts.contracts.records.data import GridRecord
from flts.preprocess.grid import Grid
from flts.preprocess.infer import infer_grid
from flts.preprocess.rows import Times
from flts.spec.steps import DAY, HOUR, Step

BERLIN = "Europe/Berlin"


def stamps(start: str, periods: int, freq: str, zone: str = "UTC") -> Times:
    """Times of pandas as UTC nanoseconds."""
    return np.array(pd.date_range(start, periods=periods, freq=freq, tz=zone).as_unit("ns").asi8)


def local(times: Times, zone: str) -> list[str]:
    return [time.isoformat() for time in pd.DatetimeIndex(times, tz="UTC").tz_convert(zone)]


GRIDS = [
    ("2023-01-01", "h", "UTC"),
    ("1965-06-01", "15min", "UTC"),
    ("2019-12-30", "D", "UTC"),
    ("2023-03-01", "D", BERLIN),
    ("2023-08-01 06:00", "D", BERLIN),
    ("2018-01-05", "W-FRI", "Europe/Madrid"),
    ("2018-01-01", "2D", "America/New_York"),
    ("2018-01-01", "14D", "UTC"),
    ("2018-01-01", "28D", "UTC"),
    ("2018-01-01", "B", "America/New_York"),
    ("1960-01-01", "MS", BERLIN),
    ("1960-01-31", "ME", "UTC"),
    ("1960-01-31 23:59", "ME", BERLIN),
    ("1960-01-31 23:59:59", "ME", "UTC"),
    ("1960-01-01", "QS", "UTC"),
    ("1960-03-31", "QE", "UTC"),
    ("1960-02-28", "QE-FEB", "UTC"),
    ("1930-01-01", "YS", "UTC"),
    ("1930-07-01", "YS-JUL", "UTC"),
    ("1930-12-31", "YE", "UTC"),
]


@pytest.mark.parametrize(("start", "freq", "zone"), GRIDS)
def test_rows_lie_one_position_apart_and_the_next_ones_follow_the_calendar(start: str, freq: str, zone: str) -> None:
    times = stamps(start, 130, freq, zone)
    grid = infer_grid(times[:100], "infer", zone, "off", "rows")
    positions = grid.positions(times)
    assert np.diff(positions).tolist() == [1] * 129
    np.testing.assert_array_equal(grid.times(positions), times)
    np.testing.assert_array_equal(grid.cells(times), positions)
    np.testing.assert_array_equal(grid.after(times[99], 30), times[100:])
    np.testing.assert_array_equal(grid.after(times[:100], 30), [times[i + 1 : i + 31] for i in range(100)])
    assert grid.between(int(times[3]), int(times[40])) == 37


@pytest.mark.parametrize(("start", "freq", "zone"), GRIDS)
def test_a_grid_survives_its_record(start: str, freq: str, zone: str) -> None:
    grid = infer_grid(stamps(start, 100, freq, zone), "infer", zone, "off", "rows")
    assert Grid.of(GridRecord.model_validate_json(grid.record().model_dump_json())) == grid


def test_a_forecast_across_the_end_of_summer_time_has_the_local_dates() -> None:
    times = stamps("2023-01-01", 663, "D", BERLIN)
    grid = infer_grid(times, "infer", BERLIN, "off", "rows")
    assert local(grid.after(times[-1], 4), BERLIN) == [
        "2024-10-25T00:00:00+02:00",
        "2024-10-26T00:00:00+02:00",
        "2024-10-27T00:00:00+02:00",
        "2024-10-28T00:00:00+01:00",
    ]


def test_a_day_whose_midnight_the_clock_skips_starts_after_the_change() -> None:
    grid = Grid(Step(1, "day"), "America/Sao_Paulo", local=True)
    days = grid.after(stamps("2018-11-02", 1, "D", "America/Sao_Paulo"), 3)[0]
    assert local(days, "America/Sao_Paulo") == [
        "2018-11-03T00:00:00-03:00",
        "2018-11-04T01:00:00-02:00",
        "2018-11-05T00:00:00-02:00",
    ]
    assert np.diff(grid.positions(days)).tolist() == [1, 1]


def test_business_days_skip_weekends_and_keep_a_holiday_as_a_position() -> None:
    grid = infer_grid(stamps("2023-01-02", 200, "B"), "infer", "UTC", "off", "rows")
    assert str(grid.step) == "1bd"
    friday = stamps("2023-12-22", 1, "D")
    assert local(grid.after(friday[0], 2), "UTC") == ["2023-12-25T00:00:00+00:00", "2023-12-26T00:00:00+00:00"]


def test_rows_at_the_30th_are_at_the_end_of_february() -> None:
    dates = [f"{year}-{month:02}-{30 if month != 2 else 28}" for year in (2021, 2022) for month in range(1, 13)]
    times = np.array(pd.DatetimeIndex(dates).as_unit("ns").asi8)
    grid = infer_grid(times, "infer", "UTC", "off", "rows")
    assert local(grid.after(times[-1], 3), "UTC")[1:] == ["2023-02-28T00:00:00+00:00", "2023-03-30T00:00:00+00:00"]
    every_six_hours = stamps("2021-02-01", 3000, "6h")
    assert (np.diff(grid.positions(every_six_hours)) >= 0).all()


def test_hours_of_a_local_grid_that_the_clock_repeats_or_skips_are_in_one_cell() -> None:
    grid = Grid(Step(2 * HOUR, "ns"), BERLIN, local=True)
    autumn = stamps("2024-10-27 00:00", 6, "h", BERLIN)  # 00, 01, 02, 02, 03, 04
    assert (grid.cells(autumn) - grid.cells(autumn[:1])).tolist() == [0, 0, 1, 1, 1, 2]
    spring = stamps("2024-03-31 00:00", 5, "h", BERLIN)  # 00, 01, 03, 04, 05
    assert (grid.cells(spring) - grid.cells(spring[:1])).tolist() == [0, 0, 1, 2, 2]
    assert local(grid.after(spring[0], 2), BERLIN) == ["2024-03-31T03:00:00+02:00", "2024-03-31T04:00:00+02:00"]


def test_the_nearest_position_may_be_the_one_before_or_after_the_cell() -> None:
    month_end = infer_grid(stamps("2010-01-31 23:59:59", 50, "ME"), "infer", "UTC", "off", "rows")
    late = stamps("2012-03-01 00:00:01", 1, "D")
    nearest, off = month_end.nearest(late)
    assert (local(month_end.times(nearest), "UTC"), off.tolist()) == (["2012-02-29T23:59:59+00:00"], [2 * 10**9])
    hours = Grid(Step(HOUR, "ns"), "UTC", local=False)
    assert hours.nearest(np.array([HOUR - 5, HOUR + 5]))[0].tolist() == [1, 1]


def test_24_hours_are_a_day_only_where_no_clock_changes() -> None:
    hours, days = Grid(Step(DAY, "ns"), "UTC", local=False), Grid(Step(1, "day"), "UTC", local=False)
    assert hours.same_step(days)
    assert not hours.same_step(Grid(Step(1, "day"), BERLIN, local=True))
    assert not days.same_step(Grid(Step(1, "business day"), "UTC", local=False))


def test_messages_show_local_time_with_its_offset() -> None:
    grid = Grid(Step(HOUR, "ns"), BERLIN, local=False)
    assert grid.shown(stamps("2024-10-27", 1, "D", BERLIN)[0]) == "2024-10-27T00:00:00+02:00"


def test_only_grid_and_steps_multiply_steps() -> None:
    root = Path(flts.__file__).parent
    multiplied = re.compile(r"\* ?(self\.)?step\b|\bstep(\.count)? \*|\.nanoseconds \*|\* [\w.]*\.nanoseconds")
    found = {
        str(file.relative_to(root))
        for file in root.rglob("*.py")
        for line in file.read_text().splitlines()
        if multiplied.search(line)
    }
    assert found <= {"preprocess/grid.py", "spec/steps.py"}
