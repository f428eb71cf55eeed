"""Baselines: forecasts that anyone can make. A candidate has to beat them to be worth its cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flts.contracts.errors import NotApplicable
from flts.contracts.ports import Progress
from flts.models.base import Block, Files, Fit, ForecastTask, History, Indices, Predictor, Recipe, Window
from flts.preprocess.rows import Values
from flts.spec.table import Table

SEASONS_BACK = 3
"""Seasons of history in which a measured value is looked for."""


def last_season(season: int, horizon: int) -> Indices:
    """Rows [horizon] one season earlier, counted from the origin; a short season repeats over the horizon."""
    return -season + np.arange(horizon) % season


def carried(values: Values, measured: NDArray[np.bool_], season: int) -> tuple[Values, NDArray[np.bool_]]:
    """Replace each cell that was not measured by the newest measured one that lies whole seasons before it.

    values and measured [..., rows, targets]. Also returns which cells now hold a measured value; others keep their own.
    """
    if measured.all():
        return values, measured
    *windows, rows, targets = values.shape
    own = np.arange(rows)[:, None]
    before = np.full((*windows, -rows % season, targets), -1)  # makes the rows a multiple of the season
    found = np.concatenate([before, np.where(measured, own, -1)], axis=-2)
    by_phase = found.reshape(*windows, -1, season, targets)
    newest = np.maximum.accumulate(by_phase, axis=-3).reshape(found.shape)[..., before.shape[-2] :, :]
    known = newest >= 0
    return np.take_along_axis(values, np.where(known, newest, own), axis=-2), known


def mended(values: Values, measured: NDArray[np.bool_], task: ForecastTask) -> Values:
    """Replace cells that were not measured by the nearest measured season before them, or else after them.

    values and measured [..., rows, targets]; all rows lie before the origin. A phase that no season holds keeps its
    values.
    """
    season = task.seasons[0] if task.seasons else 1
    values, known = carried(values, measured, season)
    backwards, _ = carried(values[..., ::-1, :], known[..., ::-1, :], season)
    return backwards[..., ::-1, :]


class _LastSeason:
    def __init__(self, season: int, horizon: int) -> None:
        self._season, self._rows = season, last_season(season, horizon)

    def predict(self, window: Window) -> Values:
        values, _ = carried(window.targets, window.measured_targets, self._season)
        return values[:, self._rows]


class Naive:
    """Repeats the last measured value."""

    name = "naive"
    parameters = Table
    version = 2
    extra = None
    libraries: Sequence[str] = ()
    cost = 0

    def history(self, task: ForecastTask) -> History:
        return History(wanted=task.input_length, minimum=1)

    def fit(
        self, block: Block, validation: Block, task: ForecastTask, recipe: Recipe[Table], progress: Progress
    ) -> Fit:
        return Fit(files={}, chosen={"season": 1})

    def load(self, files: Files, task: ForecastTask) -> Predictor:
        return _LastSeason(1, task.horizon)


class SeasonalNaive(Naive):
    """Repeats the value one season earlier, for the shortest season; where that was not measured, an older season's."""

    name = "seasonal_naive"

    def history(self, task: ForecastTask) -> History:
        season = _season(task)
        return History(wanted=SEASONS_BACK * season, minimum=season)

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
