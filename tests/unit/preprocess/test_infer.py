"""Which step, clock and phase are found for rows, and which seasons follow."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tests.support.raising import raises

from flts.contracts.errors import DataError
from flts.preprocess.grid import Grid
from flts.preprocess.infer import infer_grid, infer_seasons, infer_step
from flts.preprocess.rows import Times
from flts.spec.fields import ResampleRule
from flts.spec.steps import DAY, HOUR, SECOND, Step

BERLIN = "Europe/Berlin"
MINUTE = 60 * SECOND


def stamps(start: str, periods: int, freq: str, zone: str = "UTC") -> Times:
    return np.array(pd.date_range(start, periods=periods, freq=freq, tz=zone).as_unit("ns").asi8)


def some(times: Times, share: float) -> Times:
    """This share of the rows, drawn at random."""
    return np.sort(np.random.default_rng(0).choice(times, int(share * len(times)), replace=False))


def jittered(times: Times, most: int) -> Times:
    """Each row at most so many nanoseconds early or late."""
    return times + np.random.default_rng(0).integers(-most, most + 1, len(times))


OFFICE = pd.date_range("2020-01-01", periods=5000, freq="15min", tz="UTC")


@pytest.mark.parametrize(
    ("times", "step"),
    [
        (stamps("2024-01-01", 600, "h"), "1h"),
        (stamps("2024-01-01", 2, "h"), "1h"),
        (stamps("2024-01-01 23:00", 3, "h"), "1h"),
        (stamps("2024-01-01", 2, "MS"), "1mo"),
        (stamps("2024-01-01", 200, "121s"), "121s"),
        (np.arange(50) * 7 + 3, "7ns"),
        (jittered(stamps("2024-01-01", 600, "h"), 3 * 10**6), "1h"),
        (jittered(stamps("2024-01-01", 600, "D"), 50 * SECOND), "1d"),
        (jittered(stamps("2010-01-01", 100, "MS"), 50 * SECOND), "1mo"),
        (stamps("2024-01-01 00:59", 600, "h"), "1h"),
        (some(stamps("2020-01-01", 20_000, "h"), 0.1), "1h"),
        (np.delete(stamps("2020-01-01", 240, "h"), np.arange(1, 240, 3)), "1h"),
        (some(stamps("2020-01-01", 2000, "D"), 0.2), "1d"),
        (some(stamps("2020-01-01", 2000, "D"), 0.9), "1d"),
        (some(stamps("2000-01-01", 200, "MS"), 0.7), "1mo"),
        (np.array(OFFICE[OFFICE.hour == 12].as_unit("ns").asi8), "15min"),
        (stamps("2023-01-02", 20, "B"), "1bd"),
        (stamps("2023-01-02", 10, "B"), "1d"),
        (np.array([t.value for t in pd.date_range("2018-01-01", periods=100) if t.dayofweek in (0, 2, 4)]), "1d"),
        (stamps("2018-01-01", 100, "28D"), "4w"),
        (stamps("1990-01-01", 120, "QS"), "3mo"),
        (stamps("1990-01-01", 60, "6MS"), "6mo"),
        (stamps("1950-12-31", 60, "YE"), "1y"),
        (stamps("2000-01-01", 60, "BME"), "1mo"),
        (stamps("2000-01-01", 60, "BMS"), "1mo"),
        (stamps("2000-01-01", 60, "BQE"), "3mo"),
        (stamps("1950-01-01", 60, "BYE"), "1y"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)}",
)
def test_the_step_is_the_one_that_people_mean(times: Times, step: str) -> None:
    assert str(infer_step(times, "UTC", "rows.csv")) == step


@pytest.mark.parametrize(
    ("times", "zone", "step", "local"),
    [
        (stamps("2023-01-01", 400, "D", BERLIN), BERLIN, "1d", True),
        (stamps("2023-01-01 06:00", 400, "D", BERLIN), BERLIN, "1d", True),
        (stamps("2023-01-01", 400, "D"), BERLIN, "1d", False),
        (stamps("2023-01-01 06:00", 400, "D"), BERLIN, "1d", False),
        (stamps("2023-01-02", 200, "B"), "America/New_York", "1bd", False),
        (stamps("2023-01-02", 200, "B", "America/New_York"), "America/New_York", "1bd", True),
        (stamps("2010-01-01", 100, "MS"), "America/New_York", "1mo", False),
        (stamps("2010-01-01", 100, "MS"), "Asia/Kolkata", "1mo", False),
        (stamps("2023-01-01", 4000, "3h"), BERLIN, "3h", False),
        (stamps("2023-01-01", 4000, "h", BERLIN), BERLIN, "1h", False),
    ],
)
def test_steps_follow_the_clock_that_the_rows_keep(times: Times, zone: str, step: str, local: bool) -> None:
    grid = infer_grid(times, "infer", zone, "off", "rows.csv")
    assert (str(grid.step), grid.local, grid.timezone) == (step, local, zone)
    assert grid.nearest(times)[1].max() == 0


def test_hours_of_the_local_clock_are_local() -> None:
    wall = pd.date_range("2023-01-01", "2023-12-31", freq="3h")
    times = np.array(wall.tz_localize(BERLIN, nonexistent="shift_forward", ambiguous=True).as_unit("ns").asi8)
    grid = infer_grid(times, "infer", BERLIN, "off", "rows.csv")
    assert grid.local
    assert np.diff(grid.positions(times)).tolist() == [1] * (len(times) - 1)


@pytest.mark.parametrize("rule", ["off", "mean"])
@pytest.mark.parametrize(("freq", "at_end"), [("BME", True), ("BMS", False)])
def test_first_and_last_business_days_are_the_rows_of_their_months(freq: str, at_end: bool, rule: ResampleRule) -> None:
    times = stamps("2000-01-01 16:00", 240, freq)
    grid = infer_grid(times, "1mo", "UTC", rule, "rows.csv")
    assert np.diff(grid.positions(times)).tolist() == [1] * 239
    nearest, off = grid.nearest(times)
    np.testing.assert_array_equal(nearest, grid.positions(times))
    assert off.max() <= grid.tolerance
    assert (grid.times(nearest) % DAY == 16 * HOUR).all()
    assert (grid.times(nearest) >= times).all() == at_end
    months = grid.times(nearest).astype("datetime64[ns]").astype("datetime64[M]")
    np.testing.assert_array_equal(months, times.astype("datetime64[ns]").astype("datetime64[M]"))


def test_a_resampled_grid_starts_at_full_steps_of_the_zone() -> None:
    quarters = stamps("2023-01-01", 20_000, "15min", BERLIN)
    assert infer_grid(quarters, "1d", BERLIN, "mean", "rows") == Grid(Step(1, "day"), BERLIN, local=True)
    kolkata = infer_grid(stamps("2023-01-01 00:10", 2000, "10min", "Asia/Kolkata"), "1h", "Asia/Kolkata", "mean", "r")
    assert kolkata.phase == HOUR // 2


def test_rows_that_have_a_step_of_their_own_keep_their_stamps_when_resampled() -> None:
    times = some(stamps("2024-01-01 00:59", 1440, "h"), 0.97)
    grid = infer_grid(times, "1h", "UTC", "mean", "rows")
    assert grid.phase == 59 * MINUTE
    np.testing.assert_array_equal(grid.times(grid.positions(times)), times)


def test_no_step_can_be_inferred_from_one_row_or_one_time() -> None:
    with raises(DataError, code="too-few-rows", file="rows.csv", found=1, expected=2):
        infer_grid(stamps("2024-01-01", 1, "D"), "infer", "UTC", "off", "rows.csv")
    with raises(DataError, code="one-time", file="rows.csv"):
        infer_step(np.zeros(3, dtype=np.int64), "UTC", "rows.csv")
    grid = infer_grid(stamps("2024-05-01", 1, "D"), "1mo", "UTC", "off", "rows.csv")
    assert grid.after(stamps("2024-05-01", 1, "D"), 1)[0].tolist() == stamps("2024-06-01", 1, "D").tolist()


@pytest.mark.parametrize(
    ("step", "rows", "expected"),
    [
        ("1h", 48, [24]),
        ("1h", 47, []),
        ("1h", 336, [24, 168]),
        ("30min", 1000, [48, 336]),
        ("2min", 15_927, [720, 5040]),
        ("7min", 10_000, [1440]),
        ("11min", 10_000, []),
        ("12h", 100, [2, 14]),
        ("1d", 100, [7]),
        ("1d", 730, [7, 365]),
        ("24h", 100, [7]),
        ("2d", 1000, []),
        ("1w", 104, [52]),
        ("1w", 103, []),
        ("1bd", 100, [5]),
        ("1mo", 24, [12]),
        ("3mo", 8, [4]),
        ("1y", 100, []),
    ],
)
def test_seasons_are_those_of_the_step_of_which_train_holds_two(step: str, rows: int, expected: list[int]) -> None:
    assert infer_seasons(Grid(Step.parse(step), "UTC", local=False), rows) == expected
