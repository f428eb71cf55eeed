"""Where a forecast errs: per step of the horizon, per hour of the day, per weekday."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flts.evaluate.metrics import Yardstick, scaled_errors
from flts.preprocess.rows import Values

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class WallClock:
    """Local time of every forecast row: hour 0 to 23 and weekday 0 (Monday) to 6, [origins, horizon] each."""

    hour: Labels
    weekday: Labels


def profile(truth: Values, forecast: Values, yardstick: Yardstick, clock: WallClock) -> dict[str, list[dict[str, Any]]]:
    """Scaled RMSE and MAE and the number of cells for every step, hour and weekday that was scored."""
    error = scaled_errors(truth, forecast, yardstick)
    steps = np.broadcast_to(np.arange(1, truth.shape[1] + 1), truth.shape[:2])
    labels: Mapping[str, Labels] = {"step": steps, "hour": clock.hour, "weekday": clock.weekday}
    return {name: _by(error, label, name) for name, label in labels.items()}


def _by(error: Values, labels: Labels, name: str) -> list[dict[str, Any]]:
    found = []
    for label in np.unique(labels):
        cells = error[labels == label]
        cells = cells[~np.isnan(cells)]
        if cells.size:
            mse = math.fsum((cells**2).tolist()) / cells.size
            mae = math.fsum(np.abs(cells).tolist()) / cells.size
            found.append({name: int(label), "rmse": math.sqrt(mse), "mae": mae, "cells": int(cells.size)})
    return found
