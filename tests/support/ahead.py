"""Experiments whose target follows a column that is known ahead, so that a model gains by looking at it."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from flts.contracts.ports import Store
from flts.forecasting.bundle import Bundle, load_bundle
from flts.preprocess.rows import Rows
from flts.train.experiment import Experiment
from flts.train.stage import Trained
from tests.support.experiments import small_experiment, small_spec
from tests.support.families import FAMILIES, use_one_thread
from tests.support.series import hourly
from tests.support.stored import fit

ROWS, TEST, HORIZON = 420, 80, 3
LEARNS = {"hidden_size": 8, "epochs": 40, "learning_rate": 0.02}
"""A network that learns in seconds what a price is worth."""
WAYS = ("future", "later rows", "other columns too", "times that the reader reads")
"""How a request may say what is known of the rows to forecast."""


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
    models = {name: LEARNS for name in names if name in ("gru", "lstm")}
    spec = small_spec(names, dataset=dataset, evaluate={"windows": 0}, models=models)
    experiment, store = small_experiment(spec, priced(), TEST)
    for name in experiment.spec.trained:
        if name in models:
            use_one_thread(FAMILIES[name])
        fit(store, experiment, name)
    return experiment, store


def of_model(experiment: Experiment, store: Store, name: str = "ridge") -> tuple[Bundle, Trained]:
    """The bundle of a model that is fitted already, and its results."""
    trained = fit(store, experiment, name)
    return load_bundle(store, trained.bundle_sha256), trained


def request(experiment: Experiment, window: int) -> tuple[Rows, Rows]:
    """The history of a test window, and the rows after it."""
    rows = experiment.dataset.train.then(experiment.dataset.test)
    end = len(experiment.dataset.train) + int(experiment.windows.indices[window])
    return rows[:end], rows[end : end + HORIZON]


def told_alone(later: Rows) -> Rows:
    """The rows to forecast with nothing but their price."""
    return Rows(later.times, np.where([False, False, True], later.values, np.nan), later.columns)


def columns(rows: Rows, *names: str) -> dict[str, list[Any]]:
    """Rows as a client sends them."""
    times = np.datetime_as_string(rows.times.view("datetime64[ns]"), unit="s", timezone="UTC").tolist()
    chosen = names or rows.columns
    cells = [[None if math.isnan(cell) else cell for cell in column] for column in rows.select(chosen).T.tolist()]
    return {"time": times, **dict(zip(chosen, cells, strict=True))}


def body_of(experiment: Experiment, window: int, way: str) -> dict[str, Any]:
    """The body of `POST /predict` for a test window."""
    history, later = request(experiment, window)
    future = columns(later, "price")
    if way == "later rows":
        return {"history": columns(history.then(told_alone(later)))}
    if way == "other columns too":
        future = {**columns(later), "load": ["none"] * HORIZON}
    elif way == "times that the reader reads":
        future["time"] = [time.replace("T", " ").rstrip("Z") for time in future["time"]]
    return {"history": columns(history), "future": future}
