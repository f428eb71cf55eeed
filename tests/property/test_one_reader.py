"""Judged is served: from the raw rows up to an origin, a bundle gives the forecast that was stored for that origin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.experiments import small_spec
from tests.support.families import has_libraries
from tests.support.stored import experiment_on, fit

from flts.forecasting.bundle import Bundle, load_bundle
from flts.preprocess.rows import Times, Values
from flts.serve.answer import answer
from flts.train.experiment import Experiment

BERLIN = "Europe/Berlin"
SHARE = 1e-6
"""Share of the target's range over train by which a served forecast may differ from the judged one."""


@dataclass(frozen=True)
class Kind:
    """Raw rows as somebody has them, with the moment of each row, and what the Spec says about them."""

    moments: pd.DatetimeIndex
    """Of the rows, in the order of the file."""
    written: Callable[[pd.DatetimeIndex], Any]
    """The time column."""
    spec: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def times(self) -> Times:
        return np.array(self.moments.tz_convert("UTC").as_unit("ns").asi8)

    @property
    def frame(self) -> pl.DataFrame:
        """A weekly and a daily shape with noise, and some empty cells."""
        hours = self.times / 3.6e12
        rng = np.random.default_rng(0)
        y = (
            50
            + 10 * np.sin(2 * np.pi * hours / 24)
            + 5 * np.sin(2 * np.pi * hours / 168)
            + rng.normal(0, 1, len(hours))
        )
        y[rng.random(len(y)) < 0.02] = np.nan
        return pl.DataFrame({"time": self.written(self.moments), "load": pl.Series(y, nan_to_null=True)})


def text(moments: pd.DatetimeIndex) -> list[str]:
    """Local times without an offset."""
    return [str(moment.tz_localize(None)) for moment in moments]


def days(moments: pd.DatetimeIndex) -> list[str]:
    return list(moments.strftime("%Y-%m-%d"))


def some(moments: pd.DatetimeIndex, gone: int) -> pd.DatetimeIndex:
    """The moments without some of them."""
    kept = np.random.default_rng(1).choice(len(moments), len(moments) - gone, replace=False)
    return moments[np.sort(kept)]


def jittered(moments: pd.DatetimeIndex) -> pd.DatetimeIndex:
    return moments + pd.to_timedelta([[-3, 2, 0, 1, -1, 3, -2][i % 7] for i in range(len(moments))], unit="ms")


def per(step: str, rule: str = "off", timezone: str = "UTC") -> Mapping[str, Mapping[str, Any]]:
    return {"dataset": {"step": step, "timezone": timezone}, "preprocess": {"resample": rule}}


