"""Forecasts of a whole table equal those of single requests from each of its rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.support.experiments import small_experiment, small_spec
from tests.support.raising import raises
from tests.support.stored import fit

from flts.contracts.errors import DataError
from flts.forecasting.bundle import Bundle, load_bundle
from flts.preprocess.rows import Rows
from flts.serve.answer import answer
from flts.serve.batch import errors, forecast_batch


@pytest.fixture(scope="module")
def fitted() -> tuple[Bundle, Rows]:
    experiment, store = small_experiment()
    return load_bundle(store, fit(store, experiment).bundle_sha256), experiment.dataset.test


def test_every_row_with_enough_history_is_an_origin_including_the_last_one(fitted: tuple[Bundle, Rows]) -> None:
    bundle, rows = fitted
    batch = forecast_batch(bundle, rows)
    assert batch.mean.shape == (len(rows) - 12 + 1, 3, 1)
    assert batch.origins.tolist() == rows.times[11:].tolist()
    assert (batch.times[:, 0] - batch.origins == 3600 * 10**9).all()


def test_a_batch_equals_single_requests(fitted: tuple[Bundle, Rows]) -> None:
    bundle, rows = fitted
    batch = forecast_batch(bundle, rows)
    for origin in (0, 7, len(batch.origins) - 1):
        history = rows[: origin + 12]
        table = {
            "time": history.times.astype("datetime64[ns]"),
            **dict(zip(rows.columns, history.values.T, strict=True)),
        }
        one = answer(bundle, table)
        for name in ("mean", "lower", "upper"):
            np.testing.assert_allclose(getattr(batch, name)[origin], getattr(one, name), rtol=1e-12)
        assert batch.times[origin].tolist() == one.times.tolist()
        assert batch.interval[origin] == one.interval


def test_truth_is_what_the_rows_hold_at_the_forecast_times(fitted: tuple[Bundle, Rows]) -> None:
    bundle, rows = fitted
    batch = forecast_batch(bundle, rows)
    target = rows.select(("load",))[:, 0]
    for origin in range(len(batch.origins)):
        for step in range(3):
            row = 12 + origin + step
            expected = target[row] if row < len(rows) else np.nan
            np.testing.assert_equal(batch.truth[origin, step, 0], expected)


def test_errors_are_scaled_by_the_range_of_the_champions_train_rows(fitted: tuple[Bundle, Rows]) -> None:
    bundle, rows = fitted
    batch = forecast_batch(bundle, rows)
    scaled = errors(bundle, batch)
    low, width = bundle.model.task.fitted.target_range
    off = ((batch.mean - batch.truth) / width)[~np.isnan(batch.truth)]
    assert scaled is not None
    assert scaled.rmse == pytest.approx(np.sqrt((off**2).mean()))
    assert scaled.mae == pytest.approx(np.abs(off).mean())
    assert scaled.cells == off.size
    assert low.shape == (1,)


def test_without_truth_there_are_no_errors(fitted: tuple[Bundle, Rows]) -> None:
    bundle, rows = fitted
    batch = forecast_batch(bundle, rows[:12])
    assert (len(batch.origins), errors(bundle, batch)) == (1, None)


def test_a_row_whose_history_holds_too_little_is_not_an_origin(fitted: tuple[Bundle, Rows]) -> None:
    bundle, rows = fitted
    values = rows.values.copy()
    values[30:34] = np.nan
    batch = forecast_batch(bundle, replace(rows, values=values))
    gone = set(rows.times[33:42].tolist())
    assert set(batch.origins.tolist()) == set(rows.times[11:].tolist()) - gone
    before = int(np.flatnonzero(batch.origins == rows.times[29])[0])
    assert np.isnan(batch.truth[before]).all()
    after = int(np.flatnonzero(batch.origins == rows.times[32])[0])
    assert batch.truth[after, 1, 0] == rows.select(("load",))[34, 0]


@pytest.mark.parametrize("count", [0, 1, 11])
def test_too_few_rows_for_any_forecast_are_refused(fitted: tuple[Bundle, Rows], count: int) -> None:
    bundle, rows = fitted
    with raises(DataError, code="no-origin", rows=count, expected=12):
        forecast_batch(bundle, rows[:count])


def test_the_table_has_a_line_for_each_origin_step_and_target(fitted: tuple[Bundle, Rows]) -> None:
    bundle, rows = fitted
    frame = forecast_batch(bundle, rows[:14]).frame()
    assert frame.columns == ["origin", "step", "time", "target", "mean", "lower", "upper"]
    assert frame["step"].to_list() == [1, 2, 3] * 3
    assert frame["origin"].to_physical().to_list() == [t for t in rows.times[11:14].tolist() for _ in range(3)]
    assert (frame["lower"] <= frame["mean"]).all()
    assert frame["time"].dtype == frame["origin"].dtype == pl.Datetime("ns", "UTC")


def test_times_are_local_in_the_zone_of_train() -> None:
    experiment, store = small_experiment(small_spec(dataset={"timezone": "Asia/Kolkata"}))
    bundle = load_bundle(store, fit(store, experiment).bundle_sha256)
    frame = forecast_batch(bundle, experiment.dataset.test).frame()
    assert frame["time"].dtype == frame["origin"].dtype == pl.Datetime("ns", "Asia/Kolkata")
