"""Fit every combination of a grid; the one with the lowest error on the validation windows is kept.

A table without lists is a grid of one, so every fit goes this way. The combinations share the time limit of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic

import numpy as np

from flts.contracts.errors import NotApplicable, TrainingFailed
from flts.contracts.ports import Progress
from flts.contracts.records.base import plain_json
from flts.contracts.records.model import Try
from flts.forecasting.histories import one_per_stratum
from flts.forecasting.model import Model
from flts.models.base import Block, Family, Fit, ForecastTask, Indices, P, Recipe
from flts.preprocess.rows import Rows
from flts.spec.search import combinations, searched_values
from flts.train.residuals import Residuals, fit_before, residuals_of

MOST_VALIDATION_ORIGINS = 200


@dataclass(frozen=True)
class BestFit(Generic[P]):
    """The fit that is kept, and its residuals `tail` on the validation windows.

    first: origin of the first validation window; sampled: those that are forecast; tries: None where there was nothing
    to choose.
    """

    recipe: Recipe[P]
    fit: Fit
    first: int
    sampled: Indices
    tail: Residuals
    tries: Sequence[Try] | None


def search(
    family: Family[P],
    train: Rows,
    whole: Block,
    task: ForecastTask,
    recipe: Recipe[P],
    fraction: float,
    progress: Progress,
) -> BestFit[P]:
    """Fit the recipe with each combination of its table. Of equal errors, the first combination wins.

    A combination that cannot be fitted is left out. Raises its error where all are, and DataError.
    """
    tables = combinations(recipe.parameters)
    best: BestFit[P] | None = None
    lowest, first_error, tries = np.inf, None, []
    for number, table in enumerate(tables, 1):
        progress.phase("fit" if len(tables) == 1 else f"fit {number} of {len(tables)}")
        one = replace(recipe, parameters=table)
        values = plain_json(searched_values(recipe.parameters, table))
        try:
            found = _try(family, train, whole, task, one, fraction, progress)
        except (NotApplicable, TrainingFailed) as error:
            first_error = first_error or error
            tries.append(Try(parameters=values, validation_mse=None, error=str(error)))
            continue
        loss = mean_squared_error(found.tail, task)
        tries.append(Try(parameters=values, validation_mse=loss, error=None))
        if best is None or loss < lowest:
            best, lowest = found, loss
    if best is None:
        assert first_error is not None
        raise first_error
    return best if len(tables) == 1 else replace(best, tries=tries)


def mean_squared_error(residuals: Residuals, task: ForecastTask) -> float:
    """Mean squared error of the measured cells, each target scaled to its range over train."""
    _, width = task.fitted.target_range
    return float(np.nanmean(((residuals.truth - residuals.mean) / width) ** 2))


def _try(
    family: Family[P],
    train: Rows,
    whole: Block,
    task: ForecastTask,
    recipe: Recipe[P],
    fraction: float,
    progress: Progress,
) -> BestFit[P]:
    fit, origins = fit_before(family, whole, task, recipe, fraction, progress)
    progress.phase("validate")
    sampled = one_per_stratum(origins, MOST_VALIDATION_ORIGINS)
    tail = residuals_of(Model(family.load(fit.files, task), task, family.history(task)), train, sampled)
    return BestFit(recipe, fit, int(origins[0]), sampled, tail, None)
