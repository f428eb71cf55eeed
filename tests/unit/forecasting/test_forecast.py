"""The serving path: what it cuts, scales and refuses, and that forecasts keep the order of their origins."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from tests.support.families import task_on
from tests.support.raising import raises
from tests.support.series import hourly

from flts.contracts.errors import NotApplicable, TrainingFailed
from flts.forecasting import histories
from flts.forecasting.histories import Histories
from flts.forecasting.model import Model, evenly
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


@pytest.mark.parametrize("rows_given", [2, 4, 9])
def test_the_spread_is_the_mean_scaled_target_of_the_last_window_plus_a_hundredth(rows_given: int) -> None:
    rows = hourly(60)
    model, _, task = model_on(rows, History(9, 1))
    history = rows[-rows_given:]
    (spread,) = model.forecast(history.times[None], history.values[None]).spread
    for i, name in enumerate(TARGETS):
        whole = rows.select([name])[:, 0]
        low, high = float(whole.min()), float(whole.max())
        recent = [(value - low) / (high - low) for value in history.select([name])[-task.input_length :, 0]]
        assert spread[i] == pytest.approx((max(sum(recent) / len(recent), 0.0) + 0.01) * (high - low))


def test_the_spread_has_a_floor_for_histories_below_the_range_of_train() -> None:
    rows = hourly(60)
    model, _, task = model_on(rows, History(4, 4))
    deep = np.full((1, 4, 2), -1000.0)
    _, width = task.fitted.target_range
    np.testing.assert_allclose(model.forecast(rows.times[None, -4:], deep).spread[0], 0.01 * width)


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
    assert (window.future(3)[0] - rows.times[-1]).tolist() == [task.fitted.step * n for n in (1, 2, 3)]


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
def test_evenly_keeps_the_ends_and_the_order_and_returns_at_most_so_many(count: int) -> None:
    kept = evenly(range(1000, 1000 + count), 200)
    assert len(kept) == min(count, 200)
    assert (kept[0], kept[-1]) == (1000, 999 + count)
    gaps = {b - a for a, b in pairwise(kept)}
    assert all(gap > 0 for gap in gaps)
    assert max(gaps, default=1) - min(gaps, default=1) <= 1
