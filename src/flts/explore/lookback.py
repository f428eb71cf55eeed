"""How much history pays, measured on the validation windows of train: the test windows are for the judge alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flts.contracts.errors import DataError
from flts.contracts.ports import Silent
from flts.forecasting.histories import one_per_stratum
from flts.models.base import Block, ForecastTask, Recipe
from flts.models.ridge import Ridge
from flts.preprocess.rows import Rows
from flts.preprocess.stage import ProcessedDataset
from flts.spec.models import RidgeParameters as Parameters
from flts.train.fitting import whole_block
from flts.train.residuals import before
from flts.train.windows import split_validation

LADDER = (8, 16, 32, 64, 128, 256)
FEWEST = 6
"""Shortest history to suggest, unless train or test allow only less: a network needs some rows to remember."""
LONGEST = 400
"""Rows of history beyond which networks take hours; the calendar columns cover longer cycles."""
FLATTENED = 2000
"""Most cells of a window: a linear map of more is slow to solve, and rarely better."""
FIT_WINDOWS, VALIDATION_WINDOWS = 4000, 1000
NEAR = 1.01
"""A shorter history is preferred while its error is within one percent of the best."""


@dataclass(frozen=True)
class Tried:
    """Root mean squared errors by input_length, in original units, and the number of validation windows behind them."""

    errors: Mapping[int, float]
    windows: int

    @property
    def chosen(self) -> int:
        """The shortest history that is nearly as good as the best."""
        best = min(self.errors.values())
        return min(length for length, error in self.errors.items() if error <= NEAR * best)


def candidates(train_rows: int, most: int, columns: int, horizon: int, seasons: Sequence[int]) -> list[int]:
    """Lengths worth trying: a ladder and the seasons, up to `most` rows, where train holds four windows.

    None is below the shortest season, if that fits: the next season needs the last one.
    """
    cap = min(LONGEST, (train_rows - horizon) // 4, most, max(24, FLATTENED // max(1, columns)))
    marks = {season * times for season in seasons for times in (1, 2)}
    ladder = [step for step in LADDER if all(abs(step - mark) > mark // 8 for mark in marks)]
    least = max(FEWEST, min((season for season in seasons if season <= cap), default=FEWEST))
    return sorted(length for length in {*marks, *ladder} if least <= length <= cap) or [max(1, min(FEWEST, cap))]


def try_lengths(
    dataset: ProcessedDataset, lengths: Sequence[int], task: ForecastTask, validation_fraction: float
) -> Tried | None:
    """Fit ridge on the target's own past once per length, each time on the same windows, and validate it on the same.

    task: of the forecast, with any input_length. At most FIT_WINDOWS and VALIDATION_WINDOWS windows are used. None when
    train has too few windows for the longest.
    """
    targets = dataset.fitted.targets
    columns = tuple(column for column in dataset.fitted.columns if column.name in targets)
    fitted = replace(dataset.fitted, columns=columns)
    rows = Rows(dataset.train.times, dataset.train.select(fitted.names), fitted.names)
    task = replace(task, fitted=fitted)
    whole = whole_block(rows, replace(task, input_length=max(lengths)))
    try:
        fit, validation = split_validation(whole.origins, task.horizon, validation_fraction)
    except DataError:
        return None
    block = before(whole, int(validation[0]), one_per_stratum(fit, FIT_WINDOWS))
    judged = Block(whole.times, whole.features, whole.targets, one_per_stratum(validation, VALIDATION_WINDOWS))
    _, width = fitted.target_range
    recipe = Recipe(Parameters(), patience=1, seed=0)
    task = replace(task, seasons=())  # or ridge would look at earlier seasons, however short the window is
    errors = {}
    for length in lengths:
        ridge = Ridge().fit(block, judged, replace(task, input_length=length), recipe, Silent())
        errors[length] = math.sqrt(ridge.chosen["validation_mse"]) * float(width[0])
    return Tried(errors, len(judged.origins))
