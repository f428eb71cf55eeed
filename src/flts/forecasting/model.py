"""The serving path: histories in original units in, forecasts in original units out.

Trainer, judge, server and pyfunc all forecast through `Model.forecast`; there is no second way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flts.contracts.errors import NotApplicable, TrainingFailed
from flts.forecasting.histories import Histories
from flts.models.base import ForecastTask, History, Predictor, Window
from flts.preprocess.rows import Times, Values
from flts.preprocess.transform import FittedPreprocess


@dataclass(frozen=True)
class Forecasts:
    """Forecasts in original units: mean [origins, horizon, targets], spread [origins, targets].

    spread is the scale of the errors, taken from the history: the mean of the scaled target over the last input_length
    rows, at least 0, plus 0.01, back in original units. Interval offsets are multiples of it.
    """

    mean: Values
    spread: Values


@dataclass(frozen=True)
class Model:
    """A loaded predictor with what it takes to forecast in original units."""

    predictor: Predictor
    task: ForecastTask
    history: History

    @property
    def history_rows(self) -> int:
        """Rows of a history that are used, by the predictor or for the spread."""
        return max(self.history.wanted, self.task.input_length)

    def forecast(self, times: Times, values: Values) -> Forecasts:
        """Forecast histories of equal length, newest row last, columns as in the manifest.

        times [windows, rows], values [windows, rows, columns]; rows before the last `history_rows` are cut off first.
        """
        task = self.task
        times, values = times[:, -self.history_rows :], values[:, -self.history_rows :]
        window = Window(times, task.fitted.clean(values), ~np.isnan(values), task.fitted)
        scaled = self.predictor.predict(window)
        level = np.maximum(window.targets[:, -task.input_length :].mean(axis=1), 0.0) + 0.01
        _, width = task.fitted.target_range
        return Forecasts(task.fitted.unscale_targets(scaled), level * width)

    def forecast_all(self, histories: Histories) -> Forecasts:
        """Forecasts from every origin.

        Raises NotApplicable when one has too little history, TrainingFailed when a forecast is not finite.
        """
        shortest = int(histories.ends.min())
        if shortest < self.history.minimum:
            raise NotApplicable(
                f"needs {self.history.minimum} rows, has {shortest}",
                code="history-too-short",
                expected=self.history.minimum,
                found=shortest,
            )
        shape = (len(histories), self.task.horizon, self.task.targets)
        mean, spread = np.empty(shape), np.empty((shape[0], shape[2]))
        for positions, times, values in histories.batches(self.history_rows):
            answer = self.forecast(times, values)
            mean[positions], spread[positions] = answer.mean, answer.spread
        invalid = unmeasurable(mean, self.task.fitted)
        if invalid:
            raise TrainingFailed(
                f"{invalid} of {mean.size} forecasts are not finite",
                code="forecasts-not-finite",
                found=invalid,
                cells=mean.size,
            )
        return Forecasts(mean, spread)


def unmeasurable(mean: Values, fitted: FittedPreprocess) -> int:
    """Count forecasts [origins, horizon, targets] that are not finite, or so large that their squared error is not."""
    with np.errstate(over="ignore", invalid="ignore"):
        return int((~np.isfinite(fitted.scale_targets(mean) ** 2)).sum())
