"""Judged is served: for every family, `POST /predict` on a test window gives the forecast that the judge scored."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import ahead
from tests.support.ensembles import made
from tests.support.experiments import small_experiment, small_spec
from tests.support.families import has_libraries, installed
from tests.support.promotions import promote
from tests.support.series import hourly
from tests.support.services import LONG
from tests.support.serving import application, predict
from tests.support.stored import fit

from flts.forecasting.adaptive import MOST_EARLIER, NEWEST
from flts.forecasting.bundle import TOLERANCE
from flts.models.registry import BUILT_IN
from flts.preprocess.rows import Rows, Values
from flts.spec.models import DEFAULT_MODELS, ENSEMBLE
from flts.train.experiment import Experiment

TARGETS = ("load", "wind")


Served = tuple[FastAPI, Experiment, dict[str, Values]]


@cache
def served(names: tuple[str, ...], horizon: int = 3, rows: int = 300, test: int = 60, windows: int = 0) -> Served:
    """The service with the last of these models, and what is stored of its test forecasts."""
    dataset, task = {"targets": list(TARGETS)}, {"horizon": horizon}
    spec = small_spec(names, dataset=dataset, task=task, evaluate={"windows": windows})
    experiment, store = small_experiment(spec, hourly(rows), test)
    fits = [fit(store, experiment, name) for name in names if name != ENSEMBLE]
    trained = made(store, experiment) if ENSEMBLE in names else fits[-1]
    promote(trained.bundle_sha256, store=store)
    return (
        application(store, request_seconds=LONG),
        experiment,
        dict(experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)),
    )


def body_of(rows: Rows, zone: str) -> dict[str, Any]:
    """Rows as a client sends them."""
    times = [
        datetime.fromtimestamp(time // 10**9, UTC).isoformat().replace("+00:00", zone) for time in rows.times.tolist()
    ]
    cells = [[None if math.isnan(cell) else cell for cell in column] for column in rows.values.T.tolist()]
    return {"history": {"time": times, **dict(zip(rows.columns, cells, strict=True))}}


@pytest.mark.slow
@pytest.mark.parametrize("name", installed(name for name in BUILT_IN if name in DEFAULT_MODELS))
@settings(deadline=None, max_examples=6)
@given(data=st.data())
def test_predict_gives_the_forecast_that_was_judged(name: str, data: st.DataObject) -> None:
    draw(served((name,)), data)


@pytest.mark.long
@pytest.mark.parametrize("name", installed(name for name in BUILT_IN if name not in DEFAULT_MODELS))
@settings(deadline=None, max_examples=6)
@given(data=st.data())
def test_predict_gives_the_forecast_that_was_judged_also_of_a_model_that_has_to_be_named(
    name: str, data: st.DataObject
) -> None:
    draw(served((name,)), data)


@pytest.mark.slow
@pytest.mark.skipif(not all(map(has_libraries, ("automfles", "prophet"))), reason="needs two extras")
@settings(deadline=None, max_examples=6)
@given(data=st.data())
def test_predict_gives_the_forecast_of_the_ensemble_that_was_judged(data: st.DataObject) -> None:
    """One member uses dates alone, one is fitted again, one has adaptive intervals."""
    draw(served(("automfles", "prophet", "ridge", ENSEMBLE)), data)


@cache
def told(name: str) -> Served:
    """The service with a model that has to be told the price of the rows to forecast, and what is stored of it."""
    experiment, store = ahead.fitted((name,))
    _, trained = ahead.of_model(experiment, store, name)
    promote(trained.bundle_sha256, store=store)
    judged = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)
    return application(store, request_seconds=LONG), experiment, dict(judged)


@pytest.mark.slow
@pytest.mark.parametrize("name", installed(("ridge", "gbm", "prophet")))
@settings(deadline=None, max_examples=6)
@given(data=st.data())
def test_predict_gives_the_forecast_that_was_judged_with_what_is_known_ahead(name: str, data: st.DataObject) -> None:
    app, experiment, stored = told(name)
    window = data.draw(st.integers(0, len(experiment.windows.indices) - 1), label="window")
    horizon = data.draw(st.integers(1, ahead.HORIZON), label="horizon")
    body = ahead.body_of(experiment, window, data.draw(st.sampled_from(ahead.WAYS), label="way"))
    answer = predict(app, {**body, "horizon": horizon})
    assert answer.status == 200, answer.body
    _, width = experiment.task.fitted.target_range
    for column, kept in (("mean", "y_hat"), ("lower", "lower"), ("upper", "upper")):
        found = np.array([row[column] for row in answer.json()["forecasts"]])
        assert np.abs(found - stored[kept][window, :horizon, 0]).max() <= TOLERANCE * width[0], column


def draw(of: Served, data: st.DataObject) -> None:
    """Check one window, asked for in one of the ways that a client may write."""
    app, experiment, stored = of
    window = data.draw(st.integers(0, len(experiment.windows.indices) - 1), label="window")
    horizon = data.draw(st.integers(1, experiment.task.horizon), label="horizon")
    zone = data.draw(st.sampled_from(["Z", "+00:00", "", " "]), label="how the zone is written")  # ' ' takes the reader
    check(app, experiment, stored, window, horizon, zone)


def test_the_bounds_of_a_long_horizon_are_those_that_were_judged() -> None:
    """A request has fewer earlier origins than its last steps ask for, and the judge took no more."""
    horizon = MOST_EARLIER - NEWEST + 20
    app, experiment, stored = served(("ridge",), horizon, 2150, 1150, 3)
    check(app, experiment, stored, 2, horizon, "Z")


def check(
    app: FastAPI, experiment: Experiment, stored: dict[str, Values], window: int, horizon: int, zone: str
) -> None:
    """The answer to all rows before a test window is what is stored of it."""
    train, windows = experiment.dataset.train, experiment.windows.indices
    rows = train.then(experiment.dataset.test)[: len(train) + int(windows[window])]
    answer = predict(app, {**body_of(rows, zone), "horizon": horizon})
    assert answer.status == 200, answer.body
    _, width = experiment.task.fitted.target_range
    for column, kept in (("mean", "y_hat"), ("lower", "lower"), ("upper", "upper")):
        values = [row[column] for row in answer.json()["forecasts"]]
        found = np.array(values, dtype=np.float64).reshape(horizon, len(TARGETS))
        off = np.abs(found - stored[kept][window, :horizon]) / width
        assert np.nanmax(off, initial=0.0) <= TOLERANCE, column
        np.testing.assert_array_equal(np.isnan(found), np.isnan(stored[kept][window, :horizon]))
    assert [row["target"] for row in answer.json()["forecasts"]] == list(TARGETS) * horizon
