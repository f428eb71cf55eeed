"""Fit one model: on the rows before the validation windows, then, for families that refit, on all of train.

The residuals of the validation windows give the intervals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flts.contracts.ports import Progress
from flts.contracts.records.model import Manifest
from flts.forecasting.bundle import build_manifest
from flts.forecasting.histories import Histories, one_per_stratum
from flts.forecasting.intervals import conformal_offsets
from flts.forecasting.model import Model
from flts.models.base import Block, Family, Files, Fit, ForecastTask, Indices, P, Recipe, Refits
from flts.preprocess.rows import Rows, Times, Values
from flts.preprocess.transform import transform
from flts.train.windows import split_validation, train_origins

MOST_VALIDATION_ORIGINS = 200


@dataclass(frozen=True)
class FittedModel:
    """A fitted model before it is stored.

    validation_origins (UTC ns) and validation_forecasts [origins, horizon, targets]: the validation windows, in
    original units.
    """

    files: Files
    manifest: Manifest
    fit: Fit
    validation_origins: Times
    validation_forecasts: Values


def fit_model(
    family: Family[P],
    train: Rows,
    task: ForecastTask,
    recipe: Recipe[P],
    validation_fraction: float,
    progress: Progress,
    *,
    time_column: str = "time",
) -> FittedModel:
    """Fit, validate and perhaps refit one model, and describe it in a manifest. Uses train rows only.

    time_column: its name in the raw rows, by which a bundle finds the times of a history.
    """
    progress.phase("fit")
    whole = whole_block(train, task)
    fit_origins, validation_origins = split_validation(whole.origins, task.horizon, validation_fraction)
    validation = Block(whole.times, whole.features, whole.targets, validation_origins)
    fit = family.fit(before(whole, int(validation_origins[0]), fit_origins), validation, task, recipe, progress)

    progress.phase("validate")
    sampled = one_per_stratum(validation_origins, MOST_VALIDATION_ORIGINS)
    model = Model(family.load(fit.files, task), task, family.history(task))
    answers = model.forecast_all(Histories(train, sampled))
    truth = train.select(task.fitted.targets)[sampled[:, None] + np.arange(task.horizon)]
    offsets = conformal_offsets(truth, answers.mean, answers.spread)

    files = fit.files
    if isinstance(family, Refits):
        progress.phase("refit")
        files = family.refit(whole, task, recipe, fit.chosen)
        model = Model(family.load(files, task), task, family.history(task))
    manifest = build_manifest(family, model, files, train, offsets, fit.chosen, time_column)
    return FittedModel(files, manifest, fit, train.times[sampled - 1], answers.mean)


def whole_block(train: Rows, task: ForecastTask) -> Block:
    """All rows of train and every window in them. Features have no empty cells, targets keep theirs."""
    features = transform(train.times, train.values, task.fitted)
    targets = task.fitted.scale_targets(task.fitted.clip(train.values)[:, task.fitted.target_index])
    origins = train_origins(train, task)
    return Block(train.times, features, targets, origins)


def before(whole: Block, row: int, origins: Indices) -> Block:
    """The rows before `row`, so that no later row can be seen; `origins`: its windows."""
    return Block(whole.times[:row], whole.features[:row], whole.targets[:row], origins)
