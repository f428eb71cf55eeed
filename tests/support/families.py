"""Every family of FLTS on one small task."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from _pytest.mark import ParameterSet

from flts.models.base import Family, ForecastTask, Indices, Recipe, Window
from flts.models.registry import BASELINES, BUILT_IN
from flts.preprocess.rows import Rows
from flts.testing.conformance import COLUMNS, TARGETS
from flts.testing.fitted import FittedFamily, blocks, fit_family, task_on, use_one_thread, window
from flts.testing.series import hourly

__all__ = ["blocks", "histories_at", "task_on", "use_one_thread", "window"]

FAMILIES: Mapping[str, Family[Any]] = {**BUILT_IN, **BASELINES}

SMALL: Mapping[str, Mapping[str, Any]] = {
    "gru": {"hidden_size": 6, "num_layers": 1, "epochs": 2},
    "lstm": {"hidden_size": 6, "num_layers": 2, "epochs": 2},
    "autoarima": {"max_p": 1, "max_q": 1, "max_seasonal_p": 0, "max_seasonal_q": 0},
    "autotbats": {"arma_errors": False},
}


def installed(names: Iterable[str] = tuple(FAMILIES)) -> list[ParameterSet]:
    """The names as parameters of a test; a family whose libraries are absent is skipped with the reason."""
    return [
        pytest.param(
            name, marks=pytest.mark.skipif(not has_libraries(name), reason=f"needs the extra '{FAMILIES[name].extra}'")
        )
        for name in names
    ]


def histories_at(rows: Rows, at: Indices, task: ForecastTask) -> Window:
    """The window of these rows `at` [windows, rows], as a request would send them."""
    values = rows.values[at]
    return Window(rows.times[at], task.fitted.clean(values), ~np.isnan(values), task.fitted)


def has_libraries(name: str) -> bool:
    """Whether a family can fit here."""
    return all(importlib.util.find_spec(library) for library in FAMILIES[name].libraries)


def recipe(name: str, seed: int = 42, patience: int = 3, **parameters: Any) -> Recipe[Any]:
    """How to fit a family; networks are tiny unless `parameters` say otherwise."""
    values = {**SMALL.get(name, {}), **parameters}
    return Recipe(FAMILIES[name].parameters.model_validate(values), patience, seed)


@cache
def fitted_family(name: str, targets: tuple[str, ...] = TARGETS) -> FittedFamily:
    """Fit a family once; every test of a process gets the same object."""
    return fit_family(FAMILIES[name], recipe(name).parameters, hourly(312, columns=COLUMNS), targets)
