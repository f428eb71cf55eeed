"""Forecasts written as a table and read back: every value in its place, equal numbers as equal bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.support.raising import raises
from tests.support.series import HOUR, START

from flts.contracts.errors import DamagedObject
from flts.forecasting.tables import forecasts_from_parquet, forecasts_to_parquet
from flts.preprocess.parquet import from_parquet, to_parquet
from flts.preprocess.rows import Times, Values

TARGETS = ("wind", "load")


def sample(count: int = 4, horizon: int = 3) -> tuple[Times, Values, Values, Values]:
    origins = START + 5 * HOUR * np.arange(count, dtype=np.int64)
    mean = np.random.default_rng(0).normal(size=(count, horizon, len(TARGETS)))
    return origins, mean, mean - 1.0, mean + 1.0


def test_a_table_has_one_line_per_origin_step_and_target() -> None:
    origins, mean, lower, upper = sample()
    frame = from_parquet(
        forecasts_to_parquet(origins, TARGETS, {"y_hat": mean, "lower": lower, "upper": upper}), key="k"
    )
    assert frame.schema == {
        "origin": pl.Datetime("ns", "UTC"),
        "step": pl.Int32,
        "target": pl.String,
        "y_hat": pl.Float64,
        "lower": pl.Float64,
        "upper": pl.Float64,
    }
    times = frame["origin"].to_physical().to_list()
    lines = list(
        zip(times, frame["step"], frame["target"], frame["y_hat"], frame["lower"], frame["upper"], strict=True)
    )
    expected = [
        (int(origins[o]), step + 1, TARGETS[t], mean[o, step, t], lower[o, step, t], upper[o, step, t])
        for o in range(4)
        for step in range(3)
        for t in range(2)
    ]
    assert lines == expected


def test_values_are_read_back_bit_for_bit() -> None:
    origins, mean, lower, upper = sample()
    data = forecasts_to_parquet(origins, TARGETS, {"y_hat": mean, "lower": lower, "upper": upper})
    values = forecasts_from_parquet(data, origins, TARGETS, 3, key="k")
    assert list(values) == ["y_hat", "lower", "upper"]
    for read_back, expected in zip(values.values(), (mean, lower, upper), strict=True):
        np.testing.assert_array_equal(read_back, expected, strict=True)


def test_an_empty_bound_is_null_in_the_table_and_nan_in_memory() -> None:
    origins, mean, lower, upper = sample()
    lower[1, 2, 0] = upper[1, 2, 0] = np.nan
    data = forecasts_to_parquet(origins, TARGETS, {"y_hat": mean, "lower": lower, "upper": upper})
    assert from_parquet(data, key="k")["lower"].null_count() == 1
    values = forecasts_from_parquet(data, origins, TARGETS, 3, key="k")
    np.testing.assert_array_equal(values["lower"], lower)
    np.testing.assert_array_equal(values["upper"], upper)


def test_without_bounds_the_table_has_no_such_columns() -> None:
    origins, mean, *_ = sample()
    data = forecasts_to_parquet(origins, TARGETS, {"y_hat": mean})
    assert from_parquet(data, key="k").columns == ["origin", "step", "target", "y_hat"]
    assert list(forecasts_from_parquet(data, origins, TARGETS, 3, key="k")) == ["y_hat"]


def test_equal_numbers_give_equal_bytes_in_any_memory_layout() -> None:
    origins, mean, lower, upper = sample()
    columns = {"y_hat": mean, "lower": lower, "upper": upper}
    scattered = {name: np.asfortranarray(values) for name, values in columns.items()}
    assert forecasts_to_parquet(origins, TARGETS, columns) == forecasts_to_parquet(origins, TARGETS, scattered)


def test_a_column_of_truth_values_is_boolean_in_the_table_and_read_as_ones() -> None:
    origins, mean, *_ = sample()
    adaptive = np.broadcast_to(np.arange(4)[:, None, None] > 1, mean.shape)
    data = forecasts_to_parquet(origins, TARGETS, {"y_hat": mean, "adaptive": adaptive})
    assert from_parquet(data, key="k").schema["adaptive"] == pl.Boolean
    found = forecasts_from_parquet(data, origins, TARGETS, 3, key="k")["adaptive"]
    np.testing.assert_array_equal(found, adaptive.astype(float), strict=True)


@pytest.mark.parametrize("absent", ["origin", "step", "target", "y_hat"])
def test_a_table_without_one_of_its_columns_is_refused(absent: str) -> None:
    origins, mean, *_ = sample()
    whole = from_parquet(forecasts_to_parquet(origins, TARGETS, {"y_hat": mean}), key="k")
    with raises(DamagedObject, code="forecasts-of-other-windows", key="k"):
        forecasts_from_parquet(to_parquet(whole.drop(absent)), origins, TARGETS, 3, key="k")


@pytest.mark.parametrize(
    "other",
    [
        {"origins": sample()[0][:-1]},
        {"origins": sample()[0] + 1},
        {"origins": sample()[0][::-1]},
        {"targets": ("load", "wind")},
        {"targets": ("wind",)},
        {"horizon": 2},
        {"horizon": 4},
    ],
    ids=["fewer origins", "other origins", "another order", "other targets", "one target", "fewer steps", "more steps"],
)
def test_a_table_of_other_windows_is_refused(other: dict[str, Any]) -> None:
    origins, mean, *_ = sample()
    data = forecasts_to_parquet(origins, TARGETS, {"y_hat": mean})
    with raises(DamagedObject, code="forecasts-of-other-windows", key="k", found=24):
        forecasts_from_parquet(data, **{"origins": origins, "targets": TARGETS, "horizon": 3, **other}, key="k")
