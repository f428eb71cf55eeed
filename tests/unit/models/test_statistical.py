"""AutoMFLES: what a fit chooses, on which rows, and what a request fits."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.support.families import blocks, has_libraries, recipe, task_on, window
from tests.support.raising import raises
from tests.support.series import HOUR, hourly

from flts.contracts.canonical import canonical_json
from flts.contracts.errors import DamagedObject, NotApplicable
from flts.contracts.ports import Silent
from flts.forecasting.histories import Histories
from flts.forecasting.model import Model
from flts.models.base import Block, ForecastTask
from flts.models.statistical import AutoMfles
from flts.preprocess.rows import Rows

pytestmark = pytest.mark.skipif(not has_libraries("automfles"), reason="needs the extra 'stats'")


def prepared(
    seasons: tuple[int, ...] = (12,), rows: int = 120, horizon: int = 3
) -> tuple[Rows, ForecastTask, Block, Block]:
    train = hourly(rows)
    task = task_on(train, ("wind", "load"), input_length=4, horizon=horizon, seasons=seasons)
    return train, task, *blocks(train, task)


@pytest.mark.parametrize("seasons", [(), (12,)])
def test_the_chosen_configuration_is_read_back_from_json(seasons: tuple[int, ...]) -> None:
    _, task, block, validation = prepared(seasons)
    fit = AutoMfles().fit(block, validation, task, recipe("automfles"), Silent())
    assert len(fit.chosen["mfles"]) == task.targets
    assert json.loads(fit.files["model.json"]) == fit.chosen["mfles"] == json.loads(canonical_json(fit.chosen["mfles"]))


@pytest.mark.parametrize("seasons", [(), (12,)])
def test_a_request_fits_the_chosen_configuration_of_each_target_to_its_own_history(seasons: tuple[int, ...]) -> None:
    from statsforecast.mfles import MFLES

    train, task, block, validation = prepared(seasons)
    family = AutoMfles()
    fit = family.fit(block, validation, task, recipe("automfles"), Silent())
    history = train[-family.history(task).wanted :]
    forecasts = family.load(fit.files, task).predict(window(history, task))[0]
    for i, configuration in enumerate(fit.chosen["mfles"]):
        plain = MFLES(verbose=0)
        plain.fit(task.fitted.scale_targets(history.select(task.fitted.targets))[:, i].copy(), **configuration)
        np.testing.assert_allclose(forecasts[:, i], plain.predict(task.horizon), rtol=1e-12)


def test_the_configuration_is_chosen_on_the_last_two_seasons_only() -> None:
    _, task, block, validation = prepared()
    targets = block.targets.copy()
    targets[:-24] = np.random.default_rng(1).normal(size=targets[:-24].shape)
    chosen = [
        AutoMfles().fit(b, validation, task, recipe("automfles"), Silent()).chosen
        for b in (block, replace(block, targets=targets))
    ]
    assert chosen[0] == chosen[1]


def test_the_configuration_is_chosen_on_the_newest_stretch_with_every_target_measured() -> None:
    _, task, block, validation = prepared()
    targets = block.targets.copy()
    targets[70, 1] = np.nan
    targets[-3, 0] = np.nan
    holes = AutoMfles().fit(replace(block, targets=targets), validation, task, recipe("automfles"), Silent()).chosen
    newest = targets[: len(targets) - 3]
    assert len(newest) - 24 > 70
    whole = AutoMfles().fit(replace(block, targets=newest), validation, task, recipe("automfles"), Silent()).chosen
    assert holes == whole
    assert holes["filled_cells"] == 0


def test_a_stretch_with_empty_cells_gets_their_values_one_season_earlier_and_says_how_many() -> None:
    _, task, block, validation = prepared(rows=100)
    phase = np.arange(len(block.targets)) % 12
    daily = np.stack([np.sin(2 * np.pi * phase / 12), phase / 12.0], axis=1)
    daily[: len(daily) - 24, 0] += np.random.default_rng(0).normal(size=len(daily) - 24)
    holes = daily.copy()
    holes[: len(holes) - 24 : 5, 0] = np.nan  # no other stretch is as full
    holes[len(holes) - 4, 0] = np.nan
    fit = AutoMfles().fit(replace(block, targets=holes), validation, task, recipe("automfles"), Silent())
    whole = AutoMfles().fit(replace(block, targets=daily), validation, task, recipe("automfles"), Silent())
    assert fit.chosen == {**whole.chosen, "filled_cells": 1}


@pytest.mark.parametrize("row", [-2, -20], ids=["one season later", "one season earlier"])
def test_a_request_replaces_filled_cells_by_those_of_another_season(row: int) -> None:
    train, task, block, validation = prepared()
    family = AutoMfles()
    fit = family.fit(block, validation, task, recipe("automfles"), Silent())
    predictor = family.load(fit.files, task)
    recent = train[-24:].values.copy()
    recent[:12] = recent[12:]
    history = replace(train[-24:], values=recent)
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


def test_a_series_without_a_season_gets_a_configuration_without_one() -> None:
    _, task, block, validation = prepared(seasons=())
    (first, _) = AutoMfles().fit(block, validation, task, recipe("automfles"), Silent()).chosen["mfles"]
    assert first.get("seasonal_period") is None


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
    flat = replace(block, targets=np.full_like(block.targets, 0.25))
    fit = AutoMfles().fit(flat, validation, task, recipe("automfles"), Silent())
    assert len(fit.chosen["mfles"]) == task.targets
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("changed", [{"max_rounds": 10**12}, {"ma": 10**9}, {"smoother": "yes"}], ids=str)
def test_a_configuration_that_no_fit_chooses_is_refused(changed: dict[str, object]) -> None:
    _, task, block, validation = prepared()
    fit = AutoMfles().fit(block, validation, task, recipe("automfles"), Silent())
    stored = [{**one, **changed} for one in fit.chosen["mfles"]]
    with raises(DamagedObject, code="options-unusual"):
        AutoMfles().load({"model.json": json.dumps(stored).encode()}, task)
