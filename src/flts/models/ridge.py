"""Ridge regression on the flattened window: cheap, and often as good as a network.

    minimise ‖P(Y − XW − 1b)‖² + α‖W‖²   (Hoerl and Kennard 1970), columns centred, the intercept b unpenalised

X: value and lag columns of every row of the window, then the calendar features of the first forecast row. Y: all steps
and targets, scaled to their range over train. P keeps the measured cells of Y. The validation windows choose α, whether
covariates are used, and whether Fourier terms of the seasons are added to the calendar (docs/decisions/0001).

With fewer windows than columns the dual is solved, W = Xᵀ(XXᵀ + αI)⁻¹Y (Saunders, Gammerman and Vovk 1998): the same
map, from a matrix of windows × windows instead of columns × columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
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

Solution = tuple[Values, Values]
"""Weights [columns, outputs] and intercept [outputs]; an output is a step of a target."""


@dataclass(frozen=True)
class Design:
    """Which columns the linear map uses."""

    covariates: bool
    fourier: bool

    def columns(self, features: Floats, first: Times, task: ForecastTask) -> Values:
        """The columns [windows, columns] of features [windows, input_length, features] and the first forecast times."""
        values = self.of_row(features, task)
        return np.hstack([values.reshape(len(values), -1), *self._of_date(first, task)], dtype=np.float64)

    def parts(self, block: Block, task: ForecastTask) -> Iterator[Values]:
        """The same columns of all windows of a block, those of one row of the window at a time."""
        for row in range(-task.input_length, 0):
            yield self.of_row(block.features[block.origins + row], task).astype(np.float64)
        yield from self._of_date(block.times[block.origins], task)

    def width(self, block: Block, task: ForecastTask) -> int:
        """How many columns there are."""
        one = replace(block, origins=block.origins[:1])
        return sum(part.shape[1] for part in self.parts(one, task))

    def of_row(self, features: Floats, task: ForecastTask) -> Floats:
        """The value and lag columns among features [..., features]."""
        fitted = task.fitted
        values = features[..., : len(fitted.features) - len(fitted.calendar)]
        if self.covariates:
            return values
        lags = range(len(fitted.names), values.shape[-1])
        return values[..., [*fitted.target_index, *lags]]

    def _of_date(self, first: Times, task: ForecastTask) -> list[Values]:
        """The columns that depend on the first forecast times [windows]."""
        dates = [calendar(first, task.fitted)] if task.fitted.calendar else []
        return [*dates, _fourier(first, task)] if self.fourier else dates


class _Linear:
    def __init__(self, design: Design, weights: Values, intercept: Values, task: ForecastTask) -> None:
        self._design, self._weights, self._intercept, self._task = design, weights, intercept, task
        self.targets_alone = not design.covariates

    def predict(self, window: Window) -> Values:
        task = self._task
        columns = self._design.columns(window.features[:, -task.input_length :], window.future(1)[:, 0], task)
        return (columns @ self._weights + self._intercept).reshape(-1, task.horizon, task.targets)


class Ridge:
    """Forecasts by a linear map of the window."""

    name = "ridge"
    parameters = RidgeParameters
    version = 2
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
            alphas = sorted(recipe.parameters.alphas, reverse=True)
            for alpha, (weights, intercept) in zip(alphas, _solutions(block, design, task, alphas), strict=True):
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
        (solution,) = _solutions(block, design, task, [chosen["alpha"]])
        return _files(design, *solution)

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


def _solutions(block: Block, design: Design, task: ForecastTask, alphas: Sequence[float]) -> Iterator[Solution]:
    """The solution for every α, in their order. All α share the eigendecompositions."""
    primal = design.width(block, task) <= len(block.origins)
    return (_primal if primal else _dual)(block, design, task, alphas)


def _primal(block: Block, design: Design, task: ForecastTask, alphas: Sequence[float]) -> Iterator[Solution]:
    """Solve with the Gram matrix of the columns.

    Means are taken in a pass of their own, so that no digits cancel. Where outputs miss some windows, their matrix is
    that of all windows minus those, moved to the mean of the others.
    """
    measured = _measured(block, task)
    sums = [(x.sum(axis=0), np.nansum(y, axis=0)) for x, y in _chunks(block, design, task)]
    x_sum, y_sum = (np.sum(part, axis=0) for part in zip(*sums, strict=True))
    x_mean, y_mean = x_sum / len(block.origins), _means(y_sum, measured, block)
    xx, xy = np.zeros((len(x_mean), len(x_mean))), np.zeros((len(x_mean), len(y_mean)))
    for x, y in _chunks(block, design, task):
        centred = x - x_mean
        xx += centred.T @ centred
        xy += centred.T @ _centred(y, y_mean)
    weights = np.zeros((len(alphas), *xy.shape))
    intercepts = np.tile(y_mean, (len(alphas), 1))
    for kept, outputs in _groups(measured):
        gram, mean = xx, x_mean
        if not kept.all():
            gram, missed = xx.copy(), np.zeros(len(x_mean))
            for x, _ in _chunks(replace(block, origins=block.origins[~kept]), design, task):
                centred = x - x_mean
                gram -= centred.T @ centred
                missed += centred.sum(axis=0)
            shift = -missed / kept.sum()
            gram -= kept.sum() * np.outer(shift, shift)
            mean = x_mean + shift
        solved = _penalised(gram, xy[:, outputs], alphas)
        weights[..., outputs] = solved
        intercepts[:, outputs] -= [mean @ of_alpha for of_alpha in solved]
    yield from zip(weights, intercepts, strict=True)


def _dual(block: Block, design: Design, task: ForecastTask, alphas: Sequence[float]) -> Iterator[Solution]:
    """Solve with the Gram matrix of the windows; the columns are made row by row of the window, never all at once."""
    measured = _measured(block, task)
    answers = block.answers(task).reshape(measured.shape)
    y_mean = _means(np.nansum(answers, axis=0), measured, block)
    y = _centred(answers, y_mean)
    means, gram = [], np.zeros((len(y), len(y)))
    for x in design.parts(block, task):
        means.append(x.mean(axis=0))
        centred = x - means[-1]
        gram += centred @ centred.T
    factors = np.zeros((len(alphas), *y.shape))
    for kept, outputs in _groups(measured):
        own = gram[np.ix_(kept, kept)]
        mean = own.mean(axis=0)
        own = own - mean - mean[:, None] + mean.mean()  # the windows about their own mean
        factors[:, np.flatnonzero(kept)[:, None], outputs] = _penalised(own, y[np.ix_(kept, outputs)], alphas)
    for of_alpha in factors:
        # the factors of an output sum to zero, so the columns may be centred about any mean
        parts = zip(design.parts(block, task), means, strict=True)
        weights = np.vstack([(x - mean).T @ of_alpha for x, mean in parts])
        above = (gram @ of_alpha * measured).sum(axis=0) / np.maximum(measured.sum(axis=0), 1)
        yield weights, y_mean - above - np.concatenate(means) @ weights


def _penalised(gram: Values, right: Values, alphas: Sequence[float]) -> Values:
    """(gram + αI)⁻¹ right for every α: [alphas, size, outputs]."""
    values, vectors = np.linalg.eigh(gram)
    projected = vectors.T @ right
    return np.stack([vectors @ (projected / (np.maximum(values, 0.0) + alpha)[:, None]) for alpha in alphas])


def _measured(block: Block, task: ForecastTask) -> NDArray[np.bool_]:
    """Which cells of Y were measured: [windows, outputs]."""
    rows = ~np.isnan(block.targets)
    steps = [rows[block.origins + step] for step in range(task.horizon)]  # not all at once: that takes 64 times as much
    return np.stack(steps, axis=1).reshape(len(block.origins), -1)


def _means(sums: Values, measured: NDArray[np.bool_], block: Block) -> Values:
    """Mean of each output over its measured cells; an output that no window holds has the mean of its target."""
    count = measured.sum(axis=0)
    means: Values = sums / np.maximum(count, 1)
    if count.all():
        return means
    levels = np.nanmean(block.targets, axis=0)
    return np.where(count > 0, means, np.tile(levels, len(means) // len(levels)))


def _centred(answers: Values, mean: Values) -> Values:
    """Answers about their mean; a cell that was not measured adds nothing to a sum."""
    centred: Values = np.nan_to_num(answers - mean)
    return centred


def _groups(measured: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.bool_], Indices]]:
    """Outputs that were measured in the same windows, and so share one solution: those windows, and the outputs."""
    masks, group = np.unique(measured, axis=1, return_inverse=True)
    for number, kept in enumerate(masks.T):
        if kept.any():
            yield kept, np.flatnonzero(group.reshape(-1) == number)


def _loss(validation: Block, design: Design, weights: Values, intercept: Values, task: ForecastTask) -> float:
    """Mean squared scaled error over the measured cells of the validation windows."""
    squares, cells = 0.0, 0
    for x, y in _chunks(validation, design, task):
        squares += float(np.nansum((x @ weights + intercept - y) ** 2))
        cells += int((~np.isnan(y)).sum())
    return squares / cells


def _files(design: Design, weights: Values, intercept: Values) -> Files:
    from safetensors.numpy import save

    tensors: dict[str, NDArray[Any]] = {
        "design": np.array([design.covariates, design.fourier], dtype=np.uint8),
        "intercept": np.ascontiguousarray(intercept),
        "weights": np.ascontiguousarray(weights),
    }
    return {"coefficients.safetensors": save(tensors)}
