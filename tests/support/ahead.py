"""Experiments whose target follows a column that is known ahead, so that a model gains by looking at it."""

from __future__ import annotations

from functools import cache

import numpy as np

from flts.contracts.ports import Store
from flts.forecasting.bundle import Bundle, load_bundle
from flts.preprocess.rows import Rows
from flts.train.experiment import Experiment
from flts.train.stage import Trained
from tests.support.experiments import small_experiment, small_spec
from tests.support.series import hourly
from tests.support.stored import fit

ROWS, TEST = 420, 80


def priced(rows: int = ROWS) -> Rows:
    """An hourly load that falls by three for each unit of a price nobody can guess; wind is known up to the origin."""
    made = hourly(rows, columns=("load", "wind", "price"))
    made.values[:, 2] = np.random.default_rng(7).normal(0.0, 4.0, rows).round(3)
    made.values[:, 0] -= 3.0 * made.values[:, 2]
    return made


@cache
def fitted(names: tuple[str, ...] = ("ridge",), place: str = "", *, known: bool = True) -> tuple[Experiment, Store]:
    """An experiment on these rows with every test window, and its models, fitted once for all tests of a process."""
    dataset = {"targets": ["load"], "known_future": ["price"] if known else [], "holidays": place}
    experiment, store = small_experiment(small_spec(names, dataset=dataset, evaluate={"windows": 0}), priced(), TEST)
    for name in experiment.spec.trained:
        fit(store, experiment, name)
    return experiment, store


def of_model(experiment: Experiment, store: Store, name: str = "ridge") -> tuple[Bundle, Trained]:
    """The bundle of a model that is fitted already, and its results."""
    trained = fit(store, experiment, name)
    return load_bundle(store, trained.bundle_sha256), trained
