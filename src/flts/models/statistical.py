"""What AutoARIMA, AutoETS, AutoTheta and AutoTBATS share: fitted once, then run over the history of each request.

A fit sees the newest rows of train before the validation windows. The bundle stores its parameters as JSON. To answer,
the recursion of the model runs over a history with these parameters; nothing is fitted again. Each target is a series
of its own, in ranges over train and counted from zero, because some of the models multiply. Empty cells get the value
of another season.
"""

from __future__ import annotations

import json
import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np
from pydantic import ValidationError

from flts.contracts.errors import DamagedObject, NotApplicable
from flts.contracts.ports import Progress
from flts.contracts.records.base import Part
from flts.models.base import Block, Files, Fit, ForecastTask, History, Indices, P, Predictor, Recipe, Window
from flts.models.naive import carried, mended
from flts.models.past import LONGEST
from flts.preprocess.rows import Values

PLAIN_ROWS = 100
"""Rows of a history at least, where there are so many."""
FEWEST = 10
"""Rows that a history needs without a season."""
WINDOWS = 20
"""Validation windows that choose between fits."""
CLEARLY = 0.9
"""Another fit must have less than this share of the mean squared error of the one before it."""

S = TypeVar("S", bound=Part)
"""What is stored of the fit of one series."""


class Statistical(Generic[P, S]):
    """A family of models of one series. A subclass says how one is fitted and how it goes on."""

    name: str
    parameters: type[P]
    version = 1
    extra = "stats"
    libraries: Sequence[str] = ("statsforecast", "sklearn", "statsmodels")
    cost = 4
    stored: type[S]
    """The class of what is stored."""
    longest: int
    """Rows of the longest season that it can be fitted with."""
    back = 10
    """Of the longest season, how many of a history it runs over."""

    @abstractmethod
    def fit_series(self, values: Values, seasons: Sequence[int], parameters: P) -> Sequence[S]:
        """Fit a series [rows] that is not constant.

        Of several fits, the first is kept unless another one has a clearly smaller error on some validation windows.
        """

    @abstractmethod
    def forward(self, fitted: S, history: Values, horizon: int) -> Values:
        """The forecast [horizon] after a history [rows] that is not constant, with these parameters."""

    def seasons(self, task: ForecastTask) -> Sequence[int]:
        """The seasons that it has, shortest first: of those of the task, the shortest."""
        return task.seasons[:1]

    def history(self, task: ForecastTask) -> History:
        """Enough rows for the recursion to forget how it began."""
        seasons = self.seasons(task)
        shortest, longest = min(seasons, default=1), max(seasons, default=1)
        fewest = max(2 * shortest, longest, FEWEST)
        return History(wanted=max(fewest, min(max(self.back * longest, PLAIN_ROWS), LONGEST)), minimum=fewest)

    def fit(self, block: Block, validation: Block, task: ForecastTask, recipe: Recipe[P], progress: Progress) -> Fit:
        """Fit every target. Raises NotApplicable for a season that is too long and for too few rows."""
        seasons = self.seasons(task)
        shortest, longest = min(seasons, default=1), max(seasons, default=1)
        if shortest > self.longest:
            raise NotApplicable(
                f"its seasons have at most {self.longest} rows, the shortest here has {shortest};"
                " task.seasons can name another",
                code="season-too-long",
                expected=self.longest,
                found=shortest,
            )
        needed = max(3 * shortest, 2 * longest, FEWEST)
        if len(block.targets) < needed:
            raise NotApplicable(
                f"needs {needed} rows, has {len(block.targets)} before the validation windows",
                code="history-too-short",
                expected=needed,
                found=len(block.targets),
            )
        measured = ~np.isnan(validation.targets)
        level = np.nanmean(block.targets, axis=0)  # of a phase that no season holds
        known = np.where(measured, validation.targets, level)
        rows = carried(known, measured, shortest)[0] + _zero(task)  # the past of an origin knows nothing after it
        before = mended(known[: len(block.targets)], measured[: len(block.targets)], task)[-LONGEST:] + _zero(task)
        answers = validation.answers(task) + _zero(task)
        fits: list[S | None] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of models that are tried and not taken
            for target, values in enumerate(before.T):
                if _constant(values):
                    fits.append(None)
                    continue
                tried = self.fit_series(values.copy(), seasons, recipe.parameters)
                tail = _Tail(rows[:, target], validation.origins, answers[..., target], self.history(task).wanted)
                fits.append(self._best(tried, tail, task.horizon))
        chosen = [None if one is None else one.model_dump(mode="json") for one in fits]
        return Fit({"model.json": json.dumps(chosen, sort_keys=True).encode()}, {"fits": chosen})

    def _best(self, tried: Sequence[S], tail: _Tail, horizon: int) -> S:
        if len(tried) == 1:
            return tried[0]
        errors = [tail.error(partial(self.forward, one, horizon=horizon)) for one in tried]
        best = 0
        for other in range(1, len(tried)):
            best = other if errors[other] < CLEARLY * errors[best] else best
        return tried[best]

    def load(self, files: Files, task: ForecastTask) -> Predictor:
        """The predictor of stored parameters. Raises DamagedObject for what no fit stores."""
        import statsforecast  # noqa: F401  # here, so that loading fails when it is missing

        found = json.loads(files["model.json"])
        try:
            fits = [None if one is None else self.stored.model_validate(one) for one in found]
            if len(fits) != task.targets:
                raise ValueError(f"{len(fits)} fits for {task.targets} targets")
        except (ValidationError, TypeError, ValueError) as error:
            raise DamagedObject(
                f"model.json is damaged: {str(error).splitlines()[0]:.300}; restore the bundle from a backup",
                code="options-unusual",
            ) from None
        return _Forward(self, fits, task)


