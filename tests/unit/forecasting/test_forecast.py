"""The serving path: what it cuts, scales and refuses, and that forecasts keep the order of their origins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.support.families import task_on
from tests.support.raising import raises
from tests.support.series import hourly

from flts.contracts.errors import NotApplicable, TrainingFailed
from flts.forecasting import histories
from flts.forecasting.histories import Histories, one_per_stratum
from flts.forecasting.model import Model
from flts.models.base import ForecastTask, History, Window
from flts.preprocess.rows import Rows, Values

TARGETS = ("wind", "load")


class Last:
    """Forecasts the last value of each target, a tenth higher with each step, and remembers its windows."""

    def __init__(self, horizon: int, answer: float | None = None) -> None:
        self.horizon, self.answer = horizon, answer
        self.seen: list[Window] = []

    def predict(self, window: Window) -> Values:
        self.seen.append(window)
        steps = np.arange(1, self.horizon + 1)[None, :, None] / 10.0
        answer = window.targets[:, -1:] + steps
        return answer if self.answer is None else np.full_like(answer, self.answer)


def model_on(rows: Rows, history: History, answer: float | None = None) -> tuple[Model, Last, ForecastTask]:
    task = task_on(rows, TARGETS, input_length=4)
    predictor = Last(task.horizon, answer)
    return Model(predictor, task, history), predictor, task


def test_a_forecast_is_in_original_units() -> None:
    rows = hourly(60)
    model, _, task = model_on(rows, History(4, 4))
    forecast = model.forecast(rows.times[None], rows.values[None]).mean[0]
    minimum, width = task.fitted.target_range
    for step in range(task.horizon):
        last = rows.select(TARGETS)[-1]
        np.testing.assert_allclose(forecast[step], ((last - minimum) / width + (step + 1) / 10.0) * width + minimum)


@pytest.mark.parametrize(("wanted", "rows_kept"), [(1, 4), (4, 4), (9, 9)])
def test_a_history_is_cut_to_the_rows_that_model_and_interval_use(wanted: int, rows_kept: int) -> None:
    rows = hourly(60)
    model, predictor, _ = model_on(rows, History(wanted, 1))
    model.forecast(rows.times[None], rows.values[None])
    (window,) = predictor.seen
    assert model.history_rows == rows_kept
    np.testing.assert_array_equal(window.times[0], rows.times[-rows_kept:])


def test_a_model_receives_filled_values_and_the_times_of_the_rows_it_forecasts() -> None:
    rows = hourly(60)
    model, predictor, task = model_on(rows, History(4, 4))
    rows.values[-2, 0] = np.nan
    model.forecast(rows.times[None], rows.values[None])
    (window,) = predictor.seen
    assert window.cleaned[0, -2, 0] == rows.values[-3, 0]
    assert window.future(3)[0].tolist() == task.fitted.grid.after(rows.times[-1:], 3)[0].tolist()


def test_forecasts_keep_the_order_of_their_origins_whatever_the_length_of_their_histories(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(histories, "CHUNK", 3)
    rows = hourly(60)
    model, predictor, task = model_on(rows, History(20, 2))
    ends = [40, 2, 33, 7, 41, 42, 43, 44, 7, 19]
    forecast = model.forecast_all(Histories(rows, np.array(ends, dtype=np.int64)))
    _, width = task.fitted.target_range
    for i, end in enumerate(ends):
        np.testing.assert_allclose(forecast.mean[i, 0], rows.select(TARGETS)[end - 1] + 0.1 * width)
        alone = model.forecast(rows.times[None, :end], rows.values[None, :end])
        np.testing.assert_allclose(forecast.spread[i], alone.spread[0])
    assert {window.times.shape[1] for window in predictor.seen} == {20, 19, 7, 2}


@pytest.mark.parametrize("ends", [[9], [30, 9, 12]])
def test_one_origin_with_too_little_history_makes_the_model_not_applicable(ends: list[int]) -> None:
    rows = hourly(60)
    model, predictor, _ = model_on(rows, History(20, 10))
    with raises(NotApplicable, code="history-too-short", expected=10, found=9):
        model.forecast_all(Histories(rows, np.array(ends, dtype=np.int64)))
    assert predictor.seen == []


@pytest.mark.parametrize("answer", [float("nan"), float("inf"), float("-inf")])
def test_forecasts_that_are_not_finite_fail_with_their_number(answer: float) -> None:
    rows = hourly(60)
    model, _, task = model_on(rows, History(4, 4), answer)
    cells = 2 * task.horizon * task.targets
    with raises(TrainingFailed, code="forecasts-not-finite", found=cells, cells=cells):
        model.forecast_all(Histories(rows, np.array([30, 40], dtype=np.int64)))


def test_the_history_of_the_caller_is_not_changed() -> None:
    rows = hourly(60)
    model, _, _ = model_on(rows, History(4, 4))
    rows.values[-2, 0] = np.nan
    before = replace(rows, values=rows.values.copy())
    model.forecast(rows.times[None], rows.values[None])
    np.testing.assert_array_equal(rows.values, before.values)


@pytest.mark.parametrize("count", [1, 2, 199, 200, 201, 399, 400, 1234])
def test_one_origin_of_each_equal_part_is_taken_in_order_the_same_every_time(count: int) -> None:
    kept = one_per_stratum(np.arange(1000, 1000 + count), 200)
    assert len(kept) == min(count, 200)
    assert {*kept.tolist()} <= {*range(1000, 1000 + count)}
    edges = 1000 + np.arange(len(kept) + 1) * count // len(kept)
    assert (edges[:-1] <= kept).all()
    assert (kept < edges[1:]).all()
    np.testing.assert_array_equal(kept, one_per_stratum(np.arange(1000, 1000 + count), 200))


def test_origins_do_not_all_lie_at_one_hour_of_the_day() -> None:
    kept = one_per_stratum(np.arange(24 * 500), 500)
    assert len({*(kept % 24).tolist()}) == 24


def test_a_forecast_stays_within_the_bounds_and_one_that_is_not_finite_is_still_found() -> None:
    rows = hourly(60)
    model, predictor, task = model_on(rows, History(4, 4))
    bounded = replace(model, task=replace(task, bounds=((None, 40.0), (48.0, 49.0))))
    free, found = (m.forecast(rows.times[None], rows.values[None]).mean for m in (model, bounded))
    np.testing.assert_array_equal(found[..., 0], np.minimum(free[..., 0], 40.0))
    np.testing.assert_array_equal(found[..., 1], np.clip(free[..., 1], 48.0, 49.0))
    for answer in (float("-inf"), -1e200):
        predictor.answer = answer
        with raises(TrainingFailed, code="forecasts-not-finite"):
            bounded.forecast_all(Histories(rows, np.array([30], dtype=np.int64)))
