"""AutoMFLES: gradient-boosted trend and seasonality (statsforecast), fitted anew to the history of every request.

A fit only chooses the configuration, on the newest two seasons of train with the fewest empty cells, and the bundle
stores it. Fitting two seasons of history takes about 50 ms. MFLES takes no empty cells: they get the value of another
season.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flts.contracts.errors import DamagedObject, NotApplicable
from flts.contracts.ports import Progress
from flts.models.base import Block, Files, Fit, ForecastTask, History, Predictor, Recipe, Window
from flts.models.naive import carried
from flts.preprocess.rows import Values
from flts.spec.models import AutoMflesParameters

MIN_ROWS = 5
"""MFLES repeats the last value if it has fewer rows."""
PLAIN_ROWS = 100
"""Rows of history that are used when there is no season."""


class _Refit:
    """Fits the chosen configuration to each history, one target at a time."""

    targets_alone = True

    def __init__(
        self, kind: Callable[..., Any], configurations: Sequence[Mapping[str, Any]], task: ForecastTask
    ) -> None:
        self._kind, self._configurations, self._task = kind, configurations, task

    def predict(self, window: Window) -> Values:
        forecasts = np.empty((len(window.times), self._task.horizon, self._task.targets))
        histories = _mended(window.targets, window.measured_targets, self._task)
        for target, configuration in enumerate(self._configurations):
            for row, history in enumerate(histories[..., target]):
                forecasts[row, :, target] = self._continue(np.array(history), configuration)
        return forecasts

    def extended(self, task: ForecastTask) -> Predictor:
        return _Refit(self._kind, self._configurations, task)

    def _continue(self, history: Values, configuration: Mapping[str, Any]) -> Values:
        if (history == history[0]).all():  # MFLES would forecast 0 or 1 here
            return np.full(self._task.horizon, history[0])
        model = self._kind(verbose=0)
        model.fit(history, **configuration)
        return np.asarray(model.predict(self._task.horizon))


class AutoMfles:
    """Forecasts trend and seasonality by boosting."""

    name = "automfles"
    parameters = AutoMflesParameters
    version = 2
    extra = "stats"
    libraries: Sequence[str] = ("statsforecast", "sklearn")
    cost = 5

    def history(self, task: ForecastTask) -> History:
        if not task.seasons:
            return History(wanted=PLAIN_ROWS, minimum=MIN_ROWS, refitted=True)
        return History(wanted=2 * task.seasons[0], minimum=2 * task.seasons[0], refitted=True)

    def fit(
        self,
        block: Block,
        validation: Block,
        task: ForecastTask,
        recipe: Recipe[AutoMflesParameters],
        progress: Progress,
    ) -> Fit:
        history = self.history(task)
        if len(block.targets) < history.minimum:
            raise NotApplicable(
                f"needs {history.minimum} rows, has {len(block.targets)} before the validation windows",
                code="history-too-short",
                expected=history.minimum,
                found=len(block.targets),
            )
        windows = recipe.parameters.validation_windows
        recent = _fullest(block.targets, history.wanted)
        measured = ~np.isnan(recent)
        level = np.nanmean(block.targets, axis=0)  # of a phase that no season holds
        whole = _mended(np.where(measured, recent, level), measured, task)
        chosen = [_choose(np.array(whole[:, target]), task, windows) for target in range(task.targets)]
        files = {"model.json": json.dumps(chosen, sort_keys=True).encode()}
        return Fit(files, {"mfles": chosen, "filled_cells": int((~measured).sum())})

    def load(self, files: Files, task: ForecastTask) -> Predictor:
        from statsforecast.mfles import MFLES  # here, so that loading fails when it is missing

        chosen, grid = json.loads(files["model.json"]), _grid(task)
        for one in chosen:
            if one.keys() != grid.keys() or any(one[name] not in values for name, values in grid.items()):
                raise DamagedObject(
                    f"model.json is damaged: flts does not choose the configuration {one!r:.300}; restore the bundle"
                    " from a backup",
                    code="options-unusual",
                )
        return _Refit(MFLES, chosen, task)


def _fullest(targets: Values, length: int) -> Values:
    """The stretch of so many rows with the most measured cells, the newest of several: [length, targets]."""
    length = min(length, len(targets))
    held = np.concatenate([[0], np.cumsum((~np.isnan(targets)).sum(axis=1))])
    counts = held[length:] - held[:-length]
    last = len(counts) - 1 - int(np.argmax(counts[::-1]))
    return targets[last : last + length]


def _mended(values: Values, measured: NDArray[np.bool_], task: ForecastTask) -> Values:
    """Replace cells that were not measured by the nearest measured season before them, or else after them.

    values and measured [..., rows, targets]; all rows lie before the origin. A phase that no season holds keeps its
    values.
    """
    season = task.seasons[0] if task.seasons else 1
    values, known = carried(values, measured, season)
    backwards, _ = carried(values[..., ::-1, :], known[..., ::-1, :], season)
    return backwards[..., ::-1, :]


def _choose(recent: Values, task: ForecastTask, windows: int) -> dict[str, Any]:
    """The best configuration by cross-validation on the recent rows [rows] of one target."""
    from statsforecast.mfles import MFLES

    best: dict[str, Any] = MFLES(verbose=0).optimize(
        recent, test_size=task.horizon, n_steps=windows, step_size=task.horizon, metric="mse", params=_grid(task)
    )
    return best


def _grid(task: ForecastTask) -> dict[str, list[Any]]:
    """The library's own grid without multiplicative models: they take logarithms, and a scaled target can be zero."""
    if not task.seasons:
        return {"smoother": [True, False], "cov_threshold": [0.5, -1], "max_rounds": [5, 20], "multiplicative": [False]}
    season = task.seasons[0]
    return {
        "seasonality_weights": [True, False],
        "smoother": [True, False],
        "ma": [season, season // 2, None],
        "seasonal_period": [None, [season]],
        "multiplicative": [False],
    }
