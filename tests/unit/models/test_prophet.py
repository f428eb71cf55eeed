"""Prophet: dates in local time, the stored model, and the parameters of the Spec."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.support.families import blocks, has_libraries, recipe, task_on, window
from tests.support.raising import raises
from tests.support.series import HOUR

from flts.contracts.errors import DamagedObject
from flts.contracts.ports import Silent
from flts.forecasting.histories import Histories
from flts.forecasting.model import Model
from flts.models.base import ForecastTask
from flts.models.prophet import Prophet
from flts.preprocess.rows import Rows, Times, Values

pytestmark = pytest.mark.skipif(not has_libraries("prophet"), reason="needs the extra 'prophet'")

BACK = int(np.datetime64("2018-10-28T01:00", "ns").astype(np.int64))
"""When clocks in Madrid go back from 03:00 to 02:00, in UTC."""
HALF = HOUR // 2


def half_hourly(rows: int, end: int) -> Rows:
    """A half-hourly series that ends one step before `end`."""
    times = end - HALF * np.arange(rows, 0, -1, dtype=np.int64)
    rng = np.random.default_rng(3)
    values = 50 + 20 * np.sin(2 * np.pi * (times / HOUR) / 24) + rng.normal(0, 1, rows)
    return Rows(times, values[:, None], ("load",))


def fitted(
    timezone: str = "Europe/Madrid", horizon: int = 4, **parameters: Any
) -> tuple[Model, ForecastTask, Rows, bytes]:
    """A model fitted on ten days that end five hours before clocks go back."""
    train = half_hourly(480, BACK - 10 * HALF)
    task = task_on(train, horizon=horizon, seasons=(48,), timezone=timezone)
    block, validation = blocks(train, task)
    family = Prophet()
    files = family.fit(block, validation, task, recipe("prophet", **parameters), Silent()).files
    return Model(family.load(files, task), task, family.history(task)), task, train, files["model.json"]


def at(model: Model, *origins: int) -> Values:
    """Forecasts [origins, horizon] from histories that end at these times."""
    times: Times = np.array(origins, dtype=np.int64)[:, None]
    return model.forecast(times, np.full((len(origins), 1, 1), 50.0)).mean[..., 0]


def test_forecasts_keep_their_steps_when_clocks_go_back() -> None:
    model, *_ = fitted()
    # 02:00 and 02:30 before the change, then 02:00 and 02:30 again
    summer_two, summer_half, winter_two, winter_half = at(model, BACK - 3 * HALF)[0]
    assert summer_two == pytest.approx(winter_two, abs=1e-9)
    assert summer_half == pytest.approx(winter_half, abs=1e-9)
    assert abs(summer_half - summer_two) > 0.1


def test_a_batch_across_the_change_of_clocks_is_forecast_as_its_windows_one_by_one() -> None:
    model, *_ = fitted()
    origins = [BACK + offset * HALF for offset in (-3, 2, -1, 0, -3, -6)]  # neither sorted nor distinct
    together = at(model, *origins)
    np.testing.assert_allclose(together, np.concatenate([at(model, origin) for origin in origins]), rtol=1e-12)


def test_a_date_has_the_same_forecast_from_every_origin() -> None:
    model, *_ = fitted(timezone="UTC")
    first, second = at(model, BACK, BACK + HALF)
    np.testing.assert_allclose(first[1:], second[:-1], rtol=1e-12)


def test_the_model_is_fitted_on_local_time() -> None:
    starts = [json.loads(fitted(timezone=zone)[-1])[0]["start"] for zone in ("UTC", "Europe/Madrid")]
    assert starts[1] - starts[0] == 2 * 3600


def test_the_stored_model_is_read_back_exactly() -> None:
    from prophet.serialize import model_from_json, model_to_json

    *_, data = fitted()
    (stored,) = json.loads(data)
    assert json.loads(model_to_json(model_from_json(json.dumps(stored)))) == stored


@pytest.mark.parametrize(
    "parameters",
    [{"changepoint_prior_scale": 0.5}, {"seasonality_prior_scale": 0.1}, {"seasonality_mode": "multiplicative"}],
    ids=lambda parameters: next(iter(parameters)),
)
def test_the_parameters_of_the_spec_reach_the_model(parameters: dict[str, Any]) -> None:
    *_, data = fitted(**parameters)
    (stored,) = json.loads(data)
    assert {name: stored[name] for name in parameters} == parameters


def test_a_refit_learns_from_the_validation_windows_too() -> None:
    _, task, train, before = fitted(timezone="UTC")
    family = Prophet()
    block, validation = blocks(train, task)
    files = family.refit(replace(validation, origins=block.origins), task, recipe("prophet"), {})
    lengths = [len(json.loads(json.loads(data)[0]["history"])["data"]) for data in (before, files["model.json"])]
    assert lengths == [len(block.times), len(train)]


def test_rows_without_a_measured_target_are_left_out_of_the_fit() -> None:
    train = half_hourly(480, BACK - 10 * HALF)
    rows = Rows(train.times, np.hstack([train.values, train.values]), ("load", "wind"))
    rows.values[[3, 50, 51, 200], 1] = np.nan
    task = task_on(rows, ("wind", "load"), horizon=4, seasons=(48,))
    block, validation = blocks(rows, task)
    family = Prophet()
    files = family.fit(block, validation, task, recipe("prophet"), Silent()).files
    wind, load = (json.loads(model["history"])["data"] for model in json.loads(files["model.json"]))
    assert (len(wind), len(load)) == (len(block.times) - 4, len(block.times))
    answer = family.load(files, task).predict(window(rows[:204], task))
    assert np.isfinite(answer).all()


def test_prophet_draws_no_samples_for_intervals_of_its_own() -> None:
    *_, data = fitted()
    assert json.loads(data)[0]["uncertainty_samples"] == 0


def test_only_the_end_of_a_history_matters() -> None:
    model, _, train, _ = fitted()
    histories = Histories(train, np.array([100, 200], dtype=np.int64))
    noise = np.random.default_rng(0).normal(50.0, 20.0, train.values.shape)
    noisy = Histories(replace(train, values=noise), histories.ends)
    np.testing.assert_array_equal(model.forecast_all(histories).mean, model.forecast_all(noisy).mean)


@pytest.mark.parametrize("name", ["uncertainty_samples", "mcmc_samples", "fourier_order"])
def test_options_with_which_a_forecast_takes_any_time_are_refused(name: str) -> None:
    _, task, _, stored = fitted()
    (model,) = json.loads(stored)
    if name in model:
        model[name] = 10**9
    else:
        model["seasonalities"][1]["daily"][name] = 10**9
    with raises(DamagedObject, code="options-unusual", found=[name if name in model else "daily"]):
        Prophet().load({"model.json": json.dumps([model]).encode()}, task)


def test_its_forecasts_depend_on_dates_alone_and_it_says_so() -> None:
    model, *_ = fitted()
    times: Times = np.array([[BACK]], dtype=np.int64)
    low, high = (model.forecast(times, np.full((1, 1, 1), level)).mean for level in (0.0, 1e6))
    assert np.array_equal(low, high)
    assert not model.history.used
