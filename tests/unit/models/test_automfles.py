"""AutoMFLES: what a fit chooses, on which rows, and what a request fits."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.support.families import blocks, has_libraries, recipe, task_on, window
from tests.support.raising import raises
from tests.support.series import HOUR, hourly

from flts.contracts.errors import DamagedObject, NotApplicable
from flts.contracts.ports import Silent
from flts.forecasting.histories import Histories
from flts.forecasting.model import Model
from flts.models.automfles import AutoMfles
from flts.models.base import Block, ForecastTask
from flts.preprocess.rows import Rows

pytestmark = pytest.mark.skipif(not has_libraries("automfles"), reason="needs the extra 'stats'")


def prepared(
    seasons: tuple[int, ...] = (12,), rows: int = 120, horizon: int = 3
) -> tuple[Rows, ForecastTask, Block, Block]:
    train = hourly(rows)
    task = task_on(train, ("wind", "load"), input_length=4, horizon=horizon, seasons=seasons)
    return train, task, *blocks(train, task)


@pytest.mark.parametrize("seasons", [(), (12,), (12, 36)])
def test_a_forecast_is_the_mean_of_two_fits_to_four_of_the_longest_season(seasons: tuple[int, ...]) -> None:
    from statsforecast.mfles import MFLES

    train, task, block, validation = prepared(seasons, rows=200)
    family = AutoMfles()
    assert family.history(task).wanted == (4 * seasons[-1] if seasons else 100)
    fit = family.fit(block, validation, task, recipe("automfles"), Silent())
    history = train[-family.history(task).wanted :]
    forecasts = family.load(fit.files, task).predict(window(history, task))[0]
    for i, chosen in enumerate(fit.chosen["seasons"]):
        assert chosen == list(seasons[: len(chosen)])
        both = []
        for level in ({"smoother": True}, {"smoother": False, "ma": 3}):
            plain = MFLES(verbose=0)
            scaled = task.fitted.scale_targets(history.select(task.fitted.targets))[:, i].copy()
            plain.fit(
                scaled,
                seasonal_period=chosen or None,
                multiplicative=False,
                cov_threshold=-1,
                changepoints=False,
                **level,
            )
            both.append(plain.predict(task.horizon))
        np.testing.assert_allclose(forecasts[:, i], np.mean(both, axis=0), rtol=1e-12)


def series(kind: str, rows: int = 700) -> np.ndarray[Any, Any]:
    """Two targets, scaled: a wave of 12 rows with one of 60, and one that has none, one of 12 rows, or both."""
    time, noise = np.arange(rows), np.random.default_rng(3).normal(0, 0.02, rows)
    short, long = np.sin(2 * np.pi * time / 12), np.sin(2 * np.pi * time / 60 + 1)
    walk = np.cumsum(np.random.default_rng(4).normal(0, 0.1, rows))
    wanted = {"none": walk, "short": short, "both": short + long}[kind]
    return np.stack([0.1 * (short + long), 0.1 * wanted], axis=1) + noise[:, None]


@pytest.mark.parametrize(("kind", "expected"), [("none", []), ("both", [12, 60])])
def test_the_validation_windows_choose_the_seasons_of_each_target(kind: str, expected: list[int]) -> None:
    _, task, block, validation = prepared((12, 60), rows=700)
    values = series(kind)
    known = (replace(block, targets=values[: len(block.targets)]), replace(validation, targets=values))
    fit = AutoMfles().fit(*known, task, recipe("automfles"), Silent())
    assert fit.chosen == {"seasons": [[12, 60], expected]}
    assert json.loads(fit.files["model.json"]) == fit.chosen


def test_all_seasons_count_unless_fewer_are_clearly_better() -> None:
    _, task, block, validation = prepared((12, 60), rows=700)
    values = series("short")
    known = (replace(block, targets=values[: len(block.targets)]), replace(validation, targets=values))
    assert AutoMfles().fit(*known, task, recipe("automfles"), Silent()).chosen["seasons"][1] in ([12], [12, 60])


def test_a_season_that_a_history_does_not_hold_twice_is_left_out() -> None:
    train, task, _, _ = prepared((12, 36), rows=200)
    family, files = AutoMfles(), {"model.json": json.dumps({"seasons": [[12, 36]] * 2}).encode()}
    short = window(train[-71:], task)
    without = family.load({"model.json": json.dumps({"seasons": [[12]] * 2}).encode()}, task)
    np.testing.assert_array_equal(family.load(files, task).predict(short), without.predict(short))


@pytest.mark.parametrize("seasons", [(), (12,)])
def test_a_bundle_of_version_2_fits_its_configuration_as_it_was_judged(seasons: tuple[int, ...]) -> None:
    from statsforecast.mfles import MFLES

    train, task, _, _ = prepared(seasons)
    stored = (
        {"seasonality_weights": True, "smoother": False, "ma": 6, "seasonal_period": [12], "multiplicative": False}
        if seasons
        else {"smoother": True, "cov_threshold": -1, "max_rounds": 5, "multiplicative": False}
    )
    predictor = AutoMfles().load({"model.json": json.dumps([stored, stored]).encode()}, task)
    history = train[-24:]
    forecasts = predictor.predict(window(history, task))[0]
    for i in range(2):
        plain = MFLES(verbose=0)
        plain.fit(task.fitted.scale_targets(history.select(task.fitted.targets))[:, i].copy(), **stored)
        np.testing.assert_allclose(forecasts[:, i], plain.predict(task.horizon), rtol=1e-12)


@pytest.mark.parametrize("row", [-2, -20], ids=["one season later", "one season earlier"])
def test_a_request_replaces_filled_cells_by_those_of_another_season(row: int) -> None:
    train, task, block, validation = prepared()
    family = AutoMfles()
    fit = family.fit(block, validation, task, recipe("automfles"), Silent())
    predictor = family.load(fit.files, task)
    recent = train[-48:].values.copy()
    recent[:36] = np.tile(recent[36:], (3, 1))
    history = replace(train[-48:], values=recent)
    holes = replace(history, values=recent.copy())
    holes.values[row] = np.nan
    periodic, mended = (predictor.predict(window(rows, task)) for rows in (history, holes))
    np.testing.assert_array_equal(mended, periodic)


def test_a_periodic_series_with_missing_rows_is_forecast_as_the_complete_one() -> None:
    exact = 10 * np.sin(2 * np.pi * np.arange(600) / 24)[:, None]
    holes = exact.copy()
    holes[np.random.default_rng(5).choice(600, 12, replace=False)] = np.nan
    family, errors = AutoMfles(), []
    for values in (exact, holes):
        rows = Rows(HOUR * np.arange(600, dtype=np.int64), values, ("load",))
        task = task_on(rows, input_length=24, horizon=6, seasons=(24,))
        block, validation = blocks(rows, task)
        fit = family.fit(block, validation, task, recipe("automfles"), Silent())
        model = Model(family.load(fit.files, task), task, family.history(task))
        origins = np.arange(100, 594, 19)
        forecasts = model.forecast_all(Histories(rows, origins)).mean[..., 0]
        errors.append(float(np.nanmean((forecasts - exact[origins[:, None] + np.arange(6), 0]) ** 2)))
    assert errors[1] == pytest.approx(errors[0], rel=1e-6)


@pytest.mark.parametrize(("seasons", "needed"), [((), 5), ((12,), 24), ((12, 84), 24)])
def test_it_needs_two_first_seasons_or_five_rows(seasons: tuple[int, ...], needed: int) -> None:
    _, task, _, _ = prepared()
    assert AutoMfles().history(replace(task, seasons=seasons)).minimum == needed


@pytest.mark.parametrize(("seasons", "needed"), [((), 5), ((12,), 24)])
def test_it_is_not_applicable_with_too_few_rows_before_the_validation_windows(
    seasons: tuple[int, ...], needed: int
) -> None:
    _, task, block, validation = prepared(seasons)
    short = Block(block.times[: needed - 1], block.features[: needed - 1], block.targets[: needed - 1], block.origins)
    with raises(NotApplicable, code="history-too-short", expected=needed, found=needed - 1):
        AutoMfles().fit(short, validation, task, recipe("automfles"), Silent())


def test_a_horizon_as_long_as_the_season_leaves_enough_rows_to_choose_on() -> None:
    train, task, block, validation = prepared(seasons=(12,), horizon=12)
    family = AutoMfles()
    fit = family.fit(block, validation, task, recipe("automfles"), Silent())
    assert np.isfinite(family.load(fit.files, task).predict(window(train[-24:], task))).all()


def test_a_constant_history_is_continued() -> None:
    train, task, block, validation = prepared()
    family = AutoMfles()
    fit = family.fit(block, validation, task, recipe("automfles"), Silent())
    flat = replace(train, values=np.full_like(train.values, 50.0))[-24:]
    model = Model(family.load(fit.files, task), task, family.history(task))
    answer = model.forecast(flat.times[None], flat.values[None]).mean
    np.testing.assert_allclose(answer, 50.0, rtol=1e-12)


def test_choosing_on_constant_rows_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    _, task, block, validation = prepared()
    flat, tail = (replace(part, targets=np.full_like(part.targets, 0.25)) for part in (block, validation))
    fit = AutoMfles().fit(flat, tail, task, recipe("automfles"), Silent())
    assert fit.chosen == {"seasons": [[12], [12]]}
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "stored",
    [
        {"seasons": [[12]]},
        {"seasons": [[12], [7]]},
        {"seasons": [[12], [12, 10**9]]},
        {"seasons": 12},
        {},
        [{"smoother": True, "cov_threshold": -1, "max_rounds": 10**12, "multiplicative": False}],
    ],
    ids=str,
)
def test_what_no_fit_chooses_is_refused(stored: object) -> None:
    _, task, _, _ = prepared()
    with raises(DamagedObject, code="options-unusual"):
        AutoMfles().load({"model.json": json.dumps(stored).encode()}, task)
