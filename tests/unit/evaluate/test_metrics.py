"""Every error against a few lines of plain Python."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from tests.support.experiments import small_experiment, small_spec
from tests.support.judging import off_by, truth_of, yardstick_of
from tests.support.raising import raises

from flts.contracts.canonical import sha256
from flts.contracts.errors import DataError
from flts.evaluate.metrics import Yardstick, by_origin, measure
from flts.promotion.judge import yardstick


def with_holes() -> tuple[np.ndarray, np.ndarray]:
    """Truth [40, 3, 2] with empty cells and one origin without any, and a forecast."""
    truth = truth_of(40, 3, 2)
    forecast = off_by(truth, 3.0)
    truth[3, 1, 0] = truth[7, :, 1] = truth[9] = np.nan
    return truth, forecast


def test_pooled_errors_are_those_of_a_plain_loop_over_all_cells_with_truth() -> None:
    truth, forecast = with_holes()
    errors = measure(truth, forecast, yardstick_of(2, width=40.0, season_error=4.0))
    pairs = [(f, t) for f, t in zip(forecast.ravel(), truth.ravel(), strict=True) if not math.isnan(t)]
    scaled = [(f - t) / 40.0 for f, t in pairs]
    assert errors.mse == pytest.approx(sum(e * e for e in scaled) / len(scaled), rel=1e-12)
    assert errors.mae == pytest.approx(sum(abs(e) for e in scaled) / len(scaled), rel=1e-12)
    assert errors.rmse == pytest.approx(math.sqrt(sum(e * e for e in scaled) / len(scaled)), rel=1e-12)
    assert errors.mase == pytest.approx(sum(abs(f - t) / 4.0 for f, t in pairs) / len(pairs), rel=1e-12)


def test_errors_in_units_are_those_of_a_plain_loop_over_each_target() -> None:
    truth, forecast = with_holes()
    found = measure(truth, forecast, yardstick_of(2, width=40.0))
    for index, target in enumerate(("y0", "y1")):
        errors = [
            f - t
            for f, t in zip(forecast[..., index].ravel(), truth[..., index].ravel(), strict=True)
            if not math.isnan(t)
        ]
        square = sum(e * e for e in errors) / len(errors)
        assert found.units[target] == pytest.approx(
            {"mse": square, "rmse": math.sqrt(square), "mae": sum(map(abs, errors)) / len(errors)}, rel=1e-12
        )


@pytest.mark.parametrize("unit", [1e-300, 1e30])
def test_errors_in_very_small_or_large_units_are_those_times_the_unit(unit: float) -> None:
    truth, forecast = with_holes()
    plain, scaled = (measure(truth * u, forecast * u, yardstick_of(2, width=40.0 * u)) for u in (1.0, unit))
    assert scaled.rmse == pytest.approx(plain.rmse)
    for target, errors in plain.units.items():
        for name in ("rmse", "mae"):
            assert scaled.units[target][name] == pytest.approx(errors[name] * unit, rel=1e-9, abs=0.0)


def test_cells_without_truth_are_not_scored_and_the_scored_ones_are_counted() -> None:
    truth, forecast = with_holes()
    empty = 1 + 3 + 6
    assert measure(truth, forecast, yardstick_of(2)).cells == truth.size - empty
    forecast[np.isnan(truth)] = 1e9
    assert measure(truth, forecast, yardstick_of(2)).mae < 1.0


def test_each_target_is_scaled_by_its_own_range() -> None:
    truth = np.zeros((5, 1, 2))
    forecast = np.tile([8.0, 6.0], (5, 1, 1))
    yardstick = Yardstick(("a", "b"), np.array([80.0, 2.0]), np.array([4.0, 1.0]))
    errors = measure(truth, forecast, yardstick)
    assert errors.mae == pytest.approx((0.1 + 3.0) / 2)
    assert errors.mse == pytest.approx((0.01 + 9.0) / 2)
    assert errors.mase == pytest.approx((2.0 + 6.0) / 2)
    sums = by_origin(truth, forecast, yardstick)
    assert (sums[:, 1] / sums[:, 0]).tolist() == pytest.approx([errors.mse] * 5)


def test_a_forecast_that_is_missing_where_there_is_truth_is_not_ignored() -> None:
    truth, forecast = with_holes()
    forecast[0, 0, 0] = np.nan
    errors = measure(truth, forecast, yardstick_of(2))
    assert errors.cells == truth.size - 10
    assert math.isnan(errors.rmse)
    assert math.isnan(errors.mae)


def test_a_target_without_any_truth_has_no_errors_in_units_and_does_not_hide_the_other() -> None:
    truth, forecast = with_holes()
    truth[..., 1] = np.nan
    assert set(measure(truth, forecast, yardstick_of(2)).units) == {"y0"}


def test_the_sums_of_an_origin_are_over_its_cells_with_truth_and_one_without_any_is_left_out() -> None:
    truth = np.array([[[1.0], [2.0]], [[np.nan], [np.nan]], [[1.0], [np.nan]]])
    sums = by_origin(truth, np.full(truth.shape, 5.0), yardstick_of(width=2.0))
    assert sums.tolist() == [[2.0, 4.0 + 2.25, 2.0 + 1.5], [1.0, 4.0, 2.0]]


def test_truth_without_a_single_value_is_refused() -> None:
    truth = np.full((4, 2, 1), np.nan)
    with raises(DataError, code="no-truth"):
        measure(truth, np.zeros((4, 2, 1)), yardstick_of())


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_windows_does_not_change_a_single_bit_of_any_error(seed: int) -> None:
    truth, forecast = with_holes()
    truth, forecast = truth * 1e6, forecast * np.geomspace(1e-6, 1e6, len(forecast))[:, None, None]
    order = np.random.default_rng(seed).permutation(len(truth))
    assert measure(truth[order], forecast[order], yardstick_of(2)) == measure(truth, forecast, yardstick_of(2))


@pytest.mark.parametrize("scaler", ["minmax", "standard", "robust", "maxabs", "none"])
def test_the_range_of_the_target_over_train_is_the_unit_of_the_composite_whatever_the_scaler(scaler: str) -> None:
    experiment, _ = small_experiment(small_spec(preprocess={"scaler": scaler, "constant": 3.0}))
    load = experiment.dataset.train.select(("load",))[:, 0]
    assert yardstick(experiment.dataset, experiment.task).width.tolist() == [max(load) - min(load)]


def test_mase_is_divided_by_the_mean_step_of_one_season_over_train() -> None:
    experiment, _ = small_experiment()
    load = experiment.dataset.train.select(("load",))[:, 0].tolist()
    steps = [abs(load[i] - load[i - 24]) for i in range(24, len(load))]
    scale = yardstick(experiment.dataset, experiment.task)
    assert scale.season_error is not None
    assert scale.season_error.tolist() == [pytest.approx(sum(steps) / len(steps), rel=1e-12)]
    assert scale.no_mase is None


def test_without_a_season_mase_is_divided_by_the_mean_step_from_row_to_row() -> None:
    experiment, _ = small_experiment(small_spec(task={"seasons": []}))
    load = experiment.dataset.train.select(("load",))[:, 0].tolist()
    steps = [abs(b - a) for a, b in itertools.pairwise(load)]
    scale = yardstick(experiment.dataset, experiment.task)
    assert scale.season_error is not None
    assert scale.season_error.tolist() == [pytest.approx(sum(steps) / len(steps), rel=1e-12)]


def test_mase_is_none_with_the_reason_where_train_is_shorter_than_two_seasons() -> None:
    experiment, _ = small_experiment(small_spec(task={"seasons": [130]}))
    scale = yardstick(experiment.dataset, experiment.task)
    assert scale.season_error is None
    assert scale.no_mase == "train has 240 rows, and MASE needs two seasons of 130 rows with measured targets"
    truth = truth_of()
    assert measure(truth, off_by(truth, 1.0), scale).mase is None


def test_mase_is_none_with_the_reason_where_the_seasonal_naive_forecast_makes_no_error_on_train() -> None:
    from tests.support.series import hourly

    rows = hourly(300)
    rows.values[:, 0] = np.tile(np.arange(24.0), 13)[:300]
    experiment, _ = small_experiment(rows=rows)
    scale = yardstick(experiment.dataset, experiment.task)
    assert scale.season_error is None
    assert scale.no_mase == "the seasonal naive forecast (season 24) makes no error on train"


def test_the_sums_over_the_origins_are_those_of_the_pooled_errors() -> None:
    truth, forecast = with_holes()
    errors, sums = measure(truth, forecast, yardstick_of(2)), by_origin(truth, forecast, yardstick_of(2))
    assert sums.shape == (39, 3)
    assert sums.sum(axis=0).tolist() == pytest.approx(
        [errors.cells, errors.mse * errors.cells, errors.mae * errors.cells]
    )


def test_measuring_changes_neither_truth_nor_forecast() -> None:
    truth, forecast = with_holes()
    before = sha256(truth.tobytes() + forecast.tobytes())
    measure(truth, forecast, yardstick_of(2))
    by_origin(truth, forecast, yardstick_of(2))
    assert sha256(truth.tobytes() + forecast.tobytes()) == before
