"""Ridge regression on the flattened window: cheap, strong, and as good as many a network on one step ahead.

    minimise ‖Y − XW − 1b‖² + α‖W‖²   (Hoerl and Kennard 1970), columns centred, the intercept b unpenalised

X: the value and lag columns of every row of the window, then the calendar of the first forecast row; Y: all horizon
steps of all targets, scaled to their range over train.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from flts.models.base import Block, Files, Fit, Floats, History, Predictor, Recipe, Task, Window
from flts.ports import Progress
from flts.preprocess.rows import Times, Values
from flts.preprocess.transform import CALENDAR, calendar
from flts.spec import Ridge as Parameters

CHUNK = 4096
"""Windows that are flattened at once, so that memory stays flat over millions of rows."""


@dataclass(frozen=True)
class _Moments:
    """Centred second moments of the design: everything a ridge solution for any α needs."""

    x_mean: Values
    y_mean: Values
    xx: Values
    xy: Values


class _Linear:
    def __init__(self, weights: Values, intercept: Values, task: Task) -> None:
        self._weights, self._intercept, self._task = weights, intercept, task

    def predict(self, window: Window) -> Values:
        task = self._task
        design = _design(window.features[:, -task.input_length :], window.future(1)[:, 0], task)
        flat = design @ self._weights + self._intercept
        return flat.reshape(-1, task.horizon, task.targets)


class Ridge:
    """Linear map of the window."""

    name = "ridge"
    version = 1
    extra = None
    libraries: Sequence[str] = ()
    refits = True
    cost = 1

    def history(self, task: Task) -> History:
        return History(wanted=task.lookback, minimum=task.input_length)

    def fit(self, block: Block, tail: Block, task: Task, recipe: Recipe, progress: Progress) -> Fit:
        alphas = cast(Parameters, recipe.parameters).alphas
        moments = _moments(block, task)
        solve = _solver(moments)
        features, answers = tail.windows(task)
        design, truth = _design(features, tail.times[tail.origins], task), answers.reshape(len(answers), -1)
        losses = {}
        for alpha in alphas:
            weights, intercept = solve(alpha)
            losses[alpha] = float(np.mean((design @ weights + intercept - truth) ** 2))
        best = min(losses.values())
        alpha = max(a for a, loss in losses.items() if loss == best)
        return Fit(_files(*solve(alpha)), {"alpha": alpha, "validation_mse": best})

    def refit(self, block: Block, task: Task, recipe: Recipe, chosen: Mapping[str, Any]) -> Files:
        return _files(*_solver(_moments(block, task))(chosen["alpha"]))

    def load(self, files: Files, task: Task) -> Predictor:
        from safetensors.numpy import load

        tensors = load(files["coefficients.safetensors"])
        return _Linear(tensors["weights"], tensors["intercept"], task)


def _design(features: Floats, first: Times, task: Task) -> Values:
    """[windows, columns]: value and lag columns of every row, then the calendar of the first forecast row."""
    fitted = task.fitted
    if not fitted.time_features:
        return features.reshape(len(features), -1).astype(np.float64)
    values = features[..., : -len(CALENDAR)]
    return np.hstack([values.reshape(len(values), -1), calendar(first, fitted.timezone)], dtype=np.float64)


def _moments(block: Block, task: Task) -> _Moments:
    """Means, then centred products, in chunks of fixed size: two passes lose no digits to cancellation."""
    count = len(block.origins)

    def chunks() -> Any:
        for start in range(0, count, CHUNK):
            part = Block(block.times, block.features, block.targets, block.origins[start : start + CHUNK])
            features, answers = part.windows(task)
            yield _design(features, block.times[part.origins], task), answers.reshape(len(answers), -1)

    x_sum, y_sum = 0.0, 0.0
    for x, y in chunks():
        x_sum, y_sum = x_sum + x.sum(axis=0), y_sum + y.sum(axis=0)
    x_mean, y_mean = np.asarray(x_sum) / count, np.asarray(y_sum) / count
    xx, xy = 0.0, 0.0
    for x, y in chunks():
        centred = x - x_mean
        xx, xy = xx + centred.T @ centred, xy + centred.T @ (y - y_mean)
    return _Moments(x_mean, y_mean, np.asarray(xx), np.asarray(xy))


def _solver(moments: _Moments) -> Any:
    """A function α ↦ (weights [columns, outputs], intercept [outputs]); one eigendecomposition serves every α."""
    values, vectors = np.linalg.eigh(moments.xx)
    projected = vectors.T @ moments.xy

    def solve(alpha: float) -> tuple[Values, Values]:
        weights = vectors @ (projected / (np.maximum(values, 0.0) + alpha)[:, None])
        return weights, moments.y_mean - moments.x_mean @ weights

    return solve


def _files(weights: Values, intercept: Values) -> Files:
    from safetensors.numpy import save

    tensors = {"intercept": np.ascontiguousarray(intercept), "weights": np.ascontiguousarray(weights)}
    return {"coefficients.safetensors": save(tensors)}
