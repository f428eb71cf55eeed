"""The AUTO family: fitted once, then run over the history of a request, beside plain recursions."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.support.families import blocks, has_libraries, recipe, task_on, window
from tests.support.raising import raises
from tests.support.series import hourly

from flts.contracts.errors import DamagedObject, NotApplicable
from flts.contracts.ports import Silent
from flts.models.autoarima import Arima, AutoArima
from flts.models.autoets import AutoEts, Ets, phases, start
from flts.models.autotbats import AutoTbats, Season, Tbats, matrices
from flts.models.autotheta import AutoTheta, Theta
from flts.models.base import Block, ForecastTask
from flts.models.statistical import Statistical
from flts.preprocess.rows import Rows, Values

pytestmark = pytest.mark.skipif(not has_libraries("autoets"), reason="needs the extra 'stats'")

FAMILIES: list[Statistical[Any, Any]] = [AutoArima(), AutoEts(), AutoTbats(), AutoTheta()]
ONE_SEASON = pytest.mark.parametrize("family", [AutoArima(), AutoEts(), AutoTheta()], ids=lambda family: family.name)
EACH = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def prepared(
    seasons: tuple[int, ...] = (6,), rows: int = 120, horizon: int = 3
) -> tuple[Rows, ForecastTask, Block, Block]:
    train = hourly(rows)
    task = task_on(train, ("wind", "load"), input_length=4, horizon=horizon, seasons=seasons)
    return train, task, *blocks(train, task)


def wave(rows: int, season: int = 6) -> Values:
    """A level of 5, a season of `season` rows that adds up to zero, and some noise."""
    shape = np.sin(2 * np.pi * np.arange(rows) / season) + 0.5 * np.cos(4 * np.pi * np.arange(rows) / season)
    noise: Values = 5 + shape + np.random.default_rng(1).normal(0, 0.2, rows)
    return noise


@EACH
def test_what_is_stored_is_what_was_chosen_and_gives_the_same_predictor(family: Statistical[Any, Any]) -> None:
    train, task, block, validation = prepared()
    fit = family.fit(block, validation, task, recipe(family.name), Silent())
    assert json.loads(fit.files["model.json"]) == fit.chosen["fits"]
    assert len(fit.chosen["fits"]) == task.targets
    history = train[-family.history(task).wanted :]
    forecasts = family.load(fit.files, task).predict(window(history, task))[0]
    low, width = task.fitted.target_range
    for target, stored in enumerate(fit.chosen["fits"]):
        own = history.select(task.fitted.targets)[:, target] / width[target]
        alone = family.forward(family.stored.model_validate(stored), own, task.horizon) - low[target] / width[target]
        np.testing.assert_allclose(forecasts[:, target], alone, rtol=1e-9)


@EACH
def test_a_fit_sees_no_row_after_its_block_but_to_choose(family: Statistical[Any, Any]) -> None:
    _, task, block, validation = prepared()
    later = validation.targets.copy()
    later[len(block.targets) :] *= 1 + 1e-9  # too little to choose otherwise, enough to see
    fits = [
        family.fit(block, part, task, recipe(family.name), Silent()).chosen
        for part in (validation, replace(validation, targets=later))
    ]
    assert fits[0] == fits[1]


@EACH
def test_a_target_that_is_constant_goes_on_as_it_ends(family: Statistical[Any, Any]) -> None:
    train, task, block, validation = prepared()
    flat, tail = block.targets.copy(), validation.targets.copy()
    flat[:, 1] = tail[:, 1] = 0.25
    fit = family.fit(
        replace(block, targets=flat), replace(validation, targets=tail), task, recipe(family.name), Silent()
    )
    assert fit.chosen["fits"][1] is None
    history = window(train[-60:], task)
    forecast = family.load(fit.files, task).predict(history)
    np.testing.assert_allclose(forecast[0, :, 1], history.targets[0, -1, 1])


@EACH
def test_a_history_that_is_constant_is_continued(family: Statistical[Any, Any]) -> None:
    train, task, block, validation = prepared()
    fit = family.fit(block, validation, task, recipe(family.name), Silent())
    history = window(replace(train, values=np.full_like(train.values, 50.0))[-60:], task)
    np.testing.assert_allclose(family.load(fit.files, task).predict(history)[0], history.targets[0, -3:], rtol=1e-12)


@EACH
def test_a_season_that_is_too_long_is_not_applicable_and_says_how_long_one_is(
    family: Statistical[Any, Any],
) -> None:
    _, task, block, validation = prepared()
    longer = replace(task, seasons=(family.longest + 1,))
    with raises(NotApplicable, code="season-too-long", expected=family.longest, found=family.longest + 1):
        family.fit(block, validation, longer, recipe(family.name), Silent())


@ONE_SEASON
@pytest.mark.parametrize(("seasons", "needed"), [((), 10), ((6, 40), 18)])
def test_it_needs_three_of_the_shortest_season_before_the_validation_windows(
    family: Statistical[Any, Any], seasons: tuple[int, ...], needed: int
) -> None:
    _, task, block, validation = prepared(seasons)
    short = Block(block.times[: needed - 1], block.features[: needed - 1], block.targets[: needed - 1], block.origins)
    with raises(NotApplicable, code="history-too-short", expected=needed, found=needed - 1):
        family.fit(short, validation, task, recipe(family.name), Silent())


@EACH
@pytest.mark.parametrize("change", [{"season": 10**6}, {"unknown": 1}, None], ids=["season", "key", "one target"])
def test_parameters_that_no_fit_stores_are_refused(
    family: Statistical[Any, Any], change: dict[str, Any] | None
) -> None:
    _, task, block, validation = prepared()
    stored = family.fit(block, validation, task, recipe(family.name), Silent()).chosen["fits"]
    changed = stored[:1] if change is None else [stored[0], {**stored[1], **change}]
    with raises(DamagedObject, code="options-unusual"):
        family.load({"model.json": json.dumps(changed).encode()}, task)


@pytest.mark.parametrize("season", [4, 5, 24])
def test_phases_are_found_exactly_where_nothing_else_is_there(season: int) -> None:
    shape = np.random.default_rng(2).normal(size=season)
    shape -= shape.mean()
    history = np.resize(shape, 2 * season + 1)
    np.testing.assert_allclose(phases(history + 3, season, multiplied=False), shape, atol=1e-12)
    factors = np.exp(0.1 * shape) / np.exp(0.1 * shape).mean()
    np.testing.assert_allclose(phases(7 * np.resize(factors, 2 * season + 1), season, multiplied=True), factors)


def test_a_line_with_a_season_starts_on_the_line() -> None:
    shape = np.array([1.0, -2.0, 0.0, 1.0])
    history = 10 + 0.5 * np.arange(1.0, 41) + np.resize(shape, 40)
    fitted = Ets(components="AAAN", season=4, alpha=0.5, beta=0.1, gamma=0.1, phi=None, floor=None)
    np.testing.assert_allclose(start(fitted, history), [10, 0.5, *shape[::-1]], atol=1e-9)


def test_ets_is_the_recursion_of_level_and_season() -> None:
    history, alpha, gamma = wave(80), 0.3, 0.2
    fitted = Ets(components="ANAN", season=6, alpha=alpha, beta=None, gamma=gamma, phi=None, floor=None)
    level, *states = start(fitted, history)
    season = states[::-1]
    for row, value in enumerate(history):
        error = value - level - season[row % 6]
        level += alpha * error
        season[row % 6] += gamma * error
    expected = [level + season[(80 + step) % 6] for step in range(9)]
    np.testing.assert_allclose(AutoEts().forward(fitted, history, 9), expected, rtol=1e-9)


def test_a_model_that_multiplies_is_shown_no_value_below_its_floor() -> None:
    history = wave(80)
    low = history.copy()
    low[[10, 40]] = -3.0
    fitted = Ets(components="MNMN", season=6, alpha=0.3, beta=None, gamma=0.1, phi=None, floor=1.0)
    floored = np.maximum(low, 1.0)
    np.testing.assert_array_equal(AutoEts().forward(fitted, low, 3), AutoEts().forward(fitted, floored, 3))
    theta = Theta(kind="STM", decomposition="multiplicative", season=6, alpha=0.5, theta=2.0, floor=1.0)
    np.testing.assert_array_equal(AutoTheta().forward(theta, low, 3), AutoTheta().forward(theta, floored, 3))


def test_theta_without_a_season_is_half_a_line_and_half_its_smoothed_bend() -> None:
    history, alpha = 5 + np.cumsum(np.random.default_rng(5).normal(0.1, 1, 60)), 0.4
    fitted = Theta(kind="STM", decomposition="additive", season=1, alpha=alpha, theta=2.0, floor=None)
    level = history[:4].mean()
    for value in history:
        level += alpha * (value - level)
    slope = np.polyfit(np.arange(60), history, 1)[0]
    # Hyndman and Billah (2003): simple exponential smoothing with half of the slope as its drift
    drift = slope / 2 * (np.arange(4) + (1 - (1 - alpha) ** 60) / alpha)
    np.testing.assert_allclose(AutoTheta().forward(fitted, history, 4), level + drift, rtol=1e-9)


@pytest.mark.parametrize(
    ("order", "seasonal", "coefficients", "constant"),
    [
        ([1, 0, 0], [0, 0, 0], [0.6, 5.0], "intercept"),
        ([1, 0, 1], [0, 1, 0], [0.6, 0.3], "none"),
        ([0, 1, 0], [0, 0, 0], [0.25], "drift"),
        ([0, 0, 0], [1, 1, 0], [-0.4, 0.02], "drift"),
    ],
)
def test_arima_is_the_recursion_of_values_and_errors(
    order: list[int], seasonal: list[int], coefficients: list[float], constant: Any
) -> None:
    history, (p, d, q), (seasonal_p, seasonal_d, _) = wave(90), order, seasonal
    fitted = Arima(order=order, seasonal=seasonal, season=6, coefficients=coefficients, constant=constant)
    value = coefficients[-1] if constant != "none" else 0.0
    line = value * np.arange(1, 100) if constant == "drift" else np.full(99, value)
    values = [*(history - line[:90])]
    ar, ma = (coefficients[0] if p else 0.0), (coefficients[p] if q else 0.0)
    whole = coefficients[p + q] if seasonal_p else 0.0
    lag = 6 if seasonal_d else 1
    differenced = [values[i] - values[i - lag] if d or seasonal_d else values[i] for i in range(lag, 90)]
    errors = [0.0] * len(differenced)
    for i in range(6, len(differenced)):
        errors[i] = differenced[i] - ar * differenced[i - 1] - whole * differenced[i - 6] - ma * errors[i - 1]
    for step in range(9):
        differenced.append(ar * differenced[-1] + whole * differenced[-6] + (ma * errors[-1] if not step else 0.0))
        values.append(differenced[-1] + (values[-lag] if d or seasonal_d else 0.0))
    expected = np.array(values[90:]) + line[90:]
    np.testing.assert_allclose(AutoArima().forward(fitted, history, 9), expected, rtol=1e-5)


def test_orders_stay_within_the_spec() -> None:
    _, task, block, validation = prepared()
    narrow = recipe("autoarima", max_p=1, max_q=0, max_seasonal_p=0, max_seasonal_q=0)
    for fit in AutoArima().fit(block, validation, task, narrow, Silent()).chosen["fits"]:
        assert fit["order"][0] <= 1
        assert [fit["order"][2], fit["seasonal"][0], fit["seasonal"][2]] == [0, 0, 0]


TBATS = Tbats(
    box_cox=0.5,
    alpha=0.3,
    beta=0.05,
    phi=0.9,
    seasons=[Season(rows=6, harmonics=2, gamma=[0.01, 0.02]), Season(rows=10, harmonics=1, gamma=[0.03, -0.01])],
    ar=[0.4, 0.1],
    ma=[0.2],
    floor=1.0,
)


def test_the_matrices_of_tbats_are_those_of_the_library() -> None:
    from statsforecast import tbats

    w, moved, g = matrices(TBATS)
    counts, ar, ma = np.array([2, 1]), np.array(TBATS.ar), np.array(TBATS.ma)
    expected_g, gamma = tbats.makeTBATSGMatrix(
        counts, 0.3, 1, 0.05, np.array([0.01, 0.03]), np.array([0.02, -0.01]), 2, 1, 6
    )
    np.testing.assert_allclose(w, tbats.makeTBATSWMatrix(0.9, counts, ar, ma, 6)[0])
    np.testing.assert_allclose(g, expected_g[:, 0])
    made = tbats.makeTBATSFMatrix(0.9, 6, 0.3, 0.05, ar, ma, gamma, np.array([6, 10]), counts)
    np.testing.assert_allclose(moved, made, atol=1e-12)


def test_tbats_is_its_recursion_from_the_state_that_explains_the_history_best() -> None:
    history = wave(43)
    values = 2 * (np.sqrt(history[3:]) - 1)  # four whole seasons of 10 rows
    level = values[:6].mean()
    w, moved, g = matrices(TBATS)

    def run(state: Values) -> tuple[list[float], Values]:
        errors = []
        for value in values - level:
            errors.append(float(value - w @ state))
            state = moved @ state + g * errors[-1]
        return errors, state

    at_zero, free = np.array(run(np.zeros(len(w)))[0]), len(w) - 3
    effects = np.stack([at_zero - run(np.eye(len(w))[i])[0] for i in range(free)], axis=1)
    start = np.linalg.solve(effects.T @ effects + 0.01 * np.eye(free), effects.T @ at_zero)
    _, state = run(np.concatenate([start, np.zeros(3)]))
    expected = []
    for _ in range(9):
        expected.append((0.5 * (w @ state + level) + 1) ** 2)
        state = moved @ state
    np.testing.assert_allclose(AutoTbats().forward(TBATS, history, 9), expected, rtol=1e-9)


def test_tbats_has_all_seasons_that_a_history_holds_twice() -> None:
    _, task, block, validation = prepared((6, 10))
    (first, _) = AutoTbats().fit(block, validation, task, recipe("autotbats"), Silent()).chosen["fits"]
    assert [season["rows"] for season in first["seasons"]] == [6, 10]
    assert AutoTbats().seasons(replace(task, seasons=(7, 365, 1000))) == (7, 365)
    assert AutoTbats().history(replace(task, seasons=(7, 365))).minimum == 365


def test_tbats_needs_a_season_and_two_of_the_longest() -> None:
    _, task, block, validation = prepared((6, 60))
    with raises(NotApplicable, code="history-too-short", expected=120, found=len(block.targets)):
        AutoTbats().fit(block, validation, task, recipe("autotbats"), Silent())
    with raises(NotApplicable, code="no-season"):
        AutoTbats().fit(block, validation, replace(task, seasons=()), recipe("autotbats"), Silent())
