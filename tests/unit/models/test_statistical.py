"""AutoMFLES: what a fit chooses, on which rows, and what a request fits."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.support.families import blocks, has_libraries, recipe, task_on, window
from tests.support.raising import raises
from tests.support.series import hourly

from flts.contracts.canonical import canonical_json
from flts.contracts.errors import NotApplicable
from flts.contracts.ports import Silent
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
