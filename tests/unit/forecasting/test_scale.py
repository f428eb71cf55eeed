"""The scale of the errors: its value by hand, its choice by the interval score, and what it does not depend on."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from tests.support.families import fitted_family, recipe, task_on
from tests.support.series import hourly

from flts.contracts.ports import Silent
from flts.contracts.records.model import Scale
from flts.forecasting.bundle import assemble
from flts.forecasting.histories import Histories
from flts.forecasting.scale import choose, offered, spread
from flts.models.base import ForecastTask, Window
from flts.models.registry import CANDIDATES
from flts.preprocess.rows import Rows, Values
from flts.train.fitting import fit_model

ROWS = hourly(60)


def window(values: Values) -> tuple[Window, ForecastTask]:
    """Two windows of six rows of which the last four count; values [rows] of the first target."""
    task = task_on(ROWS, ("load",), input_length=4)
    raw = ROWS.values[None, -6:].repeat(2, axis=0)
    raw[0, :, 0] = values
    return Window(ROWS.times[None, -6:].repeat(2, axis=0), task.fitted.clean(raw), ~np.isnan(raw), task.fitted), task


def by_hand(scale: Scale, values: Values) -> float:
    found, task = window(values)
    result = spread(scale, found, task)
    assert result.shape == (2, 1)
    return float(result[0, 0])


WIDTH = float(task_on(ROWS, ("load",)).fitted.target_range[1][0])
LOW = float(task_on(ROWS, ("load",)).fitted.target_range[0][0])
VALUES = np.array([99.0, 98.0, 50.0, 53.0, 47.0, 48.0])
EMPTY = np.array([99.0, 98.0, 50.0, np.nan, 47.0, 48.0])


def test_a_constant_scale_is_the_range_over_train() -> None:
    assert by_hand("constant", VALUES) == WIDTH


def test_a_change_is_the_mean_difference_of_measured_neighbours() -> None:
    differences = [abs(b - a) for a, b in pairwise(VALUES[-4:])]
    assert by_hand("change", VALUES) == pytest.approx(sum(differences) / 3)
    assert by_hand("change", EMPTY) == pytest.approx(1.0)


def test_a_change_has_a_floor_and_without_neighbours_is_the_range() -> None:
    assert by_hand("change", np.full(6, 50.0)) == pytest.approx(0.01 * WIDTH)
    assert by_hand("change", np.array([1.0, 2.0, np.nan, 50.0, np.nan, 48.0])) == WIDTH


def test_a_level_is_the_mean_of_the_measured_cells_and_a_hundredth_of_the_range() -> None:
    assert by_hand("level", VALUES) == pytest.approx(198.0 / 4 + 0.01 * WIDTH)
    assert by_hand("level", EMPTY) == pytest.approx(145.0 / 3 + 0.01 * WIDTH)
    assert by_hand("level", -VALUES) == pytest.approx(0.01 * WIDTH)
    assert by_hand("level", np.full(6, np.nan)) == WIDTH


def test_bundles_of_version_1_keep_the_filled_level_above_the_minimum_of_train() -> None:
    filled = np.array([50.0, 50.0, 47.0, 48.0])
    expected = (max(float(np.mean((filled - LOW) / WIDTH)), 0.0) + 0.01) * WIDTH
    assert by_hand("level-above-minimum", EMPTY) == pytest.approx(expected)


def test_a_level_is_offered_only_where_no_target_was_ever_negative() -> None:
    positive = np.array([[0.0, 2.0], [np.nan, 3.0]])
    assert offered(positive) == ("constant", "change", "level")
    assert offered(positive - [0.0, 2.5]) == ("constant", "change")


def test_the_scale_with_the_best_interval_score_on_the_second_half_is_chosen() -> None:
    rng = np.random.default_rng(5)
    true = rng.uniform(1.0, 9.0, (400, 1))
    truth = true[:, None] * rng.normal(size=(400, 3, 1))
    mean, width = np.zeros_like(truth), np.array([50.0])
    spreads: dict[Scale, Values] = {"constant": np.full((400, 1), 50.0), "change": true, "level": true[::-1]}
    assert choose(truth, mean, spreads, width) == "change"
    # of the first half only the offsets are taken: errors there cannot make another scale win
    assert choose(truth, mean, {**spreads, "change": true[::-1]}, width) == "constant"


def test_on_a_tie_the_first_scale_stays() -> None:
    truth = np.random.default_rng(5).normal(size=(60, 2, 1))
    spreads: dict[Scale, Values] = {"constant": np.full((60, 1), 3.0), "change": np.full((60, 1), 3.0)}
    assert choose(truth, np.zeros_like(truth), spreads, np.ones(1)) == "constant"


def coverage(sign: float, shift: float) -> tuple[str, float, Values]:
    """Scale, coverage and mean of a ridge model on a series whose noise grows and falls, changed by sign and shift."""
    rng = np.random.default_rng(2)
    count = 700
    size = 0.5 + (np.arange(count) // 60 % 3)
    raw = 5 * np.sin(2 * np.pi * np.arange(count) / 24) + size * rng.normal(size=count)
    rows = Rows(hourly(count).times, (sign * raw + shift)[:, None], ("load",))
    train = rows[:500]
    task = task_on(train, time_features=False)
    made = fit_model(CANDIDATES["ridge"], train, task, recipe("ridge"), 0.3, Silent())
    ends = np.arange(500, count - task.horizon)
    answers = assemble("a digest", made.manifest, made.files).forecast(Histories(rows, ends))
    truth = rows.values[ends[:, None] + np.arange(task.horizon)]
    lower, upper = answers.interval(0.8)
    inside = float(((lower <= truth) & (truth <= upper)).mean())
    return made.manifest.intervals.scale, inside, sign * (answers.mean - shift)


def test_a_series_its_negative_and_a_shifted_one_are_covered_alike() -> None:
    scale, inside, mean = coverage(1.0, 0.0)
    assert scale == "change"
    for sign, shift in ((-1.0, 0.0), (1.0, 1000.0), (-1.0, -1000.0)):
        other, found, same = coverage(sign, shift)
        assert other == scale
        assert found == pytest.approx(inside, abs=2e-3)
        np.testing.assert_allclose(same, mean, atol=1e-2)


def test_the_scale_of_a_bundle_is_that_of_its_manifest() -> None:
    fitted = fitted_family("ridge")
    intervals = fitted.result.manifest.intervals.model_copy(update={"scale": "level-above-minimum"})
    manifest = fitted.result.manifest.model_copy(update={"intervals": intervals})
    bundle = assemble("a digest", manifest, fitted.result.files)
    histories = fitted.histories(2)
    expected = bundle.model.spread_all(histories, "level-above-minimum")
    np.testing.assert_array_equal(bundle.forecast(histories).spread, expected)
    assert (replace(bundle.model, scale="constant").forecast_all(histories).spread != expected).any()
