"""AutoMFLES: gradient-boosted trend and seasonality (statsforecast), fitted anew to the history of every request.

A forecast is the mean of two fits that differ in how they follow the level: by exponential smoothing, and by moving
averages over a season. Both see four of the longest season. A fit only chooses which seasons count, on the validation
windows, and the bundle stores that. MFLES takes no empty cells: they get the value of another season.

Trends are straight lines by least squares. The library's robust ones compare every pair of rows, and its weights of
seasons invert a matrix of all rows: both take ten times as long, and neither is better (docs/performance.md).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flts.contracts.errors import DamagedObject, NotApplicable
from flts.contracts.ports import Progress
from flts.models.automfles_version2 import Version2
from flts.models.base import Block, Files, Fit, ForecastTask, History, Predictor, Recipe, Window
from flts.models.naive import carried, mended
from flts.models.past import LONGEST, phased
from flts.preprocess.rows import Values
from flts.spec.models import AutoMflesParameters

MIN_ROWS = 5
"""MFLES repeats the last value if it has fewer rows."""
PLAIN_ROWS = 100
"""Rows of history that are used when there is no season."""
SEASONS_BACK = 4
"""Of the longest season that counts, as far as LONGEST rows hold them."""
CLEARLY = 0.9
"""Fewer seasons must have less than this share of the mean squared error."""
PARTS = 10
"""Equal parts of the validation windows from which each `validation_windows` are taken."""
FIXED: Mapping[str, Any] = {"multiplicative": False, "cov_threshold": -1, "changepoints": False}


class _Refit:
    """Fits each history with the chosen seasons, one target at a time."""

    targets_alone = True

    def __init__(self, kind: Callable[..., Any], chosen: Sequence[Sequence[int]], task: ForecastTask) -> None:
        self._kind, self._chosen, self._task = kind, chosen, task

    def predict(self, window: Window) -> Values:
        forecasts = np.empty((len(window.times), self._task.horizon, self._task.targets))
        histories = mended(window.targets, window.measured_targets, self._task)
        for target, seasons in enumerate(self._chosen):
            for row, history in enumerate(histories[..., target]):
                forecasts[row, :, target] = _continued(self._kind, history, seasons, self._task)
        return forecasts

    def extended(self, task: ForecastTask) -> Predictor:
        return _Refit(self._kind, self._chosen, task)


class AutoMfles:
    """Forecasts trend and seasonality by boosting."""

    name = "automfles"
    parameters = AutoMflesParameters
    version = 3
    extra = "stats"
    libraries: Sequence[str] = ("statsforecast", "sklearn")
    cost = 4

    def history(self, task: ForecastTask) -> History:
        if not task.seasons:
            return History(wanted=PLAIN_ROWS, minimum=MIN_ROWS, refitted=True)
        fewest = 2 * task.seasons[0]
        wanted = max(fewest, min(SEASONS_BACK * _usable(task)[-1], LONGEST))
        return History(wanted=wanted, minimum=fewest, refitted=True)

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
        chosen = _choose(block, validation, task, history.wanted, recipe.parameters.validation_windows)
        return Fit({"model.json": json.dumps({"seasons": chosen}).encode()}, {"seasons": chosen})

    def load(self, files: Files, task: ForecastTask) -> Predictor:
        from statsforecast.mfles import MFLES  # here, so that loading fails when it is missing

        stored = json.loads(files["model.json"])
        if isinstance(stored, list):
            return Version2(MFLES, stored, task)
        chosen = stored.get("seasons")
        if not isinstance(chosen, list) or len(chosen) != task.targets or any(one not in _sets(task) for one in chosen):
            raise DamagedObject(
                f"model.json is damaged: flts does not choose the seasons {chosen!r:.300}; restore the bundle from a"
                " backup",
                code="options-unusual",
            )
        return _Refit(MFLES, chosen, task)


def _usable(task: ForecastTask) -> Sequence[int]:
    """The seasons that a history is long enough for, or else the shortest; none where there is none."""
    return phased(task) or task.seasons[:1]


def _sets(task: ForecastTask) -> list[list[int]]:
    """What a fit chooses from: all seasons, then without the longest, to none."""
    seasons = [*_usable(task)]
    return [seasons[:count] for count in range(len(seasons), -1, -1)]


def _choose(block: Block, validation: Block, task: ForecastTask, rows: int, windows: int) -> list[list[int]]:
    """The seasons of each target: all of them, unless fewer have a clearly smaller error on some validation windows."""
    from statsforecast.mfles import MFLES

    every = validation.origins
    at = np.unique(np.linspace(0, len(every) - 1, min(PARTS * windows, len(every))).round().astype(np.int64))
    measured = ~np.isnan(validation.targets)
    level = np.nanmean(block.targets, axis=0)  # of a phase that no season holds
    # the past of an origin knows nothing after it
    values, _ = carried(np.where(measured, validation.targets, level), measured, min(task.seasons, default=1))
    answers = validation.answers(task)[at]

    def loss(target: int, seasons: Sequence[int]) -> float:
        pasts = (values[max(0, origin - rows) : origin, target] for origin in every[at])
        found = np.stack([_continued(MFLES, past, seasons, task) for past in pasts])
        squares = (answers[..., target] - found) ** 2
        return float(np.nanmean(squares)) if np.isfinite(squares).any() else np.inf

    chosen = []
    for target in range(task.targets):
        best, *fewer = _sets(task)
        lowest = loss(target, best) if fewer else 0.0
        for seasons in fewer:
            error = loss(target, seasons)
            if error < CLEARLY * lowest:
                best, lowest = seasons, error
        chosen.append(best)
    return chosen


def _continued(kind: Callable[..., Any], history: Values, seasons: Sequence[int], task: ForecastTask) -> Values:
    """The forecast [horizon] after a history [rows] without empty cells."""
    if (history == history[0]).all():  # MFLES would forecast 0 or 1 here
        return np.full(task.horizon, history[0])
    counted = [season for season in seasons if 2 * season <= len(history)]
    order = min([task.horizon, *task.seasons[:1]])
    forecasts = []
    for level in ({"smoother": True}, {"smoother": False, "ma": order}):
        model = kind(verbose=0)
        model.fit(np.array(history), seasonal_period=counted or None, **FIXED, **level)
        forecasts.append(np.asarray(model.predict(task.horizon)))
    mean: Values = (forecasts[0] + forecasts[1]) / 2
    return mean