local = {"dataset": {"timezone": BERLIN}}
KINDS: Mapping[str, Kind] = {
    "plain hours": Kind(pd.date_range("2024-01-01", periods=400, freq="h", tz="UTC"), text),
    "hours stamped at their end, with gaps, resampled": Kind(
        some(pd.date_range("2024-01-01 00:59", periods=500, freq="h", tz="UTC"), 20), text, per("1h", "mean")
    ),
    "local days, with gaps, resampled": Kind(
        some(pd.date_range("2023-01-02", periods=660, freq="D", tz=BERLIN), 12), days, per("1d", "mean", BERLIN)
    ),
    "local days through a change of the clock": Kind(
        pd.date_range("2023-01-01", periods=460, freq="D", tz=BERLIN), days, local
    ),
    "days of UTC in another zone": Kind(
        pd.date_range("2023-01-01", periods=460, freq="D", tz="UTC"), lambda m: m.strftime("%Y-%m-%dT%XZ"), local
    ),
    "weeks of a local clock": Kind(pd.date_range("2018-01-01", periods=300, freq="W-MON", tz=BERLIN), days, local),
    "business days with holidays": Kind(some(pd.date_range("2022-01-03", periods=400, freq="B", tz="UTC"), 9), days),
    "quarters": Kind(pd.date_range("1990-01-01", periods=140, freq="QS", tz="UTC"), days),
    "months without a day": Kind(
        pd.date_range("2000-01-01", periods=200, freq="MS", tz="UTC"), lambda m: list(m.strftime("%Y-%m"))
    ),
    "ends of months": Kind(pd.date_range("2000-01-31 23:59:59", periods=200, freq="ME", tz="UTC"), text),
    "last business days of months": Kind(pd.date_range("2000-01-01", periods=200, freq="BME", tz="UTC"), days),
    "hours off by milliseconds": Kind(jittered(pd.date_range("2024-01-01", periods=600, freq="h", tz="UTC")), text),
    "local hours in autumn": Kind(pd.date_range("2024-09-20", periods=1000, freq="h", tz=BERLIN), text, local),
    "local quarter hours in autumn, resampled": Kind(
        pd.date_range("2024-10-10", periods=2200, freq="15min", tz=BERLIN), text, per("1h", "mean", BERLIN)
    ),
    "newest first": Kind(pd.date_range("2024-10-01", periods=1000, freq="h", tz=BERLIN)[::-1], text, local),
    "seconds of a slow logger": Kind(pd.date_range("2024-01-01", periods=500, freq="121s", tz="UTC"), text),
    "hours with repeated rows, resampled": Kind(
        pd.date_range("2024-01-01", periods=400, freq="h", tz="UTC").repeat([1, 1, 1, 2] * 100), text, per("1h", "mean")
    ),
    "minutes to local days, summed": Kind(
        pd.date_range("2024-06-01", periods=24 * 300, freq="h", tz=BERLIN), text, per("1d", "sum", BERLIN)
    ),
    "three local hours": Kind(
        pd.date_range("2024-09-01", periods=1400, freq="h", tz=BERLIN), text, per("3h", "max", BERLIN)
    ),
}
WITH_PROPHET = (
    "hours stamped at their end, with gaps, resampled",
    "local days, with gaps, resampled",
    "ends of months",
)


@dataclass(frozen=True)
class Judged:
    """What was judged, and the parts needed to serve it again."""

    experiment: Experiment
    bundle: Bundle
    stored: Values


@cache
def judged(kind: str, model: str) -> Judged:
    raw = KINDS[kind]
    tables = {name: dict(table) for name, table in raw.spec.items()}
    spec = small_spec((model,), **tables, evaluate={"windows": 0})
    experiment, store = experiment_on(spec, raw.frame, None)
    trained = fit(store, experiment, model)
    stored = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)
    return Judged(experiment, load_bundle(store, trained.bundle_sha256), stored["y_hat"])


def check(kind: str, model: str, data: st.DataObject) -> None:
    """Serve the raw rows up to one origin."""
    raw, known = KINDS[kind], judged(kind, model)
    task = known.experiment.task
    at = task.fitted.grid.positions(raw.times)
    origins = task.fitted.grid.positions(known.experiment.origins)
    with_row = np.flatnonzero(np.isin(origins, at))
    window = data.draw(st.sampled_from(with_row.tolist()), label="window")
    needed = max(40, known.bundle.manifest.history_rows)
    start = data.draw(st.integers(0, max(len(set(at[at <= origins[window]])) - needed, 0)), label="rows cut off")
    first = np.unique(at)[start]
    history = raw.frame.filter(pl.Series((at <= origins[window]) & (at >= first)))
    served = answer(known.bundle, history)
    expected = task.fitted.grid.after(known.experiment.origins[[window]], task.horizon)
    np.testing.assert_array_equal(served.times, expected[0])
    _, (width,) = task.fitted.target_range
    np.testing.assert_allclose(served.mean, known.stored[window], rtol=0, atol=SHARE * float(width))


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_the_forecast_from_raw_rows_is_the_judged_one(kind: str, data: st.DataObject) -> None:
    check(kind, "ridge", data)


@pytest.mark.skipif(not has_libraries("prophet"), reason="needs the extra 'prophet'")
@pytest.mark.parametrize("kind", WITH_PROPHET)
@settings(deadline=None, max_examples=5)
@given(data=st.data())
def test_the_forecast_of_a_model_of_time_is_the_judged_one(kind: str, data: st.DataObject) -> None:
    check(kind, "prophet", data)
