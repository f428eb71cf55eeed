"""The one function from rows to features agrees with a loop in plain Python."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from tests.support.series import HOUR, START, hourly

from flts.contracts.records.data import CALENDAR
from flts.preprocess.fit import fit
from flts.preprocess.grid import Grid, wall_time
from flts.preprocess.rows import Rows, Times, Values
from flts.preprocess.transform import FittedPreprocess, calendar, engineer, fill, transform
from flts.spec.fields import Preprocess
from flts.spec.steps import Step

SECOND = 10**9
DAY = 24 * HOUR

ZONES = [
    "UTC",
    "Europe/Madrid",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Pacific/Kiritimati",
]

CHANGES = {
    "Europe/Madrid": ["2021-03-28T01:00", "2021-10-31T01:00"],
    "America/New_York": ["2021-03-14T07:00", "2021-11-07T06:00"],
    "Australia/Lord_Howe": ["2021-04-03T15:00", "2021-10-02T15:30"],
    "Antarctica/Troll": ["2021-03-28T01:00", "2021-10-31T01:00"],
    "Africa/Casablanca": ["2021-04-11T02:00", "2021-05-16T02:00"],
    "America/Sao_Paulo": ["2018-11-04T03:00", "2019-02-17T02:00"],
    "Pacific/Apia": ["2011-12-30T10:00"],
}
"""UTC moments at which the clock changes: by an hour, by half of one, by two, at midnight, over the date line."""


def utc(text: str) -> int:
    """UTC nanoseconds of an ISO time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


def gappy(count: int, seed: int, columns: int = 3, share: float = 0.4) -> Rows:
    """Rows with empty cells at both ends and in runs."""
    rows = hourly(count, seed=seed, columns=tuple("abcdef"[:columns]))
    values = rows.values.copy()
    values[np.random.default_rng(seed).random(values.shape) < share] = math.nan
    values[: seed % 4] = math.nan
    return replace(rows, values=values)


def learned(train: Rows | None = None, targets: tuple[str, ...] = ("a",), **preprocess: Any) -> FittedPreprocess:
    """Statistics fitted on rows with gaps; every calendar column unless `time_features` is off."""
    zone = preprocess.pop("timezone", "UTC")
    missing = {"drop_columns_above": 1.0, **preprocess.pop("missing", {})}
    rules = Preprocess.model_validate({"missing": missing, **preprocess})
    grid = Grid(Step(HOUR, "ns"), zone, local=False)
    fitted = fit(train or gappy(60, 3), rules, grid).preprocess.for_targets(targets)
    return replace(fitted, calendar=CALENDAR if rules.time_features else ())


def all_calendar(times: Times, zone: str) -> Values:
    """Every calendar column in this zone."""
    return calendar(times, learned(timezone=zone))


def naive_fill(values: Values, median: Values, max_gap: int) -> Values:
    """Cell by cell: the last value, if it is at most `max_gap` rows old, else the median."""
    filled = values.copy()
    for column in range(values.shape[1]):
        for row in range(len(values)):
            if math.isnan(values[row, column]):
                filled[row, column] = median[column]
                for back in range(1, min(row, max_gap) + 1):
                    if not math.isnan(values[row - back, column]):
                        filled[row, column] = values[row - back, column]
                        break
    return filled


@pytest.mark.parametrize("max_gap", [0, 1, 2, 5, 100])
@pytest.mark.parametrize("seed", range(5))
def test_fill_is_the_last_value_up_to_the_longest_gap_and_then_the_median(max_gap: int, seed: int) -> None:
    values, median = gappy(40, seed).values, np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(fill(values, median, max_gap), naive_fill(values, median, max_gap))


def test_fill_keeps_measured_values_and_does_not_change_its_input() -> None:
    values = gappy(40, 1).values
    before = values.copy()
    there = ~np.isnan(values)
    np.testing.assert_array_equal(fill(values, np.zeros(3), 2)[there], values[there])
    np.testing.assert_array_equal(values, before)


def test_fill_never_carries_values_from_one_window_into_another() -> None:
    windows = np.stack([gappy(12, seed).values for seed in range(6)])
    median = np.array([1.0, 2.0, 3.0])
    expected = [naive_fill(window, median, 3) for window in windows]
    np.testing.assert_array_equal(fill(windows, median, 3), expected)


