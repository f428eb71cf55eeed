"""Fit one model: on the rows before the validation windows, then, for families that refit, on all of train.

The residuals of the validation windows, and where these are few of forward folds before them, give the intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flts.contracts.ports import Progress
from flts.contracts.records.model import Manifest, Try
from flts.forecasting.bundle import SCORES, build_manifest, write_scores
from flts.forecasting.model import Model
from flts.models.base import NONE_KNOWN, Block, Family, Files, Fit, ForecastTask, P, Recipe, Refits
from flts.preprocess.rows import Rows, Times, Values
from flts.preprocess.transform import transform
from flts.spec.search import searched_values
from flts.train.residuals import ENOUGH, before, folds, intervals_of, joined
from flts.train.search import search
from flts.train.windows import train_origins


@dataclass(frozen=True)
class FittedModel:
    """A fitted model before it is stored.

    validation_origins (UTC ns) and validation_forecasts [origins, horizon, targets]: the validation windows, in
    original units. tries: every combination of a grid.
    """

    files: Files
    manifest: Manifest
    fit: Fit
    validation_origins: Times
    validation_forecasts: Values
    tries: Sequence[Try] | None = None


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

    The table of the recipe may be a grid; the folds and the refit then have the combination that the tail chose.

    time_column: its name in the raw rows, by which a bundle finds the times of a history.
    """
    whole = whole_block(train, task)
    found = search(family, train, whole, task, recipe, validation_fraction, progress)
    given, recipe, fit, history = recipe.parameters, found.recipe, found.fit, family.history(task)
    residuals = found.tail
    if len(found.sampled) < ENOUGH:
        earlier = before(whole, found.first, whole.origins[whole.origins < found.first])
        residuals = joined([*folds(family, train, earlier, task, recipe, validation_fraction), found.tail])
    intervals, scores = intervals_of(residuals, task.fitted.target_range[1])

    files = fit.files
    if isinstance(family, Refits):
        progress.phase("refit")
        files = family.refit(whole, task, recipe, fit.chosen)
    if found.tries is not None:
        values = searched_values(given, recipe.parameters)
        fit = replace(fit, chosen={**fit.chosen, "parameters": values})
    if intervals.offsets is not None and not history.refitted:
        files = {**files, SCORES: write_scores(scores)}
        intervals = intervals.model_copy(update={"scores": SCORES})
    model = Model(family.load(files, task), task, history, intervals.scale)
    manifest = build_manifest(family, model, files, train, intervals, fit.chosen, time_column)
    return FittedModel(files, manifest, fit, train.times[found.sampled - 1], found.tail.mean, found.tries)


def whole_block(train: Rows, task: ForecastTask) -> Block:
    """All rows of train and every window in them. Features have no empty cells, targets keep theirs."""
    features, known = transform(train.times, train.values, task.fitted), NONE_KNOWN
    if task.known:
        given = task.fitted.clean(train.values)[:, task.known.index(task.fitted)]
        known = task.known.scaled(train.times, given, task.fitted)
    targets = task.fitted.scale_targets(task.fitted.clip(train.values)[:, task.fitted.target_index])
    origins = train_origins(train, task)
    return Block(train.times, features, targets, origins, known)
