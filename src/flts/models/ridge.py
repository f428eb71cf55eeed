"""Ridge regression on the flattened window: cheap, and often as good as a network.

    minimise ‖Y − XW − 1b‖² + α‖W‖²   (Hoerl and Kennard 1970), columns centred, the intercept b unpenalised

X: value and lag columns of every row of the window, then the calendar features of the first forecast row. Y: all steps
and targets, scaled to their range over train. The validation windows choose α, whether covariates are used, and whether
Fourier terms of the seasons are added to the calendar (docs/decisions/0001).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flts.contracts.ports import Progress
from flts.models.base import Block, Files, Fit, Floats, ForecastTask, History, Indices, Predictor, Recipe, Window
from flts.preprocess.rows import Times, Values
from flts.preprocess.transform import calendar
from flts.spec.models import RidgeParameters

CHUNK = 4096
"""Windows that are flattened at once; limits memory when train has millions of rows."""
ORDER = 6
"""Most Fourier terms per season."""

Solve = Callable[[float], tuple[Values, Values]]


@dataclass(frozen=True)
class Design:
    """Which columns the linear map uses."""

    covariates: bool
    fourier: bool

    def columns(self, features: Floats, first: Times, task: ForecastTask) -> Values:
        """The columns [windows, columns] of features [windows, input_length, features] and the first forecast times."""
        fitted = task.fitted
        values = features[..., : len(fitted.features) - len(fitted.calendar)]
        if not self.covariates:
            lags = range(len(fitted.names), values.shape[-1])
            values = values[..., [*fitted.target_index, *lags]]
        parts: list[Any] = [values.reshape(len(values), -1)]
        if fitted.calendar:
            parts.append(calendar(first, fitted))
        if self.fourier:
            parts.append(_fourier(first, task))
        return np.hstack(parts, dtype=np.float64)


class _Linear:
    def __init__(self, design: Design, weights: Values, intercept: Values, task: ForecastTask) -> None:
        self._design, self._weights, self._intercept, self._task = design, weights, intercept, task

    def predict(self, window: Window) -> Values:
        task = self._task
        columns = self._design.columns(window.features[:, -task.input_length :], window.future(1)[:, 0], task)
        return (columns @ self._weights + self._intercept).reshape(-1, task.horizon, task.targets)


class Ridge:
    """Forecasts by a linear map of the window."""

    name = "ridge"
    parameters = RidgeParameters
    version = 1
    extra = None
    libraries: Sequence[str] = ()
    cost = 1

    def history(self, task: ForecastTask) -> History:
        return History(wanted=task.lookback, minimum=task.input_length)

    def fit(
        self, block: Block, validation: Block, task: ForecastTask, recipe: Recipe[RidgeParameters], progress: Progress
    ) -> Fit:
        best: tuple[float, float, Design] | None = None
        kept: Files = {}
        for design in _designs(task):
            solve = _solver(block, design, task)
            for alpha in sorted(recipe.parameters.alphas, reverse=True):
                weights, intercept = solve(alpha)
                loss = _loss(validation, design, weights, intercept, task)
                # on a tie the first one stays, with the smaller design and the larger penalty
                if best is None or loss < best[0]:
                    best, kept = (loss, alpha, design), _files(design, weights, intercept)
        assert best is not None
        loss, alpha, design = best
        return Fit(kept, {"alpha": alpha, **asdict(design), "validation_mse": loss})

    def refit(
        self, block: Block, task: ForecastTask, recipe: Recipe[RidgeParameters], chosen: Mapping[str, Any]
    ) -> Files:
        design = Design(chosen["covariates"], chosen["fourier"])
        return _files(design, *_solver(block, design, task)(chosen["alpha"]))

    def load(self, files: Files, task: ForecastTask) -> Predictor:
        from safetensors.numpy import load

        tensors = load(files["coefficients.safetensors"])
        covariates, fourier = (bool(flag) for flag in tensors["design"])
        return _Linear(Design(covariates, fourier), tensors["weights"], tensors["intercept"], task)


def _designs(task: ForecastTask) -> Iterator[Design]:
    """The designs that differ for this task, smallest first."""
    has_covariates = len(task.fitted.names) > task.targets
    for covariates, fourier in itertools.product((False, True), (False, True)):
        if (has_covariates or not covariates) and (task.seasons or not fourier):
            yield Design(covariates, fourier)


def _fourier(times: Times, task: ForecastTask) -> Values:
    """Fourier terms of each season by position on the grid: [windows, terms]."""
    positions = task.fitted.grid.positions(times)
    terms = []
    for season in task.seasons:
        phase = 2.0 * np.pi * (positions % season) / season
        for multiple in range(1, min(ORDER, season // 2) + 1):
            terms += [np.sin(multiple * phase), np.cos(multiple * phase)]
    return np.stack(terms, axis=-1)


def _chunks(block: Block, design: Design, task: ForecastTask) -> Iterator[tuple[Values, Values]]:
    """Columns [windows, columns] and answers [windows, outputs], CHUNK windows at a time."""
    for start in range(0, len(block.origins), CHUNK):
        origins: Indices = block.origins[start : start + CHUNK]
        features, answers = replace(block, origins=origins).windows(task)
        yield design.columns(features, block.times[origins], task), answers.reshape(len(answers), -1)


def _solver(block: Block, design: Design, task: ForecastTask) -> Solve:
    """Prepare the solution for every α: the result maps α to weights [columns, outputs] and intercept [outputs].

    All α share one eigendecomposition. Means are taken in a pass of their own, so that no digits cancel.
    """
    count = len(block.origins)
    sums = [(x.sum(axis=0), y.sum(axis=0)) for x, y in _chunks(block, design, task)]
    x_mean, y_mean = (np.sum(part, axis=0) / count for part in zip(*sums, strict=True))
    xx, xy = np.zeros((len(x_mean), len(x_mean))), np.zeros((len(x_mean), len(y_mean)))
    for x, y in _chunks(block, design, task):
        centred = x - x_mean
        xx += centred.T @ centred
        xy += centred.T @ (y - y_mean)
    values, vectors = np.linalg.eigh(xx)
    projected = vectors.T @ xy

    def solve(alpha: float) -> tuple[Values, Values]:
        weights = vectors @ (projected / (np.maximum(values, 0.0) + alpha)[:, None])
        return weights, y_mean - x_mean @ weights

    return solve


def _loss(validation: Block, design: Design, weights: Values, intercept: Values, task: ForecastTask) -> float:
    """Mean squared scaled error over the validation windows."""
    squares = [float(((x @ weights + intercept - y) ** 2).sum()) for x, y in _chunks(validation, design, task)]
    return sum(squares) / (len(validation.origins) * task.horizon * task.targets)


def _files(design: Design, weights: Values, intercept: Values) -> Files:
    from safetensors.numpy import save

    tensors: dict[str, NDArray[Any]] = {
        "design": np.array([design.covariates, design.fourier], dtype=np.uint8),
        "intercept": np.ascontiguousarray(intercept),
        "weights": np.ascontiguousarray(weights),
    }
    return {"coefficients.safetensors": save(tensors)}