@pytest.mark.parametrize("scaler", ["minmax", "standard", "robust", "maxabs", "none"])
@pytest.mark.parametrize("constant", [0.0, 7.5])
@pytest.mark.parametrize("clipped", [False, True])
def test_features_are_filled_clipped_shifted_and_scaled_cell_by_cell(
    scaler: str, constant: float, clipped: bool
) -> None:
    rules = {"enabled": clipped, "method": "quantile", "factor": 10.0}
    fitted = learned(scaler=scaler, constant=constant, outliers=rules, time_features=False, missing={"max_gap": 2})
    rows = gappy(30, 9)
    expected = naive_fill(rows.values, np.array([c.median for c in fitted.columns]), 2)
    for index, column in enumerate(fitted.columns):
        for row in range(len(rows)):
            value = expected[row, index]
            if column.low is not None and column.high is not None:
                value = min(max(value, column.low), column.high)
            expected[row, index] = (value + constant - column.center) / column.scale
    features = transform(rows.times, rows.values, fitted)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, expected.astype(np.float32))


def test_train_rows_are_scaled_to_the_unit_interval() -> None:
    train = gappy(60, 3)
    features = transform(train.times, train.values, learned(train, time_features=False))
    np.testing.assert_array_equal(features.min(axis=0), 0.0)
    np.testing.assert_array_equal(features.max(axis=0), 1.0)


def test_only_the_fitted_calendar_columns_are_features() -> None:
    fitted = replace(learned(), calendar=CALENDAR[2:4])
    rows = gappy(30, 2)
    assert fitted.features == ("a", "b", "c", "day_of_week_sin", "day_of_week_cos")
    np.testing.assert_array_equal(calendar(rows.times, fitted), all_calendar(rows.times, "UTC")[:, 2:4])


def test_a_row_is_measured_when_it_holds_every_target() -> None:
    values = np.array([[1.0, math.nan, 3.0], [1.0, 2.0, math.nan], [math.nan, math.nan, math.nan]])
    assert learned(targets=("a", "c")).measured(values).tolist() == [True, False, False]
    assert learned(targets=("a",)).measured(values).tolist() == [True, True, False]


def test_a_lag_is_the_scaled_target_that_many_rows_earlier_and_the_median_before_the_first() -> None:
    fitted = learned(targets=("c", "a"), lags=[3, 1, 50], scaler="standard", constant=2.0)
    rows = gappy(30, 9)
    features = transform(rows.times, rows.values, fitted)
    for target in ("c", "a"):
        column = fitted.columns[fitted.names.index(target)]
        empty = np.float32((column.median + 2.0 - column.center) / column.scale)
        base = features[:, fitted.names.index(target)]
        for k in (1, 3, 50):
            lagged = features[:, fitted.features.index(f"{target}_lag{k}")]
            expected = [base[row - k] if row >= k else empty for row in range(len(rows))]
            np.testing.assert_array_equal(lagged, expected)


def test_features_are_the_columns_then_the_lags_by_row_then_the_calendar() -> None:
    fitted = learned(targets=("c", "a"), lags=[2, 1])
    assert fitted.features == ("a", "b", "c", "c_lag1", "a_lag1", "c_lag2", "a_lag2", *CALENDAR)
    rows = gappy(10, 1)
    assert transform(rows.times, rows.values, fitted).shape == (10, len(fitted.features))
    assert learned(time_features=False).features == ("a", "b", "c")


def test_the_calendar_comes_last_and_is_not_scaled() -> None:
    fitted = learned(scaler="standard", constant=9.0, lags=[1], timezone="Europe/Madrid")
    rows = gappy(30, 2)
    features = transform(rows.times, rows.values, fitted)[:, -len(CALENDAR) :]
    np.testing.assert_array_equal(features, all_calendar(rows.times, "Europe/Madrid").astype(np.float32))


def test_transform_is_cleaning_and_then_engineering() -> None:
    fitted, rows = learned(lags=[1], outliers={"enabled": True}), gappy(30, 2)
    cleaned = fitted.clean(rows.values)
    np.testing.assert_array_equal(engineer(rows.times, cleaned, fitted), transform(rows.times, rows.values, fitted))


@pytest.mark.parametrize("zone", ["UTC", "Australia/Lord_Howe"])
def test_a_batch_of_windows_is_exactly_the_loop_over_single_windows(zone: str) -> None:
    fitted = learned(lags=[1, 4, 20], outliers={"enabled": True}, missing={"max_gap": 2}, timezone=zone)
    rows = gappy(80, 7)
    origins = np.arange(12, 80)
    times = np.stack([rows.times[i - 12 : i] for i in origins])
    values = np.stack([rows.values[i - 12 : i] for i in origins])
    batch = transform(times, values, fitted)
    assert batch.shape == (len(origins), 12, len(fitted.features))
    singles = [transform(t, v, fitted) for t, v in zip(times, values, strict=True)]
    np.testing.assert_array_equal(batch, singles)
    grid = transform(times.reshape(4, 17, 12), values.reshape(4, 17, 12, 3), fitted)
    np.testing.assert_array_equal(grid.reshape(batch.shape), batch)


