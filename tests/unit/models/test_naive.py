"""The baselines against plain Python."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.support.families import blocks, recipe, task_on, window
from tests.support.raising import raises
from tests.support.series import HOUR, hourly

from flts.contracts.errors import NotApplicable
from flts.contracts.ports import Silent
from flts.forecasting.histories import Histories
from flts.forecasting.model import Model
from flts.models.naive import Naive, SeasonalNaive, carried
from flts.preprocess.rows import Rows

TARGETS = ("wind", "load")


@pytest.mark.parametrize("horizon", [1, 3, 7])
def test_naive_repeats_the_last_value_over_any_horizon(horizon: int) -> None:
    rows = hourly(60)
    task = task_on(rows, TARGETS, horizon=horizon)
    scaled = task.fitted.scale_targets(rows.select(TARGETS))
    (forecast,) = Naive().load({}, task).predict(window(rows, task))
    np.testing.assert_array_equal(forecast, np.array([scaled[-1]] * horizon))


@pytest.mark.parametrize("horizon", [1, 4, 5, 6, 13])
@pytest.mark.parametrize("seasons", [(5,), (5, 30)])
def test_seasonal_naive_repeats_the_shortest_season_over_any_horizon(horizon: int, seasons: tuple[int, ...]) -> None:
    rows = hourly(60)
    task = task_on(rows, TARGETS, horizon=horizon, seasons=seasons)
    past = task.fitted.scale_targets(rows.select(TARGETS)).tolist()
    expected: list[list[float]] = []
    for _ in range(horizon):
        expected.append([*past, *expected][-5])
    (forecast,) = SeasonalNaive().load({}, task).predict(window(rows, task))
    np.testing.assert_array_equal(forecast, np.array(expected))


def test_seasonal_naive_needs_its_first_season_and_wants_three() -> None:
    task = task_on(hourly(60), seasons=(7, 28))
    history = SeasonalNaive().history(task)
    assert (history.wanted, history.minimum) == (21, 7)


@pytest.mark.parametrize("season", [1, 5, 8])
@pytest.mark.parametrize("rows", [5, 8, 23])
def test_a_cell_that_was_not_measured_gets_the_newest_measured_one_of_its_phase(rows: int, season: int) -> None:
    rng = np.random.default_rng(rows)
    values, measured = rng.normal(size=(4, rows, 2)), rng.random((4, rows, 2)) < 0.6
    found, known = carried(values, measured, season)
    for i, row, target in np.ndindex(values.shape):
        earlier = [k for k in range(row, -1, -season) if measured[i, k, target]]
        assert known[i, row, target] == bool(earlier)
        assert found[i, row, target] == values[i, [*earlier, row][0], target]


def test_a_baseline_repeats_measured_values_and_the_filled_one_where_no_season_holds_one() -> None:
    rows = hourly(60)
    task = task_on(rows, TARGETS, horizon=4, seasons=(4,))
    holes = rows[-12:].values.copy()
    holes[-2:, 0] = np.nan  # the newest season, of `load`
    holes[[3, 7, 11], 1] = np.nan  # one phase of `wind`, in every season
    history = Rows(rows.times[-12:], holes, rows.columns)
    (naive,) = Naive().load({}, task).predict(window(history, task))
    (seasonal,) = SeasonalNaive().load({}, task).predict(window(history, task))
    wind, load = task.fitted.scale_targets(history.select(TARGETS)).T
    filled = task.fitted.scale_targets(task.fitted.clean(holes)[:, task.fitted.target_index])
    np.testing.assert_array_equal(naive, np.array([[wind[10], load[9]]] * 4))
    np.testing.assert_array_equal(seasonal[:, 1], [*load[8:10], *load[6:8]])
    np.testing.assert_array_equal(seasonal[:, 0], [*wind[8:11], filled[11, 0]])


def test_a_periodic_series_with_missing_rows_is_forecast_as_the_complete_one() -> None:
    times = HOUR * np.arange(1500, dtype=np.int64)
    exact = 10 * np.sin(2 * np.pi * np.arange(1500) / 24)
    complete = Rows(times, exact[:, None], ("load",))
    holes = exact.copy()
    holes[np.random.default_rng(5).choice(1500, 12, replace=False)] = np.nan
    for family, bar in ((SeasonalNaive(), 1e-12), (Naive(), 20.0)):
        errors = []
        for rows in (complete, Rows(times, holes[:, None], ("load",))):
            task = task_on(rows, horizon=24, seasons=(24,))
            model = Model(family.load({}, task), task, family.history(task))
            origins = np.arange(200, 1476)
            forecasts = model.forecast_all(Histories(rows, origins)).mean[..., 0]
            truth = rows.values[origins[:, None] + np.arange(24), 0]
            errors.append(float(np.sqrt(np.nanmean((forecasts - truth) ** 2))))
        assert errors[0] < bar
        assert errors[1] == pytest.approx(errors[0], rel=0.01, abs=1e-12)


@pytest.mark.parametrize("method", ["history", "fit", "load"])
def test_seasonal_naive_is_not_applicable_without_a_season(method: str) -> None:
    rows = hourly(60)
    task = task_on(rows, seasons=())
    family = SeasonalNaive()
    calls: dict[str, Callable[[], object]] = {
        "history": lambda: family.history(task),
        "fit": lambda: family.fit(*blocks(rows, task), task, recipe("seasonal_naive"), Silent()),
        "load": lambda: family.load({}, task),
    }
    with raises(NotApplicable, code="no-season"):
        calls[method]()


@pytest.mark.parametrize("family", [Naive(), SeasonalNaive()], ids=lambda family: family.name)
def test_a_baseline_has_nothing_to_store(family: Naive) -> None:
    rows = hourly(60)
    task = task_on(rows, seasons=(7,))
    fit = family.fit(*blocks(rows, task), task, recipe(family.name), Silent())
    assert (fit.files, fit.chosen) == ({}, {"season": 7 if family.name == "seasonal_naive" else 1})
