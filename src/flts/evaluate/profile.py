"""Where a forecast errs: errors per step of the horizon, per hour of the day and per weekday."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flts.contracts.records.decision import HourErrors, Profile, StepErrors, WeekdayErrors
from flts.evaluate.metrics import Yardstick, scaled_errors
from flts.preprocess.rows import Values

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class WallClock:
    """Local time of every forecast row: hour 0 to 23 and weekday 0 (Monday) to 6, [origins, horizon] each."""

    hour: Labels
    weekday: Labels


def profile(truth: Values, forecast: Values, yardstick: Yardstick, clock: WallClock) -> Profile:
    """Scaled RMSE and MAE and the number of cells for every step, hour and weekday that was scored."""
    error = scaled_errors(truth, forecast, yardstick)
    days = clock.weekday
    steps = np.broadcast_to(np.arange(1, truth.shape[1] + 1), truth.shape[:2])
    return Profile(
        step=[StepErrors(step=at, rmse=rmse, mae=mae, cells=n) for at, rmse, mae, n in _by(error, steps)],
        hour=[HourErrors(hour=at, rmse=rmse, mae=mae, cells=n) for at, rmse, mae, n in _by(error, clock.hour)],
        weekday=[WeekdayErrors(weekday=at, rmse=rmse, mae=mae, cells=n) for at, rmse, mae, n in _by(error, days)],
    )


def _by(error: Values, labels: Labels) -> Iterator[tuple[int, float, float, int]]:
    """Label, RMSE, MAE and number of the scored cells of each label that has any."""
    for label in np.unique(labels):
        cells = error[labels == label]
        cells = cells[~np.isnan(cells)]
        if cells.size:
            mse = math.fsum((cells**2).tolist()) / cells.size
            mae = math.fsum(np.abs(cells).tolist()) / cells.size
            yield int(label), math.sqrt(mse), mae, int(cells.size)
