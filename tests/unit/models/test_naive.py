"""The baselines against plain Python."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.support.families import blocks, recipe, task_on, window
from tests.support.raising import raises
from tests.support.series import hourly

from flts.contracts.errors import NotApplicable
from flts.contracts.ports import Silent
from flts.models.naive import Naive, SeasonalNaive

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


def test_seasonal_naive_needs_exactly_its_first_season() -> None:
    task = task_on(hourly(60), seasons=(7, 28))
    history = SeasonalNaive().history(task)
    assert (history.wanted, history.minimum) == (7, 7)


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
