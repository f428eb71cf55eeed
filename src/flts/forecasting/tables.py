"""Forecasts as a Parquet table: one row per origin, step and target."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flts.contracts.errors import DamagedObject
from flts.contracts.layout import mend
from flts.preprocess.parquet import from_parquet, time_column, to_parquet
from flts.preprocess.rows import Times, Values

if TYPE_CHECKING:
    import polars as pl


def forecasts_to_parquet(
    origins: Times, targets: Sequence[str], columns: Mapping[str, Values | NDArray[np.bool_]]
) -> bytes:
    """Write columns origin, step (from 1), target, and those given [origins, horizon, targets], null for NaN."""
    import polars as pl

    count, horizon, width = columns["y_hat"].shape
    series: list[pl.Series] = [
        time_column(np.repeat(origins, horizon * width), "origin"),
        pl.Series("step", np.tile(np.repeat(np.arange(1, horizon + 1), width), count), pl.Int32),
        pl.Series("target", list(targets) * (count * horizon), pl.String),
    ]
    for name, values in columns.items():
        series.append(pl.Series(name, values.reshape(-1), nan_to_null=values.dtype.kind == "f"))
    return to_parquet(pl.DataFrame(series))


def origins_from_parquet(data: bytes, *, key: str) -> Times:
    """The origins (UTC ns) of a table of forecasts, in its order. Raises DamagedObject."""
    import polars as pl

    frame = from_parquet(data, key=key)
    if "origin" not in frame.columns:
        raise DamagedObject(
            f"{key} is damaged: it has no column 'origin'; {mend(key)}", code="forecasts-of-other-windows", key=key
        )
    origins: Times = frame["origin"].unique(maintain_order=True).dt.epoch("ns").cast(pl.Int64).to_numpy()
    return origins


def forecasts_from_parquet(
    data: bytes, origins: Times, targets: Sequence[str], horizon: int, *, key: str
) -> dict[str, Values]:
    """Read the value columns as [origins, horizon, targets], NaN for null, 1 for true; `key`: the object, for errors.

    Raises DamagedObject when the table holds other origins, steps or targets.
    """
    import polars as pl

    frame = from_parquet(data, key=key)
    shape = (len(origins), horizon, len(targets))
    expected = forecasts_to_parquet(origins, targets, {"y_hat": np.zeros(shape)})
    keys = ["origin", "step", "target"]
    complete = {*keys, "y_hat"} <= {*frame.columns}
    if not complete or not frame.select(keys).equals(from_parquet(expected, key=key).select(keys)):
        raise DamagedObject(
            f"{key}: forecasts with {frame.height} rows do not fit the windows: expected {shape[0]} origins ×"
            f" {horizon} steps × {len(targets)} targets, in this order",
            code="forecasts-of-other-windows",
            key=key,
            found=frame.height,
            expected=math.prod(shape),
        )
    values = {}
    for name in frame.columns:
        if name not in keys:
            values[name] = frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy().reshape(shape)
    return values