@dataclass(frozen=True)
class _Tail:
    """The validation windows of one target: values [rows] without empty cells, origins and answers [windows, horizon].

    rows: of a history.
    """

    values: Values
    origins: Indices
    answers: Values
    rows: int

    def error(self, forward: Callable[..., Values]) -> float:
        """Mean squared error on at most WINDOWS of them, evenly spaced."""
        count = len(self.origins)
        at = np.unique(np.linspace(0, count - 1, min(WINDOWS, count)).round().astype(np.int64))
        pasts = [self.values[max(0, origin - self.rows) : origin] for origin in self.origins[at]]
        found = np.stack(
            [np.full_like(self.answers[0], p[-1]) if _constant(p) else forward(history=p.copy()) for p in pasts]
        )
        squares = (found - self.answers[at]) ** 2
        measured = ~np.isnan(self.answers[at])
        return float(squares[measured].mean()) if measured.any() and np.isfinite(squares[measured]).all() else np.inf


class _Forward(Generic[P, S]):
    """Runs the recursion over each history."""

    targets_alone = True

    def __init__(self, family: Statistical[P, S], fits: Sequence[S | None], task: ForecastTask) -> None:
        self._family, self._fits, self._task = family, fits, task

    def predict(self, window: Window) -> Values:
        task, zero = self._task, _zero(self._task)
        forecasts = np.empty((len(window.times), task.horizon, task.targets))
        histories = mended(window.targets, window.measured_targets, task) + zero
        for target, fitted in enumerate(self._fits):
            for row, history in enumerate(histories[..., target]):
                if fitted is None or _constant(history):
                    forecasts[row, :, target] = history[-1]
                else:
                    forecasts[row, :, target] = self._family.forward(fitted, np.array(history), task.horizon)
        return forecasts - zero

    def extended(self, task: ForecastTask) -> Predictor:
        return _Forward(self._family, self._fits, task)


def floored(history: Values, floor: float | None) -> Values:
    """A history for a model that multiplies, which has no zero and no negative value."""
    return history if floor is None else np.maximum(history, floor)


def floor_of(values: Values) -> float:
    """The lowest value that such a model is shown: half of the lowest that it was fitted to."""
    return float(values.min()) / 2


def _zero(task: ForecastTask) -> Values:
    """Where zero is left out of the scaled targets: [targets]."""
    minimum, width = task.fitted.target_range
    zero: Values = minimum / width
    return zero


def _constant(values: Values) -> bool:
    return bool((values == values[0]).all())
