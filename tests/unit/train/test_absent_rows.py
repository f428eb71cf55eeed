"""A few absent rows leave the errors of a season, and of models that use it, nearly what they are without."""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl
import pytest
from tests.support.experiments import small_spec
from tests.support.families import has_libraries
from tests.support.series import HOUR, START, table
from tests.support.stored import experiment_on, fit

from flts.preprocess.rows import Rows
from flts.promotion.judge import baselines, yardstick
from flts.train.experiment import Experiment

ROWS, TEST = 1500, 300
MODELS = ("ridge", "automfles")


def periodic(*gone: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Train and test of an hourly series that repeats every day but for noise of 0.05, without some rows."""
    rng = np.random.default_rng(3)
    times = START + HOUR * np.arange(ROWS, dtype=np.int64)
    values = np.sin(2 * np.pi * times / HOUR / 24) + rng.normal(0, 0.05, ROWS)
    frame = table(Rows(times, values[:, None], ("load",)))
    kept = pl.Series(np.isin(np.arange(ROWS), gone, invert=True))
    return frame[: ROWS - TEST].filter(kept[: ROWS - TEST]), frame[ROWS - TEST :].filter(kept[ROWS - TEST :])


GONE = tuple(np.random.default_rng(0).choice(np.arange(1, ROWS - 1), 12, replace=False).tolist())
FIVE = tuple(range(1350, 1355))


def experiment_without(*gone: int, model: str = "ridge") -> Experiment:
    spec = small_spec((model,), task={"input_length": 24, "horizon": 24}, evaluate={"windows": 50})
    return experiment_on(spec, *periodic(*gone))[0]


@cache
def rmse(model: str, gone: tuple[int, ...]) -> float:
    """Root mean squared error over the measured cells of the test windows."""
    spec = small_spec((model,), task={"input_length": 24, "horizon": 24}, evaluate={"windows": 50})
    experiment, store = experiment_on(spec, *periodic(*gone))
    trained = fit(store, experiment, model)
    forecast = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)["y_hat"]
    truth = experiment.windows.truth(experiment.dataset, 24).values
    return float(np.sqrt(np.nanmean((forecast - truth) ** 2)))


@pytest.mark.parametrize("gone", [GONE, FIVE])
def test_the_scale_of_mase_is_that_of_the_complete_rows(gone: tuple[int, ...]) -> None:
    complete, thinned = (experiment_without(*part) for part in ((), gone))
    scales = [yardstick(one.dataset, one.task).season_error for one in (complete, thinned)]
    assert scales[0] is not None
    assert scales[1] == pytest.approx(scales[0], rel=0.02)
    assert thinned.task.seasons == complete.task.seasons == (24, 168)


@pytest.mark.parametrize("gone", [GONE, FIVE])
@pytest.mark.parametrize("model", MODELS)
def test_the_error_of_a_model_of_seasons_is_nearly_that_on_the_complete_rows(model: str, gone: tuple[int, ...]) -> None:
    if not has_libraries(model):
        pytest.skip("its libraries are not installed")
    assert rmse(model, gone) == pytest.approx(rmse(model, ()), rel=0.15)


@pytest.mark.parametrize("gone", [GONE, FIVE])
def test_the_error_of_the_seasonal_baseline_is_nearly_that_on_the_complete_rows(gone: tuple[int, ...]) -> None:
    found = []
    for part in ((), gone):
        experiment = experiment_without(*part)
        (mean,) = [one.forecast for one in baselines(experiment) if one.name == "seasonal_naive"]
        assert mean is not None
        truth = experiment.windows.truth(experiment.dataset, 24).values
        found.append(float(np.sqrt(np.nanmean((mean - truth) ** 2))))
    assert found[1] == pytest.approx(found[0], rel=0.15)
