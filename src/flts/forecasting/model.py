"""The serving path: histories in original units in, forecasts in original units out.

Trainer, judge, server and pyfunc all forecast through `Model.forecast`; there is no second way.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flts.contracts.errors import NotApplicable, TrainingFailed
from flts.contracts.records.model import Scale
from flts.forecasting.bounds import within
from flts.forecasting.histories import Histories
from flts.forecasting.scale import spread
from flts.models.base import ForecastTask, History, Predictor, Window
from flts.preprocess.rows import Times, Values
from flts.preprocess.transform import FittedPreprocess


@dataclass(frozen=True)
class Forecasts:
    """Forecasts in original units: mean [origins, horizon, targets] within the bounds, spread [origins, targets].

    spread: the scale of the errors, taken from the history (`scale.spread`). Interval offsets are multiples of it.
    """

    mean: Values
    spread: Values


@dataclass(frozen=True)
class Model:
    """A loaded predictor with what it takes to forecast in original units."""

    predictor: Predictor
    task: ForecastTask
    history: History
    scale: Scale = "constant"

    @property
    def history_rows(self) -> int:
        """Rows of a history that are used, by the predictor or for the spread."""
        return max(self.history.wanted, self.task.input_length)

    def forecast(self, times: Times, values: Values, given: Values | None = None) -> Forecasts:
        """Forecast histories of equal length, newest row last, columns as in the manifest.

        times [windows, rows], values [windows, rows, columns]; rows before the last `history_rows` are cut off first.
        given [windows, horizon, given]: the given columns that are known ahead; an empty cell is filled from before.
        """
        window = self._window(times, values, given)
        mean = self.task.fitted.unscale_targets(self.predictor.predict(window))
        # a forecast that is not measurable must be found, not hidden behind a bound
        kept = np.where(_measurable(mean, self.task.fitted), within(mean, self.task.bounds), mean)
        return Forecasts(kept, spread(self.scale, window, self.task))

    @cached_property
    def given(self) -> NDArray[np.intp]:
        """Where the given columns that are known ahead are among those of a history."""
        return self.task.known.index(self.task.fitted)

    def forecast_each(self, histories: Histories) -> Forecasts:
        """Forecasts from every origin, finite or not. Raises NotApplicable when one has too little history."""
        shortest = int(histories.lengths.min())
        if shortest < self.history.minimum:
            raise NotApplicable(
                f"needs {self.history.minimum} rows, has {shortest}",
                code="history-too-short",
                expected=self.history.minimum,
                found=shortest,
            )
        shape = (len(histories), self.task.horizon, self.task.targets)
        mean, spreads = np.empty(shape), np.empty((shape[0], shape[2]))
        for positions, times, values in histories.batches(self.history_rows):
            given = histories.ahead(positions, self.given, self.task.horizon) if self.task.known else None
            answer = self.forecast(times, values, given)
            mean[positions], spreads[positions] = answer.mean, answer.spread
        return Forecasts(mean, spreads)

    def forecast_all(self, histories: Histories) -> Forecasts:
        """The same. Raises TrainingFailed when a forecast is not finite."""
        answers = self.forecast_each(histories)
        refuse_unmeasurable(answers.mean, self.task.fitted)
        return answers

    def spread_all(self, histories: Histories, scale: Scale) -> Values:
        """The spread of every history by another scale, [origins, targets]."""
        spreads = np.empty((len(histories), self.task.targets))
        for positions, times, values in histories.batches(self.history_rows):
            spreads[positions] = spread(scale, self._window(times, values), self.task)
        return spreads

    def _window(self, times: Times, values: Values, given: Values | None = None) -> Window:
        times, values = times[:, -self.history_rows :], values[:, -self.history_rows :]
        fitted, known = self.task.fitted, self.task.known
        # models of bundles of version 1 take every filled cell for measured
        measured = ~np.isnan(values) if fitted.placed else np.ones(values.shape, dtype=bool)
        if not known:
            return Window(times, fitted.clean(values), measured, fitted)
        later = np.full((len(values), self.task.horizon, values.shape[2]), np.nan)
        if given is not None:
            later[..., self.given] = given
        cleaned, rows = fitted.clean(np.concatenate([values, later], axis=1)), values.shape[1]
        return Window(times, cleaned[:, :rows], measured, fitted, known, cleaned[:, rows:, self.given])


def refuse_unmeasurable(mean: Values, fitted: FittedPreprocess) -> None:
    """Raise TrainingFailed when a forecast is not finite, or too large to be squared."""
    invalid = unmeasurable(mean, fitted)
    if invalid:
        raise TrainingFailed(
            f"{invalid} of {mean.size} forecasts are not finite",
            code="forecasts-not-finite",
            found=invalid,
            cells=mean.size,
        )


def unmeasurable(mean: Values, fitted: FittedPreprocess) -> int:
    """Count forecasts [origins, horizon, targets] that are not finite, or so large that their squared error is not."""
    return int((~_measurable(mean, fitted)).sum())


def _measurable(mean: Values, fitted: FittedPreprocess) -> NDArray[np.bool_]:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.isfinite(fitted.scale_targets(mean) ** 2))
