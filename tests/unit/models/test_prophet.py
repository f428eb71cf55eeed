"""Prophet: dates in local wall time, the model's JSON, and what of the Spec reaches it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.support.families import blocks, has_libraries, recipe, task_on
from tests.support.series import HOUR

from flts.contracts.ports import Silent
from flts.forecasting.histories import Histories
from flts.forecasting.model import Model
from flts.models.base import ForecastTask
from flts.models.prophet import Prophet
from flts.preprocess.rows import Rows, Times, Values

pytestmark = pytest.mark.skipif(not has_libraries("prophet"), reason="needs the extra 'prophet'")

BACK = int(np.datetime64("2018-10-28T01:00", "ns").astype(np.int64))
"""The UTC moment at which clocks in Madrid go from 03:00 back to 02:00."""
HALF = HOUR // 2


def half_hourly(rows: int, end: int) -> Rows:
    """A series of local half hours that ends one step before `end`."""
    times = end - HALF * np.arange(rows, 0, -1, dtype=np.int64)
    rng = np.random.default_rng(3)
    values = 50 + 20 * np.sin(2 * np.pi * (times / HOUR) / 24) + rng.normal(0, 1, rows)
    return Rows(times, values[:, None], ("load",))


def fitted(
    timezone: str = "Europe/Madrid", horizon: int = 4, **parameters: Any
) -> tuple[Model, ForecastTask, Rows, bytes]:
    """A model of ten days that end five hours before clocks go back."""
    train = half_hourly(480, BACK - 10 * HALF)
    task = task_on(train, horizon=horizon, seasons=(48,), timezone=timezone)
    block, tail = blocks(train, task)
    family = Prophet()
    files = family.fit(block, tail, task, recipe("prophet", **parameters), Silent()).files
    return Model(family.load(files, task), task, family.history(task)), task, train, files["model.json"]


def at(model: Model, *origins: int) -> Values:
    """Forecasts [origins, horizon] from histories that end at these moments."""
    times: Times = np.array(origins, dtype=np.int64)[:, None]
    return model.forecast(times, np.full((len(origins), 1, 1), 50.0)).mean[..., 0]


def test_a_forecast_stays_at_its_step_where_clocks_go_back() -> None:
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


def test_a_date_has_one_forecast_whatever_origin_it_is_asked_from() -> None:
    model, *_ = fitted(timezone="UTC")
    first, second = at(model, BACK, BACK + HALF)
    np.testing.assert_allclose(first[1:], second[:-1], rtol=1e-12)


def test_the_daily_habit_follows_the_clock_on_the_wall() -> None:
    starts = [json.loads(fitted(timezone=zone)[-1])[0]["start"] for zone in ("UTC", "Europe/Madrid")]
    assert starts[1] - starts[0] == 2 * 3600


def test_the_model_survives_its_json_exactly() -> None:
    from prophet.serialize import model_from_json, model_to_json

    *_, data = fitted()
    (stored,) = json.loads(data)
    assert json.loads(model_to_json(model_from_json(json.dumps(stored)))) == stored


@pytest.mark.parametrize(
    "parameters",
    [{"changepoint_prior_scale": 0.5}, {"seasonality_prior_scale": 0.1}, {"seasonality_mode": "multiplicative"}],
    ids=lambda given: next(iter(given)),
)
def test_the_table_of_the_spec_reaches_the_model(parameters: dict[str, Any]) -> None:
    *_, data = fitted(**parameters)
    (stored,) = json.loads(data)
    assert {name: stored[name] for name in parameters} == parameters


def test_a_refit_learns_from_the_rows_of_the_tail_too() -> None:
    _, task, train, before = fitted(timezone="UTC")
    family = Prophet()
    block, tail = blocks(train, task)
    files = family.refit(replace(tail, origins=block.origins), task, recipe("prophet"), {})
    lengths = [len(json.loads(json.loads(data)[0]["history"])["data"]) for data in (before, files["model.json"])]
    assert lengths == [len(block.times), len(train)]


def test_intervals_are_left_to_the_residuals_so_no_sample_is_drawn() -> None:
    *_, data = fitted()
    assert json.loads(data)[0]["uncertainty_samples"] == 0


def test_a_history_only_says_where_the_forecast_starts() -> None:
    model, _, train, _ = fitted()
    histories = Histories(train, np.array([100, 200], dtype=np.int64))
    noise = np.random.default_rng(0).normal(50.0, 20.0, train.values.shape)
    noisy = Histories(replace(train, values=noise), histories.ends)
    np.testing.assert_array_equal(model.forecast_all(histories).mean, model.forecast_all(noisy).mean)
