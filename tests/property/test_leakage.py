"""No forecast depends on rows after its origin, and no bundle depends on test, whatever the later rows contain."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.support.experiments import small_experiment, small_spec
from tests.support.series import hourly

from flts.contracts.canonical import sha256
from flts.contracts.ports import Silent, Store
from flts.forecasting.model import Forecasts, Model
from flts.models.registry import BASELINES, CANDIDATES
from flts.preprocess.rows import Rows, Values
from flts.train.experiment import Experiment
from flts.train.fitting import fit_model
from flts.train.stage import model_spec, train

TEST, ROWS = 60, 300
NAMES = ("ridge", "naive", "seasonal_naive")
cells = st.one_of(st.floats(-1e9, 1e9, allow_nan=False), st.just(float("nan")))
forever = settings(deadline=None, max_examples=60)
"""No deadline: the time of one example does not matter."""


@cache
def known() -> tuple[Experiment, Store]:
    """An experiment whose windows are all test origins."""
    return small_experiment(small_spec(evaluate={"windows": 0}), hourly(ROWS), TEST)


@cache
def model_of(name: str) -> Model:
    """A loaded model; ridge is fitted on train."""
    experiment, _ = known()
    if name in BASELINES:
        return Model(
            BASELINES[name].load({}, experiment.task), experiment.task, BASELINES[name].history(experiment.task)
        )
    family, given_recipe = CANDIDATES[name], model_spec(experiment.spec, experiment.identity, name).recipe
    files = fit_model(family, experiment.dataset.train, experiment.task, given_recipe, 0.1, Silent()).files
    return Model(family.load(files, experiment.task), experiment.task, family.history(experiment.task))


def forecast(name: str, test: Values) -> Forecasts:
    """Forecasts of all windows when the test rows have these values."""
    experiment, _ = known()
    dataset = replace(experiment.dataset, test=replace(experiment.dataset.test, values=test))
    return model_of(name).forecast_all(experiment.windows.histories(dataset))


@cache
def undisturbed(name: str) -> Forecasts:
    return forecast(name, known()[0].dataset.test.values)


@pytest.mark.parametrize("name", NAMES)
@forever
@given(data=st.data())
def test_no_row_at_or_after_an_origin_changes_its_forecast(name: str, data: st.DataObject) -> None:
    experiment, _ = known()
    position = data.draw(st.integers(0, len(experiment.windows.indices) - 1), label="origin")
    origin = int(experiment.windows.indices[position])
    test = experiment.dataset.test.values.copy()
    for row in data.draw(st.sets(st.integers(origin, TEST - 1), min_size=1), label="rows"):
        test[row, data.draw(st.integers(0, test.shape[1] - 1))] = data.draw(cells)
    disturbed, before = forecast(name, test), undisturbed(name)
    np.testing.assert_array_equal(disturbed.mean[: position + 1], before.mean[: position + 1])
    np.testing.assert_array_equal(disturbed.spread[: position + 1], before.spread[: position + 1])


@pytest.mark.parametrize("name", NAMES)
@forever
@given(position=st.integers(0, TEST - 12 - 3), by=st.floats(1.0, 1e3))
def test_the_last_row_of_the_history_changes_the_forecast(name: str, position: int, by: float) -> None:
    experiment, _ = known()
    origin = int(experiment.windows.indices[position])
    row = origin - (24 if name == "seasonal_naive" else 1)
    assume(row >= 0)  # the row of train one season before the first origins stays as it is
    test = experiment.dataset.test.values.copy()
    test[row, 0] += by
    assert not np.array_equal(forecast(name, test).mean[position], undisturbed(name).mean[position])


@cache
def bundle_of(test: bytes) -> tuple[str, str]:
    """Digests of the bundle and of the validation forecasts of ridge when the test rows have these values."""
    rows = hourly(ROWS)
    rows.values[-TEST:] = np.frombuffer(test).reshape(TEST, -1)
    experiment, store = small_experiment(small_spec(), rows, TEST)
    model = model_spec(experiment.spec, experiment.identity, "ridge")
    trained = train(experiment.dataset, model, experiment.windows, store)
    validation = store.get(f"models/{trained.model_hash}/validation.parquet")
    assert validation is not None
    return trained.bundle_sha256, sha256(validation)


@settings(forever, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.0, 1.0, 1e6]), empty=st.floats(0.0, 0.3))
def test_no_test_row_changes_a_bundle_or_its_validation_forecasts(seed: int, scale: float, empty: float) -> None:
    rng = np.random.default_rng(seed)
    original: Rows = hourly(ROWS)[-TEST:]
    values = original.values + rng.normal(0.0, scale, original.values.shape)
    values[rng.random(values.shape) < empty] = np.nan
    assert bundle_of(values.tobytes()) == bundle_of(original.values.tobytes())
