"""Ridge regression on the past of the targets: cheap, and often as good as a network.

A linear map with a squared penalty (`least_squares.py`) from the window, rows of the same phase in earlier seasons and
the calendar of the first forecast row to all steps and targets. Past and answers are measured from the last value of
the window and divided by its spread, so a level that train has not seen changes nothing. The validation windows choose
the penalty, and another design only where it lowers their error clearly (docs/decisions/0010).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flts.contracts.ports import Progress
from flts.models.base import Block, Files, Fit, ForecastTask, History, Predictor, Recipe, Window
from flts.models.least_squares import solutions
from flts.models.past import Past, phased, rows_back
from flts.models.ridge_design import LEVELS, LONGER, Dates, Design, Designed
from flts.models.ridge_version2 import LinearVersion2
from flts.preprocess.rows import Values
from flts.spec.models import RidgeParameters

Tensors = Mapping[str, NDArray[Any]]

CLEARLY = 0.9
"""A further design must have less than this share of the mean squared error of the one before it."""
FEW = 60
"""Validation windows below which forward folds over the windows before them choose too."""
FOLDS = 4
MOST_TRIED = 5_000
"""Windows on which a design is tried at most; the chosen one is fitted to all."""


class _Linear:
    def __init__(self, design: Design, tensors: Tensors, task: ForecastTask) -> None:
        self._design, self._tensors, self._task = design, tensors, task
        self.targets_alone = not design.covariates

    def predict(self, window: Window) -> Values:
        task, past = self._task, Past.of_window(window, self._task)
        features = []
        if self._design.covariates:
            features = [window.features[:, row] for row in range(-task.input_length, 0)]
        level, spread = self._design.measure(past, self._tensors["typical"])
        dates = Dates(window.future(1)[:, 0], task)
        parts = self._design.parts(past, (level, spread), dates, features, task)
        answers = np.hstack([*parts]) @ self._tensors["weights"] + self._tensors["intercept"]
        answers = answers.reshape(-1, task.horizon, task.targets)
        return answers * spread[:, None] + level[:, None]


@dataclass(frozen=True)
class _Choice:
    design: Design
    alpha: float
    loss: float
    """Mean squared scaled error over the windows that chose."""


class Ridge:
    """Forecasts by a linear map of the past."""

    name = "ridge"
    parameters = RidgeParameters
    version = 3
    extra = None
    libraries: Sequence[str] = ()
    cost = 1

    def history(self, task: ForecastTask) -> History:
        return History(wanted=rows_back(task), minimum=task.input_length)

    def fit(
        self, block: Block, validation: Block, task: ForecastTask, recipe: Recipe[RidgeParameters], progress: Progress
    ) -> Fit:
        choice = _choose([*_forward(block, validation, task)], task, recipe.parameters.alphas)
        tensors = _solved(block, choice.design, task, choice.alpha)
        judged = Designed(validation, choice.design, task, tensors["typical"])
        squares, cells = judged.loss(tensors["weights"], tensors["intercept"])
        chosen = {"alpha": choice.alpha, **choice.design.stored(), "validation_mse": squares / cells}
        return Fit(_files(tensors), chosen)

    def refit(
        self, block: Block, task: ForecastTask, recipe: Recipe[RidgeParameters], chosen: Mapping[str, Any]
    ) -> Files:
        design = Design(**{field.name: chosen[field.name] for field in fields(Design) if field.name in chosen})
        return _files(_solved(block, design, task, chosen["alpha"]))

    def load(self, files: Files, task: ForecastTask) -> Predictor:
        from safetensors.numpy import load

        tensors = load(files["coefficients.safetensors"])
        if len(tensors["design"]) == len(("covariates", "fourier")):
            return LinearVersion2(tensors, task)
        level, *flags = tensors["design"].tolist()
        design = Design(LEVELS[level], *(flag == 1 for flag in flags))
        return _Linear(design, tensors, task)


def _solved(block: Block, design: Design, task: ForecastTask, alpha: float) -> Tensors:
    """The tensors of a bundle."""
    level, *flags = design.stored().values()
    typical = _typical(block, task)
    ((weights, intercept),) = solutions(Designed(block, design, task, typical), [alpha])
    return {
        "design": np.array([LEVELS.index(level), *flags], dtype=np.uint8),
        "intercept": np.ascontiguousarray(intercept),
        "typical": typical,
        "weights": np.ascontiguousarray(weights),
    }


def _typical(block: Block, task: ForecastTask) -> Values:
    """Root mean square of the spread of its windows: [targets]."""
    spread = Past.of_block(_spaced(block), task).spread
    typical: Values = np.sqrt(np.mean(spread**2, axis=0))
    return typical


def _forward(block: Block, validation: Block, task: ForecastTask) -> Iterator[tuple[Block, Block]]:
    """Windows to fit and later ones to judge: the validation windows and, where these are few, forward folds too.

    No row that a fold is judged on is one that it was fitted on.
    """
    origins = block.origins
    if len(validation.origins) < FEW:
        for part in np.array_split(origins[len(origins) // 2 :], FOLDS):
            earlier = origins[origins + task.horizon <= part[0]] if len(part) else part
            if len(earlier):
                yield replace(block, origins=earlier), replace(block, origins=part)
    yield block, validation


def _choose(splits: Sequence[tuple[Block, Block]], task: ForecastTask, alphas: Sequence[float]) -> _Choice:
    """Start with the plain design, and change one thing after another where that lowers the error clearly."""
    plain = Design(phases=bool(phased(task)), fourier=bool(task.seasons), known=bool(task.known))
    systems = []
    for fitted, judged in splits:
        complete = _complete(fitted, task)
        typical = _typical(complete, task)
        systems.append((Designed(complete, plain, task, typical), Designed(judged, plain, task, typical)))
    best = _tried(plain, systems, alphas)
    for change in _changes(task):
        other = replace(best.design, **change)
        if other != best.design:
            tried = _tried(other, systems, alphas)
            best = tried if tried.loss < CLEARLY * best.loss else best
    return best


def _changes(task: ForecastTask) -> Iterator[dict[str, Any]]:
    """What may be different from the plain design, where it makes a difference for this task."""
    yield from ({"level": level} for level in LEVELS[1:])
    yield from ({"fourier": False}, {"phases": False})
    if min(rows_back(task), LONGER) > task.input_length:
        yield {"longer": True}
    if len(task.fitted.names) > task.targets:
        yield {"covariates": True}
    if task.known:
        yield {"known": False}


def _tried(design: Design, systems: Sequence[tuple[Designed, Designed]], alphas: Sequence[float]) -> _Choice:
    """The penalty with the smallest error of a design; on a tie the larger one."""
    alphas = sorted(alphas, reverse=True)
    squares, cells = np.zeros(len(alphas)), 0
    for fitted, judged in systems:
        windows = judged.by(design)
        for i, solution in enumerate(solutions(fitted.by(design), alphas)):
            found, count = windows.loss(*solution)
            squares[i] += found
        cells += count
    best = int(np.argmin(squares))
    return _Choice(design, alphas[best], float(squares[best]) / cells)


def _complete(block: Block, task: ForecastTask) -> Block:
    """Windows of a block to try designs on; where most are complete, only those.

    They share one eigendecomposition; each step of the others would need its own.
    """
    complete: NDArray[np.bool_] = np.asarray(~np.isnan(block.answers(task)).any(axis=(1, 2)))
    most = 2 * complete.sum() >= len(complete)
    return _spaced(replace(block, origins=block.origins[complete]) if most else block)


def _spaced(block: Block) -> Block:
    """At most MOST_TRIED windows of a block, evenly spaced, counted back from the newest."""
    every = -(-len(block.origins) // MOST_TRIED)
    return replace(block, origins=block.origins[::-1][::every][::-1])


def _files(tensors: Tensors) -> Files:
    from safetensors.numpy import save

    return {"coefficients.safetensors": save({**tensors})}
