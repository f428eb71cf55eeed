"""Every statistic is what plain Python says, from train alone, in the stated order."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from tests.support.series import HOUR, START, hourly

from flts.contracts.records.data import CALENDAR, FittedColumn, FittedRecord
from flts.preprocess.fit import Fitted, fit, seasonal_error
from flts.preprocess.grid import Grid
from flts.preprocess.rows import Rows
from flts.preprocess.transform import FittedPreprocess
from flts.spec.fields import Preprocess
from flts.spec.steps import Step

HOURS = Grid(Step(HOUR, "ns"), "UTC", local=False)
NAN = math.nan


def rows(**columns: Sequence[float]) -> Rows:
    """Hourly rows of these columns."""
    values = np.array(list(columns.values()), dtype=np.float64).T
    return Rows(START + HOUR * np.arange(len(values), dtype=np.int64), values, tuple(columns))


def fitted(train: Rows, **preprocess: Any) -> Fitted:
    return fit(train, Preprocess(**preprocess), HOURS)


def column(train: Rows, **preprocess: Any) -> FittedColumn:
    """What is fitted on the first column."""
    return fitted(train, **preprocess).preprocess.columns[0]


def quantile(values: Sequence[float], share: float) -> float:
    """Linear interpolation between the sorted values (Hyndman and Fan 1996, type 7)."""
    ordered = sorted(v for v in values if not math.isnan(v))
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (position - low) * (ordered[high] - ordered[low])


@pytest.fixture
def odd() -> list[float]:
    """41 values, the first and six others empty, with one far away."""
    values = [float(v) for v in np.random.default_rng(5).normal(50, 10, 41)]
    for row in (0, 7, 8, 20, 21, 22, 40):
        values[row] = NAN
    values[30] = 900.0
    return values


def test_the_median_is_that_of_the_raw_values_that_are_there(odd: list[float]) -> None:
    expected = statistics.median(v for v in odd if not math.isnan(v))
    assert column(rows(y=odd)).median == expected
    assert column(rows(y=odd), outliers={"enabled": True}).median == expected


def test_without_outliers_there_are_no_limits(odd: list[float]) -> None:
    fitted_column = column(rows(y=odd))
    assert (fitted_column.low, fitted_column.high) == (None, None)
    assert fitted_column.maximum == 900.0


@pytest.mark.parametrize("factor", [1.5, 3.0])
def test_iqr_limits_are_the_quartiles_and_a_multiple_of_their_distance(odd: list[float], factor: float) -> None:
    fitted_column = column(rows(y=odd), outliers={"enabled": True, "factor": factor})
    first, third = quantile(odd, 0.25), quantile(odd, 0.75)
    assert fitted_column.low == pytest.approx(first - factor * (third - first), rel=1e-12)
    assert fitted_column.high == pytest.approx(third + factor * (third - first), rel=1e-12)


@pytest.mark.parametrize("factor", [1.0, 10.0, 49.0])
def test_quantile_limits_leave_a_percentage_outside_at_both_ends(odd: list[float], factor: float) -> None:
    fitted_column = column(rows(y=odd), outliers={"enabled": True, "method": "quantile", "factor": factor})
    assert fitted_column.low == pytest.approx(quantile(odd, factor / 100), rel=1e-12)
    assert fitted_column.high == pytest.approx(quantile(odd, 1 - factor / 100), rel=1e-12)


def test_an_outlier_is_clipped_before_it_is_carried_into_an_empty_cell() -> None:
    values = [NAN, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 1000.0, NAN, NAN, 4.0]
    train = rows(y=values)
    learned = fitted(train, outliers={"enabled": True}, missing={"max_gap": 1}).preprocess
    high = learned.columns[0].high
    assert high is not None
    assert high < 100
    median = 4.0
    expected = [median, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, high, high, median, 4.0]
    assert learned.clean(train.values)[:, 0].tolist() == expected
    clipped = learned.clip(train.values)[:, 0]
    np.testing.assert_array_equal(clipped, [NAN, *expected[1:9], NAN, NAN, 4.0])


def test_range_and_scaler_come_from_the_clipped_values() -> None:
    values = [NAN, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 1000.0]
    fitted_column = column(rows(y=values), outliers={"enabled": True})
    assert (fitted_column.minimum, fitted_column.maximum) == (1.0, fitted_column.high)
    assert fitted_column.center + fitted_column.scale == fitted_column.high


@pytest.mark.parametrize("constant", [0.0, 10.0])
def test_each_scaler_is_its_formula_over_the_measured_values(odd: list[float], constant: float) -> None:
    measured = [v for v in odd if not math.isnan(v)]
    shifted = [v + constant for v in measured]
    expected = {
        "minmax": (min(shifted), max(shifted) - min(shifted)),
        "standard": (statistics.fmean(shifted), statistics.pstdev(shifted)),
        "robust": (statistics.median(shifted), quantile(shifted, 0.75) - quantile(shifted, 0.25)),
        "maxabs": (0.0, max(abs(v) for v in shifted)),
        "none": (0.0, 1.0),
    }
    for kind, (center, scale) in expected.items():
        fitted_column = column(rows(y=odd), scaler=kind, constant=constant)
        assert fitted_column.center == pytest.approx(center, rel=1e-12), kind
        assert fitted_column.scale == pytest.approx(scale, rel=1e-12), kind
        assert (fitted_column.minimum, fitted_column.maximum) == (min(measured), max(measured)), kind


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("share", [0.0, 0.1])
def test_sums_run_along_columns_however_the_rows_are_held_so_that_their_last_bits_stay(
    order: Any, share: float
) -> None:
    rng = np.random.default_rng(0)
    values = np.array(rng.normal(size=(1000, 5)) * 10, order=order)
    values[rng.random(values.shape) < share] = np.nan
    result = fitted(Rows(np.arange(1000, dtype=np.int64), values, tuple("abcde")), scaler="standard")
    for i, column in enumerate(result.preprocess.columns):
        alone = values[:, i].copy()
        assert (column.center, column.scale) == (float(np.nanmean(alone)), float(np.nanstd(alone)))


def test_maxabs_counts_the_negative_side() -> None:
    assert column(rows(y=[-5.0, 1.0, 2.0]), scaler="maxabs").scale == 5.0


@pytest.mark.parametrize("kind", ["minmax", "standard", "robust", "maxabs", "none"])
@pytest.mark.parametrize("value", [0.0, 0.1, 123.456, -1e9])
def test_a_constant_column_is_kept_with_a_usable_scale_and_a_warning(kind: str, value: float) -> None:
    train = rows(y=[float(v) for v in range(300)], x=[value] * 300)
    finished = fitted(train, scaler=kind)
    expected = abs(value) if kind == "maxabs" and value else 1.0
    assert finished.preprocess.columns[1].scale == expected
    assert finished.warnings == ("column 'x' is constant over train",)


def test_a_scale_no_larger_than_rounding_errors_becomes_one() -> None:
    train = rows(y=[0.0] * 8 + [1e-200, 1e-200, 1e-200, 3.0])
    assert column(train, scaler="robust").scale == 1.0
    assert column(rows(y=[0.0, 1e-200, 2e-200]), scaler="robust").scale == 1e-200


def test_a_column_with_too_many_empty_cells_is_dropped_with_its_share() -> None:
    train = rows(y=[1.0, 2, 3, 4], half=[1.0, NAN, NAN, 2], none=[NAN] * 4, quarter=[1.0, NAN, 3, 4])
    finished = fitted(train, missing={"drop_columns_above": 0.25})
    assert finished.preprocess.names == ("y", "quarter")
    assert finished.dropped == (
        ("half", "50% of its cells are empty in train (drop_columns_above = 0.25)"),
        ("none", "100% of its cells are empty in train (drop_columns_above = 0.25)"),
    )
    assert finished.warnings[0] == f"column 'half' was dropped: {finished.dropped[0][1]}"


def test_a_column_without_any_value_is_dropped_whatever_the_limit() -> None:
    finished = fitted(rows(y=[1.0, 2], x=[NAN, NAN]), missing={"drop_columns_above": 1.0})
    assert finished.preprocess.names == ("y",)


@pytest.mark.parametrize("scaler", ["minmax", "standard", "robust", "maxabs", "none"])
@pytest.mark.parametrize("method", ["iqr", "quantile"])
def test_all_columns_may_be_dropped(scaler: str, method: str) -> None:
    train = rows(y=[1.0, NAN, NAN], x=[NAN, 1.0, NAN])
    finished = fitted(train, scaler=scaler, outliers={"enabled": True, "method": method})
    assert finished.preprocess.columns == ()
    assert [name for name, _ in finished.dropped] == ["y", "x"]


def test_a_column_with_one_value_is_kept_where_the_limit_allows() -> None:
    kept = column(rows(x=[NAN, 5.0], y=[1.0, 2]), missing={"drop_columns_above": 0.5})
    assert (kept.median, kept.minimum, kept.maximum) == (5.0, 5.0, 5.0)


def test_a_row_that_is_absent_says_nothing_about_a_column() -> None:
    train = rows(y=[1.0, NAN, NAN, NAN, 2.0, 3.0], x=[1.0, NAN, NAN, NAN, NAN, 3.0])
    assert fitted(train, missing={"drop_columns_above": 0.34}).dropped == ()
    dropped = fitted(train, missing={"drop_columns_above": 0.3}).dropped
    assert dropped == (("x", "33% of its cells are empty in train (drop_columns_above = 0.3)"),)


def test_no_cell_is_filled_before_a_statistic() -> None:
    """Filled cells would pull the mean to the median and the deviation to zero."""
    values = [0.0, 10.0, NAN, NAN, NAN, NAN, NAN, NAN, 20.0, 30.0]
    learned = column(rows(y=values), scaler="standard", missing={"drop_columns_above": 1.0})
    assert (learned.center, learned.scale) == (15.0, statistics.pstdev([0.0, 10.0, 20.0, 30.0]))


@pytest.mark.parametrize(
    ("count", "cycles"),
    [
        (47, []),
        (48, ["minute_of_day"]),
        (335, ["minute_of_day"]),
        (336, ["minute_of_day", "day_of_week"]),
        (17_532, ["minute_of_day", "day_of_week", "day_of_year"]),
    ],
)
def test_a_cycle_is_a_feature_when_train_holds_it_twice(count: int, cycles: list[str]) -> None:
    train = Rows(START + HOUR * np.arange(count), np.arange(count, dtype=float)[:, None], ("y",))
    names = fitted(train).preprocess.calendar
    assert list(names) == [name for name in CALENDAR if name.rpartition("_")[0] in cycles]
    assert fitted(train, time_features=False).preprocess.calendar == ()


def test_fitting_does_not_change_its_rows(odd: list[float]) -> None:
    train = rows(y=odd)
    before = train.values.copy()
    fitted(train, outliers={"enabled": True}, constant=3.0)
    np.testing.assert_array_equal(train.values, before)


def test_fitted_statistics_survive_json(odd: list[float]) -> None:
    statistics_of_both = fitted(
        rows(y=odd, x=odd[::-1]), outliers={"enabled": True}, lags=[1, 2], constant=0.1
    ).preprocess
    for value in (statistics_of_both, statistics_of_both.for_targets(("x",))):
        assert FittedPreprocess.of(FittedRecord.model_validate_json(value.record().model_dump_json())) == value


@pytest.mark.parametrize(("count", "season"), [(48, 24), (50, 24), (10, 1), (300, 7)])
def test_the_seasonal_error_is_the_mean_distance_to_one_season_earlier(count: int, season: int) -> None:
    train = hourly(count).values[:, 0]
    expected = statistics.fmean(abs(float(train[i]) - float(train[i - season])) for i in range(season, count))
    assert seasonal_error(train, season) == pytest.approx(expected, rel=1e-12)


def test_the_seasonal_error_needs_two_seasons() -> None:
    assert seasonal_error(hourly(47).values[:, 0], 24) is None


def test_pairs_with_an_empty_cell_do_not_count_in_the_seasonal_error() -> None:
    train = np.array([1.0, 5.0, NAN, 7.0, 4.0, 5.0])
    assert seasonal_error(train, 2) == statistics.fmean([abs(7.0 - 5.0), abs(5.0 - 7.0)])
    assert seasonal_error(np.array([1.0, NAN, NAN, 2.0]), 2) is None
