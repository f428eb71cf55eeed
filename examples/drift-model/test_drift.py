"""Drift keeps the promises of every family and forecasts the mean change."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from flts_drift import Drift, DriftParameters

from flts.contracts.ports import Silent
from flts.models.base import Recipe
from flts.testing import ModelConformance, blocks, hourly, task_on, window


class TestDrift(ModelConformance):
    family = Drift()


@pytest.mark.parametrize("rows", [0, 5])
def test_it_continues_with_the_mean_change_of_the_last_rows(rows: int) -> None:
    train = hourly(200)
    task = task_on(train)
    block, validation = blocks(train, task)
    fit = Drift().fit(block, validation, task, Recipe(DriftParameters(rows=rows), patience=1, seed=0), Silent())
    past = block.targets[-rows:, 0]
    expected = window(train, task).targets[0, -1, 0] + np.diff(past).mean() * np.arange(1, task.horizon + 1)
    forecast = Drift().load(fit.files, task).predict(window(train, task))
    np.testing.assert_allclose(forecast[0, :, 0], expected, rtol=1e-12)


def test_the_change_is_taken_between_measured_values() -> None:
    train = hourly(200)
    task = task_on(train)
    block, validation = blocks(train, task)
    holes = np.where(np.arange(len(block.targets))[:, None] % 3 == 2, block.targets, np.nan)
    part = replace(block, targets=holes)
    fit = Drift().fit(part, validation, task, Recipe(DriftParameters(), patience=1, seed=0), Silent())
    first, last = np.flatnonzero(~np.isnan(holes[:, 0]))[[0, -1]]
    expected = (holes[last] - holes[first]) / (last - first)
    assert json.loads(fit.files["slope.json"]) == pytest.approx(expected)