def test_transform_does_not_change_its_rows() -> None:
    rows, fitted = gappy(30, 2), learned(lags=[1], outliers={"enabled": True}, constant=1.0)
    times, values = rows.times.copy(), rows.values.copy()
    transform(rows.times, rows.values, fitted)
    np.testing.assert_array_equal(rows.times, times)
    np.testing.assert_array_equal(rows.values, values)


def local(time: int, zone: str) -> datetime:
    """Local time in this zone by the standard library."""
    return datetime.fromtimestamp(time // SECOND, UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def moments(zone: str) -> Times:
    """Every seven minutes around each change of the clock, the ends of years, and moments spread over a century."""
    around = [utc(text) for text in CHANGES.get(zone, [])]
    around += [utc("2019-12-31T18:00"), utc("2020-12-31T18:00"), utc("1969-12-31T20:00"), utc("2020-02-29T12:00")]
    dense = [moment + k * 7 * 60 * SECOND for moment in around for k in range(-250, 250)]
    edges = [moment + k * SECOND for moment in around for k in (-1, 0, 1)]
    sparse = np.linspace(utc("1930-01-01"), utc("2037-01-01"), 400).astype(np.int64) // SECOND * SECOND
    return np.array([*dense, *edges, *sparse], dtype=np.int64)


@pytest.mark.parametrize("zone", ZONES)
def test_the_wall_time_is_that_of_the_standard_library(zone: str) -> None:
    times = moments(zone)
    expected = [int((local(int(t), zone) - datetime(1970, 1, 1)).total_seconds()) * SECOND for t in times]
    np.testing.assert_array_equal(wall_time(times, zone), expected)


@pytest.mark.parametrize("zone", ZONES)
def test_the_calendar_is_sine_and_cosine_of_the_wall_time_of_the_standard_library(zone: str) -> None:
    times = moments(zone)[::7]
    expected = []
    for time in times:
        there = local(int(time), zone)
        shares = (
            (there.hour * 3600 + there.minute * 60 + there.second) / 86400,
            there.weekday() / 7,
            (there.timetuple().tm_yday - 1) / 365.25,
        )
        expected.append([part(2 * math.pi * share) for share in shares for part in (math.sin, math.cos)])
    np.testing.assert_allclose(all_calendar(times, zone), expected, rtol=0, atol=1e-12)


def test_nanoseconds_count_for_the_minute_of_day_also_where_the_clock_changes() -> None:
    change = utc("2021-03-28T01:00")
    times = np.array([change - 1, change, change + 1], dtype=np.int64)
    assert (wall_time(times, "Europe/Madrid") - times).tolist() == [HOUR, 2 * HOUR, 2 * HOUR]


def test_the_calendar_of_windows_has_their_shape() -> None:
    times = (START + HOUR * np.arange(24, dtype=np.int64)).reshape(2, 3, 4)
    features = all_calendar(times, "Australia/Lord_Howe")
    assert features.shape == (2, 3, 4, len(CALENDAR))
    np.testing.assert_array_equal(features.reshape(24, -1), all_calendar(times.reshape(24), "Australia/Lord_Howe"))


def test_targets_are_scaled_by_their_range_over_train_whatever_the_scaler() -> None:
    train = gappy(60, 3)
    fitted = learned(train, targets=("b", "a"), scaler="standard", constant=5.0)
    finished = fitted.clean(train.values)[:, [1, 0]]
    scaled = fitted.scale_targets(finished)
    np.testing.assert_array_equal(scaled.min(axis=0), 0.0)
    np.testing.assert_array_equal(scaled.max(axis=0), 1.0)
    np.testing.assert_allclose(fitted.unscale_targets(scaled), finished, rtol=1e-12)


def test_targets_are_chosen_after_fitting() -> None:
    fitted = learned(targets=())
    assert fitted.features == ("a", "b", "c", *CALENDAR)
    assert fitted.for_targets(("c",)).target_index.tolist() == [2]
    assert fitted.for_targets(("c",)).columns == fitted.columns
