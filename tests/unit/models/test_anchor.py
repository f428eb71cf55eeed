"""The naive forecast that a network adds to: equal to a baseline, chosen on the validation windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.support.families import blocks, has_libraries, histories_at, recipe, task_on, use_one_thread
from tests.support.series import HOUR, hourly

from flts.contracts.ports import Silent
from flts.models.anchor import Anchor, best_anchor
from flts.models.base import Block, ForecastTask, Window
from flts.models.naive import Naive, SeasonalNaive
from flts.models.recurrent import GRU, LSTM, Recurrent
from flts.preprocess.rows import Rows, Values


def histories(rows: Rows, block: Block, task: ForecastTask) -> Window:
    """The windows of a block, as a request would send them."""
    return histories_at(rows, block.origins[:, None] + np.arange(-task.input_length, 0), task)


@pytest.mark.parametrize(("season", "baseline"), [(1, Naive()), (4, SeasonalNaive())])
@pytest.mark.parametrize("targets", [("load",), ("wind", "load")])
def test_the_anchor_of_a_season_equals_the_forecast_of_the_baseline(
    season: int, baseline: Naive, targets: tuple[str, ...]
) -> None:
    rows = hourly(120)
    task = task_on(rows, targets, input_length=9, horizon=6, seasons=(4,), lags=[1, 2])
    block, _ = blocks(rows, task)
    expected = baseline.load({}, task).predict(histories(rows, block, task))
    np.testing.assert_allclose(Anchor.of(season, task).forecast(block, task), expected, atol=1e-6)


def daily(noise: float) -> Rows:
    """A wave of 24 hours with this much noise per row."""
    times = HOUR * np.arange(400, dtype=np.int64)
    load = 10 * np.sin(2 * np.pi * np.arange(400) / 24) + np.random.default_rng(0).normal(0, noise, 400)
    return Rows(times, load[:, None], ("load",))


def wandering() -> Rows:
    """A random walk: no forecast is better than its last value."""
    walk = np.cumsum(np.random.default_rng(0).normal(size=400))
    return Rows(HOUR * np.arange(400, dtype=np.int64), walk[:, None], ("load",))


@pytest.mark.parametrize(
    ("rows", "input_length", "expected"),
    [(daily(0.1), 200, 24), (daily(0.1), 24, 24), (daily(0.1), 23, 1), (wandering(), 48, 1)],
    ids=["a long window", "a window of one season", "a window shorter than the season", "a random walk"],
)
def test_the_anchor_is_best_on_the_validation_windows_and_fits_in_a_window(
    rows: Rows, input_length: int, expected: int
) -> None:
    task = task_on(rows, input_length=input_length, horizon=6, seasons=(24, 168))
    _, validation = blocks(rows, task)
    assert best_anchor(validation, task).season == expected


def test_rows_before_the_validation_windows_do_not_influence_the_anchor() -> None:
    rows = daily(0.1)
    task = task_on(rows, input_length=48, horizon=6, seasons=(24,))
    _, validation = blocks(rows, task)
    first = int(validation.origins[0]) - task.input_length
    features = validation.features.copy()
    features[:first] = np.nan
    assert best_anchor(replace(validation, features=features), task).season == 24


def test_the_anchor_is_chosen_on_the_measured_cells() -> None:
    rows = daily(0.1)
    task = task_on(rows, input_length=48, horizon=6, seasons=(24,))
    _, validation = blocks(rows, task)
    apart = replace(validation, origins=validation.origins[::6])
    naive = Anchor.of(1, task).forecast(apart, task)
    chosen = []
    for cells in (naive[:, :5], np.full_like(naive[:, :5], np.nan)):  # five of six steps, as the last value has them
        targets = apart.targets.copy()
        targets[apart.origins[:, None] + np.arange(5)] = cells
        chosen.append(best_anchor(replace(apart, targets=targets), task).season)
    assert chosen == [1, 24]


@pytest.mark.skipif(not has_libraries("gru"), reason="needs the extra 'torch'")
@pytest.mark.parametrize("constant", [0.0, 3.0])
@pytest.mark.parametrize("family", [GRU, LSTM], ids=lambda family: family.name)
def test_an_untrained_network_forecasts_as_the_baseline_whatever_its_seed(family: Recurrent, constant: float) -> None:
    use_one_thread(family)
    rows = daily(0.1)
    task = task_on(rows, input_length=30, horizon=6, seasons=(24,), constant=constant)
    block, validation = blocks(rows, task)
    window = histories(rows, validation, task)
    expected: Values = SeasonalNaive().load({}, task).predict(window)
    for seed in (1, 2):
        one_tiny_step = recipe(family.name, epochs=1, learning_rate=1e-12, seed=seed)
        fit = family.fit(block, validation, task, one_tiny_step, Silent())
        np.testing.assert_allclose(family.load(fit.files, task).predict(window), expected, atol=1e-6)
