"""Errors of a model on windows that it was not fitted on: what its intervals are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from flts.contracts.errors import DataError, NotApplicable, TrainingFailed
from flts.contracts.ports import Progress, Silent
from flts.contracts.records.model import IntervalOffsets, Scale
from flts.forecasting.histories import Histories
from flts.forecasting.intervals import MIN_WINDOWS, conformal_offsets
from flts.forecasting.model import Model
from flts.forecasting.scale import choose, offered
from flts.models.base import Block, Family, Fit, ForecastTask, Indices, P, Recipe, Refits
from flts.preprocess.rows import Rows, Values
from flts.train.windows import split_validation

ENOUGH = 60
"""Validation windows from which their errors alone give the intervals."""
FOLDS = 5
MOST_IN_FOLDS = 140


@dataclass(frozen=True)
class Residuals:
    """Truth, NaN where empty, and mean [windows, horizon, targets], oldest first; spreads [windows, targets] by scale.

    In original units; the truth is neither filled nor clipped.
    """

    truth: Values
    mean: Values
    spreads: Mapping[Scale, Values]


def residuals_of(model: Model, train: Rows, origins: Indices) -> Residuals:
    """The residuals of these windows of train. Raises NotApplicable and TrainingFailed."""
    histories, targets = Histories(train, origins), train.select(model.task.fitted.targets)
    mean = model.forecast_all(histories).mean
    truth = targets[origins[:, None] + np.arange(model.task.horizon)]
    return Residuals(truth, mean, {scale: model.spread_all(histories, scale) for scale in offered(targets)})


def joined(parts: Iterable[Residuals]) -> Residuals:
    """The residuals of several sets of windows as one, in this order."""
    every = list(parts)
    spreads = {scale: np.concatenate([part.spreads[scale] for part in every]) for scale in every[0].spreads}
    return Residuals(
        np.concatenate([part.truth for part in every]), np.concatenate([part.mean for part in every]), spreads
    )


def intervals_of(residuals: Residuals, width: Values) -> tuple[IntervalOffsets, Values]:
    """The scale and the offsets of a model, and the scores behind them [windows, horizon, targets].

    width: range of each target over train.
    """
    few = IntervalOffsets(offsets=None, reason=None, scale="constant", scores=None)
    if len(residuals.truth) < MIN_WINDOWS:
        reason = f"fewer than {MIN_WINDOWS} validation windows"
        return few.model_copy(update={"reason": reason}), np.empty((0, *residuals.truth.shape[1:]))
    scale = choose(residuals.truth, residuals.mean, residuals.spreads, width)
    scores = np.abs(residuals.truth - residuals.mean) / residuals.spreads[scale][:, None, :]
    offsets = conformal_offsets(scores)
    if offsets is None:
        reason = f"at one step fewer than {MIN_WINDOWS} validation windows have a measured target"
        return few.model_copy(update={"reason": reason}), scores
    return IntervalOffsets(offsets=offsets, reason=None, scale=scale, scores=None), scores


def fit_before(
    family: Family[P], block: Block, task: ForecastTask, recipe: Recipe[P], fraction: float, progress: Progress
) -> tuple[Fit, Indices]:
    """Fit on the first windows of a block, choose on its last ones, which are returned too. Raises DataError."""
    fit_origins, validation_origins = split_validation(block.origins, task.horizon, fraction)
    validation = replace(block, origins=validation_origins)
    fit = family.fit(before(block, int(validation_origins[0]), fit_origins), validation, task, recipe, progress)
    return fit, validation_origins


def before(whole: Block, row: int, origins: Indices) -> Block:
    """The rows before `row`, so that no later row can be seen; `origins`: its windows."""
    return Block(whole.times[:row], whole.features[:row], whole.targets[:row], origins, whole.known[:row])


def folds(
    family: Family[P], train: Rows, block: Block, task: ForecastTask, recipe: Recipe[P], fraction: float
) -> Iterator[Residuals]:
    """Residuals of five folds over the later half of the windows of a block, at most 140, oldest first.

    Each fold is forecast by a model that was fitted, with all its choices, on the windows that end before the fold. One
    with too few rows before it for this family, or whose fit fails, gives no residuals: the model that is kept was
    fitted on more rows, and intervals count the residuals that there are.
    """
    count = min(len(block.origins) // 2, MOST_IN_FOLDS)
    for part in np.array_split(block.origins[len(block.origins) - count :], FOLDS):
        if not len(part):
            continue
        first = int(part[0])
        earlier = before(block, first, block.origins[block.origins + task.horizon <= first])
        try:
            fit, _ = fit_before(family, earlier, task, recipe, fraction, Silent())
            files = family.refit(earlier, task, recipe, fit.chosen) if isinstance(family, Refits) else fit.files
            model = Model(family.load(files, task), task, family.history(task))
            yield residuals_of(model, train, part)
        except (DataError, NotApplicable, TrainingFailed):
            continue
