"""Fit a family on a small series, and build the parts of a fit that tests need one by one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from flts.contracts.ports import Silent
from flts.forecasting.histories import Histories
from flts.forecasting.model import Model
from flts.models.base import NOTHING, Block, Family, ForecastTask, P, Recipe, Window
from flts.preprocess.fit import fit
from flts.preprocess.infer import infer_grid
from flts.preprocess.known import Known
from flts.preprocess.rows import Rows
from flts.spec.fields import Preprocess
from flts.train.fitting import FittedModel, fit_model, whole_block
from flts.train.residuals import before
from flts.train.windows import split_validation


def task_on(
    train: Rows,
    targets: tuple[str, ...] = ("load",),
    *,
    input_length: int = 12,
    horizon: int = 3,
    seasons: tuple[int, ...] = (24,),
    timezone: str = "UTC",
    **preprocess: Any,
) -> ForecastTask:
    """A task on processed train rows; preprocess: values of that table of the Spec."""
    rules = Preprocess.model_validate(preprocess)
    grid = infer_grid(train.times, "infer", timezone, rules.resample, "train")
    fitted = fit(train, rules, grid).preprocess
    return ForecastTask(input_length, horizon, seasons, fitted.for_targets(targets), 0.75)


def blocks(train: Rows, task: ForecastTask, fraction: float = 0.1) -> tuple[Block, Block]:
    """The two blocks that a fit receives: rows before the validation windows, and the validation windows."""
    whole = whole_block(train, task)
    fit_origins, validation = split_validation(whole.origins, task.horizon, fraction)
    return before(whole, int(validation[0]), fit_origins), replace(whole, origins=validation)


def window(rows: Rows, task: ForecastTask) -> Window:
    """A window with one history, made of all these rows."""
    return Window(rows.times[None], task.fitted.clean(rows.values[None]), ~np.isnan(rows.values[None]), task.fitted)


def use_one_thread(family: Family[Any]) -> None:
    """Use one thread, as trainers do by default; tiny networks are far slower with more."""
    if "torch" in family.libraries:
        import torch

        torch.set_num_threads(1)


@dataclass(frozen=True)
class FittedFamily:
    """A family fitted on the first rows of a series, and the later rows that it has not seen."""

    family: Family[Any]
    train: Rows
    later: Rows
    task: ForecastTask
    result: FittedModel

    @cached_property
    def model(self) -> Model:
        """The model, loaded once from its files."""
        return self.load()

    def load(self) -> Model:
        """Load the model again."""
        predictor = self.family.load(self.result.files, self.task)
        return Model(predictor, self.task, self.family.history(self.task))

    def histories(self, origins: int = 5) -> Histories:
        """Histories that end in the rows that the fit has not seen."""
        return Histories(self.train.then(self.later), len(self.train) + np.arange(origins, dtype=np.int64))


def fit_family(
    family: Family[P],
    parameters: P,
    rows: Rows,
    targets: tuple[str, ...],
    later: int = 12,
    patience: int = 3,
    known: Known = NOTHING,
) -> FittedFamily:
    """Fit a family on all but the last rows of a series, in this process and with one thread.

    known: what it may see of the rows to forecast.
    """
    use_one_thread(family)
    train = rows[:-later]
    task = replace(task_on(train, targets), known=known)
    fitted = fit_model(family, train, task, Recipe(parameters, patience, seed=42), 0.1, Silent())
    return FittedFamily(family, train, rows[-later:], task, fitted)
