"""Gradient-boosted trees (Friedman 2001) by LightGBM (Ke et al. 2017): one model per target for all steps.

A row is one step of one window. Its label is the target less the last value, divided by the spread of the window, so a
level that train has not seen changes nothing. Its columns: the step; the rows of the same phase one and two seasons
back and the newest rows of the window, by the same measure; the phase of every season and the calendar of the row to
forecast; the other columns in the last row; the columns that are known ahead, in the row to forecast and in those of
its phase one season back. Errors are weighted with the squared spread, which makes the loss that of
scaled targets. The validation windows choose the number of trees, and all of train fits as many again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flts.contracts.errors import NotApplicable, UsageError
from flts.contracts.ports import Progress
from flts.models.base import Block, Files, Fit, Floats, ForecastTask, History, Indices, Predictor, Recipe, Window
from flts.models.past import BACK, Past, phased, rows_back, same_phase
from flts.models.trees import checked
from flts.preprocess.rows import Times, Values
from flts.preprocess.transform import calendar
from flts.spec.models import GbmParameters

if TYPE_CHECKING:
    import lightgbm

RECENT = 24
"""Newest rows of a window that are columns."""
MOST_ROWS = 40_000
"""Rows of a fit at most; with more, evenly spaced windows are taken, counted back from the newest."""
PATIENCE = 30
"""Trees without a better validation loss before a fit stops."""
MOST_SEED = 2**31
FIXED: Mapping[str, Any] = {
    "objective": "regression",
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,  # else it measures which way is faster, and sums in another order
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "min_data_in_leaf": 20,
    "verbose": -1,
}


@dataclass(frozen=True)
class _Rows:
    """Columns [windows × horizon, columns] of one target, and what turns an output into a scaled forecast.

    level, spread [windows].
    """

    columns: Values
    level: Values
    spread: Values

    def labels(self, answers: Values) -> Values:
        """What is fitted to answers [windows, horizon]: NaN where nothing was measured."""
        labels: Values = (answers - self.level[:, None]) / self.spread[:, None]
        return labels.reshape(-1)

    def forecasts(self, outputs: Values) -> Values:
        """The inverse of `labels`."""
        return outputs.reshape(len(self.level), -1) * self.spread[:, None] + self.level[:, None]


class _Trees:
    def __init__(self, boosters: Sequence[lightgbm.Booster], task: ForecastTask) -> None:
        self._boosters, self._task = boosters, task

    def predict(self, window: Window) -> Values:
        task = self._task
        past, last = Past.of_window(window, task), window.features[:, -1]
        forecasts = []
        for target, booster in enumerate(self._boosters):
            rows = _rows(past, last, window.future(task.horizon), target, task)
            forecasts.append(rows.forecasts(np.asarray(booster.predict(rows.columns, num_threads=1))))
        return np.stack(forecasts, axis=-1)


class Gbm:
    """Forecasts by boosted trees."""

    name = "gbm"
    parameters = GbmParameters
    version = 1
    extra = "gbm"
    libraries: Sequence[str] = ("lightgbm",)
    cost = 3

    def history(self, task: ForecastTask) -> History:
        return History(wanted=rows_back(task), minimum=task.input_length)

    def fit(
        self, block: Block, validation: Block, task: ForecastTask, recipe: Recipe[GbmParameters], progress: Progress
    ) -> Fit:
        lightgbm, boosters = _library(), []
        for fitted, judged in zip(_datasets(block, task), _datasets(validation, task), strict=True):
            sets, stop = [judged.set_reference(fitted)], lightgbm.early_stopping(PATIENCE, verbose=False)
            options, rounds = _options(recipe), recipe.parameters.rounds
            boosters.append(lightgbm.train(options, fitted, rounds, valid_sets=sets, callbacks=[stop]))
        trees = [max(booster.best_iteration, 1) for booster in boosters]
        return Fit(_files(boosters, trees), {"trees": trees})

    def refit(
        self, block: Block, task: ForecastTask, recipe: Recipe[GbmParameters], chosen: Mapping[str, Any]
    ) -> Files:
        lightgbm, trees = _library(), chosen["trees"]
        boosters = [lightgbm.train(_options(recipe), *fit) for fit in zip(_datasets(block, task), trees, strict=True)]
        return _files(boosters, trees)

    def load(self, files: Files, task: ForecastTask) -> Predictor:
        lightgbm = _library()
        texts = [checked(files[_file(target)].decode(), len(_names(task))) for target in range(task.targets)]
        return _Trees([lightgbm.Booster(model_str=text) for text in texts], task)


def _library() -> ModuleType:
    """LightGBM. Raises UsageError where the system has no OpenMP for it."""
    try:
        import lightgbm
    except OSError as error:  # its shared library asks for another one
        raise UsageError(
            f"the model 'gbm' needs the system's libgomp, which LightGBM's wheel leaves out: apt-get install libgomp1"
            f" (Debian), dnf install libgomp (Fedora), brew install libomp (macOS); {error}",
            code="system-library",
        ) from None
    return lightgbm


def _options(recipe: Recipe[GbmParameters]) -> dict[str, Any]:
    parameters = recipe.parameters
    return {
        **FIXED,
        "learning_rate": parameters.learning_rate,
        "num_leaves": parameters.leaves,
        "seed": recipe.seed % MOST_SEED,
    }


def _file(target: int) -> str:
    return f"trees-{target + 1}.txt"


def _files(boosters: Sequence[lightgbm.Booster], trees: Sequence[int]) -> Files:
    """LightGBM's own text of each target's model, without what only a continued fit needs."""
    return {
        _file(target): booster.model_to_string(num_iteration=count).encode()
        for target, (booster, count) in enumerate(zip(boosters, trees, strict=True))
    }


def _datasets(block: Block, task: ForecastTask) -> Iterator[lightgbm.Dataset]:
    """Columns, labels and weights of each target. Raises NotApplicable for a target that no window measured."""
    lightgbm = _library()
    every = max(1, -(-len(block.origins) * task.horizon // MOST_ROWS))
    block = replace(block, origins=block.origins[::-1][::every][::-1])
    past, last = Past.of_block(block, task), block.features[block.origins - 1]
    future, answers = task.fitted.grid.after(block.times[block.origins - 1], task.horizon), block.answers(task)
    for target, name in enumerate(task.fitted.targets):
        rows = _rows(past, last, future, target, task)
        labels = rows.labels(answers[..., target])
        known = ~np.isnan(labels)
        if not known.any():
            raise NotApplicable(f"needs a measured '{name}' in the windows of train", code="nothing-measured")
        weights = np.repeat(rows.spread**2, task.horizon)[known]
        yield lightgbm.Dataset(
            rows.columns[known],
            labels[known],
            weight=weights / weights.mean(),
            feature_name=_names(task),
            params=dict(FIXED),
        )


def _names(task: ForecastTask) -> list[str]:
    """The columns in the order of `_rows`; LightGBM takes no spaces or punctuation in names."""
    seasons = phased(task)
    return [
        "step",
        *(f"season_{season}_back_{back}" for season in seasons for back in range(1, BACK + 1)),
        *(f"phase_of_{season}" for season in task.seasons),
        *task.fitted.calendar,
        *(f"known_{i}" for i in range(len(task.known))),
        *(f"known_{i}_of_{season}" for season in seasons for i in range(len(task.known))),
        *(f"row_{row}" for row in _recent(task).tolist()),
        "spread",
        "mean_of_window",
        *(f"mean_of_{season}" for season in seasons[:1]),
        *(f"column_{i}" for i in range(len(task.fitted.names) - 1)),
    ]


def _rows(past: Past, last: Floats, future: Times, target: int, task: ForecastTask) -> _Rows:
    """The rows of one target: last [windows, features], the newest row of each; future [windows, horizon]."""
    values, level, spread = past.values[..., target], past.last[:, target], past.spread[:, target]
    seasons, horizon = phased(task), np.arange(task.horizon)

    def measured_from_level(found: Values) -> Values:
        return (found - level[:, None]) / spread[:, None]

    earlier = [same_phase(season, task.horizon, back) for season in seasons for back in range(1, BACK + 1)]
    of_step: list[NDArray[Any]] = [np.broadcast_to(horizon, future.shape)]
    of_step += [measured_from_level(values[:, rows]) for rows in earlier]
    of_step += [task.fitted.grid.positions(future) % season for season in task.seasons]
    if task.fitted.calendar:
        of_step += [*np.moveaxis(calendar(future, task.fitted), -1, 0)]
    if task.known:
        ahead = [past.known_at(horizon), *(past.known_at(same_phase(season, task.horizon, 1)) for season in seasons)]
        of_step += [column for known in ahead for column in np.moveaxis(known, -1, 0)]
    means = [past.mean[:, [target]], *(_mean(values[:, -season:])[:, None] for season in seasons[:1])]
    others = [i for i in range(len(task.fitted.names)) if i != task.fitted.target_index[target]]
    of_window: list[NDArray[Any]] = [measured_from_level(values[:, _recent(task)]), spread[:, None]]
    of_window += [*map(measured_from_level, means), last[:, others]]
    repeated = np.repeat(np.hstack(of_window), task.horizon, axis=0)
    columns = np.hstack([np.stack(of_step, axis=-1).reshape(len(repeated), -1), repeated])
    return _Rows(columns, level, spread)


def _recent(task: ForecastTask) -> Indices:
    """The rows of the window that are columns, counted from the origin: the newest, and the lags of the last one."""
    newest = {*range(-min(RECENT, task.input_length), 0)}
    return np.array(sorted(newest | {-1 - lag for lag in task.fitted.lags}))


def _mean(values: Values) -> Values:
    """Mean of the measured cells of each row; NaN where there are none."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        means: Values = np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1)
    return means
