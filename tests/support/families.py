"""Every family on one small task: fitted once per process, and the pieces of a fit that tests take apart."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import pytest
from _pytest.mark import ParameterSet

from flts.contracts.canonical import sha256
from flts.contracts.ports import Silent
from flts.forecasting.histories import Histories
from flts.forecasting.model import Model
from flts.models.base import Block, Family, ForecastTask, Recipe, Window
from flts.models.registry import CANDIDATES, REFEREES
from flts.preprocess.fit import fit
from flts.preprocess.rows import Rows
from flts.preprocess.transform import transform
from flts.spec.fields import Preprocess
from flts.spec.sources import validate
from flts.train.fitting import FittedModel, fit_model
from flts.train.windows import split_tail, train_origins
from tests.support.series import hourly

FAMILIES: Mapping[str, Family] = {**CANDIDATES, **REFEREES}
COLUMNS = ("load", "wind", "sun")
TARGETS = ("wind", "load")
"""Not in the order of the columns, so that a mix-up shows."""

_SMALL: Mapping[str, Mapping[str, Any]] = {
    "gru": {"hidden_size": 6, "num_layers": 1, "epochs": 2},
    "lstm": {"hidden_size": 6, "num_layers": 2, "epochs": 2},
}


def installed(names: Iterable[str] = tuple(FAMILIES)) -> list[ParameterSet]:
    """The names as parameters of a test; a family whose libraries are absent is skipped with the reason."""
    return [
        pytest.param(
            name, marks=pytest.mark.skipif(not has_libraries(name), reason=f"needs the extra '{FAMILIES[name].extra}'")
        )
        for name in names
    ]


def has_libraries(name: str) -> bool:
    """Whether a family can fit here."""
    return all(importlib.util.find_spec(library) for library in FAMILIES[name].libraries)


def use_one_thread(name: str) -> None:
    """As every trainer has by default; with more, tiny networks are far slower than with one."""
    if "torch" in FAMILIES[name].libraries:
        import torch

        torch.set_num_threads(1)


def recipe(name: str, seed: int = 42, patience: int = 3, **parameters: Any) -> Recipe:
    """How to fit a family; networks are tiny unless `parameters` say otherwise."""
    if name in REFEREES:
        return Recipe(validate({}).models, patience, seed)  # a referee has no table and looks at none
    tables = {name: {**_SMALL.get(name, {}), **parameters}}
    return Recipe(validate({"models": tables}).expected[name], patience, seed)


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
    """A task on finished train rows; `preprocess` overrides its table of the Spec."""
    step = int(np.diff(train.times).min())
    fitted = fit(train, Preprocess.model_validate(preprocess), step, timezone).fitted
    return ForecastTask(input_length, horizon, seasons, fitted.for_targets(targets))


def blocks(train: Rows, task: ForecastTask, fraction: float = 0.1) -> tuple[Block, Block]:
    """What a fit gets: the rows before the validation tail, and the tail."""
    features = transform(train.times, train.values, task.fitted)
    targets = task.fitted.scale_targets(train.select(task.fitted.targets))
    origins = train_origins(train, task.lookback, task.horizon, task.fitted.step)
    before, tail = split_tail(origins, task.horizon, fraction)
    end = int(tail[0])
    return (
        Block(train.times[:end], features[:end], targets[:end], before),
        Block(train.times, features, targets, tail),
    )


def window(rows: Rows, task: ForecastTask) -> Window:
    """The rows as one history."""
    return Window(rows.times[None], task.fitted.clean(rows.values[None]), task.fitted)


@dataclass(frozen=True)
class Subject:
    """A family fitted on the first rows of a series, and the later rows that it has not seen."""

    family: Family
    train: Rows
    later: Rows
    task: ForecastTask
    fitted: FittedModel

    @cached_property
    def model(self) -> Model:
        """The kept model, loaded from its files."""
        return self.load()

    def load(self) -> Model:
        """A freshly loaded model."""
        predictor = self.family.load(self.fitted.files, self.task)
        return Model(predictor, self.task, self.family.history(self.task))

    def histories(self, origins: int = 5) -> Histories:
        """Histories that end among the rows the fit has not seen."""
        return Histories(self.train.then(self.later), len(self.train) + np.arange(origins, dtype=np.int64))


@cache
def experiment(name: str, targets: tuple[str, ...] = TARGETS) -> Subject:
    """A fitted family; the same object for every test of a process."""
    return subject_on(name, hourly(312, columns=COLUMNS), targets)


def subject_on(name: str, rows: Rows, targets: tuple[str, ...], later: int = 12, **parameters: Any) -> Subject:
    """A family fitted on all but the last rows of a series."""
    use_one_thread(name)
    family, train = FAMILIES[name], rows[:-later]
    task = task_on(train, targets)
    fitted = fit_model(family, train, task, recipe(name, **parameters), 0.1, Silent())
    return Subject(family, train, rows[-later:], task, fitted)


def fingerprints() -> dict[str, Any]:
    """Digests of the files, and the forecasts, of every family that can fit here: what another process must repeat."""
    found = {}
    for name in filter(has_libraries, FAMILIES):
        fitted = experiment(name)
        files = {file: sha256(data) for file, data in fitted.fitted.files.items()}
        found[name] = {"files": files, "forecasts": fitted.model.forecast_all(fitted.histories()).mean.tolist()}
    return found
