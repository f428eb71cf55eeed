"""Baselines: forecasts that anyone can make. A candidate has to beat them to be worth its cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flts.contracts.errors import NotApplicable
from flts.contracts.ports import Progress
from flts.models.base import Block, Files, Fit, ForecastTask, History, Indices, Predictor, Recipe, Window
from flts.preprocess.rows import Values
from flts.spec.table import Table


def last_season(season: int, horizon: int) -> Indices:
    """Rows [horizon] one season earlier, counted from the origin; a short season repeats over the horizon."""
    return -season + np.arange(horizon) % season


class _LastSeason:
    def __init__(self, season: int, horizon: int) -> None:
        self._rows = last_season(season, horizon)

    def predict(self, window: Window) -> Values:
        return window.targets[:, self._rows]


class Naive:
    """Repeats the last value."""

    name = "naive"
    parameters = Table
    version = 1
    extra = None
    libraries: Sequence[str] = ()
    cost = 0

    def history(self, task: ForecastTask) -> History:
        return History(wanted=1, minimum=1)

    def fit(
        self, block: Block, validation: Block, task: ForecastTask, recipe: Recipe[Table], progress: Progress
    ) -> Fit:
        return Fit(files={}, chosen={"season": 1})

    def load(self, files: Files, task: ForecastTask) -> Predictor:
        return _LastSeason(1, task.horizon)


class SeasonalNaive(Naive):
    """Repeats the value one season earlier, for the shortest season."""

    name = "seasonal_naive"

    def history(self, task: ForecastTask) -> History:
        season = _season(task)
        return History(wanted=season, minimum=season)

    def fit(
        self, block: Block, validation: Block, task: ForecastTask, recipe: Recipe[Table], progress: Progress
    ) -> Fit:
        return Fit(files={}, chosen={"season": _season(task)})

    def load(self, files: Files, task: ForecastTask) -> Predictor:
        return _LastSeason(_season(task), task.horizon)


def _season(task: ForecastTask) -> int:
    if not task.seasons:
        raise NotApplicable("needs a season, and none was found in train; task.seasons can name one", code="no-season")
    return task.seasons[0]
