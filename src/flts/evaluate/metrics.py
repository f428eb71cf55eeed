"""Errors of a forecast against the truth, summed so exactly that the order of the windows cannot matter.

Every composite error is on (y - min) / (max - min) of its target over train, whatever scaler the features have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flts.contracts.errors import DataError
from flts.contracts.records.decision import METRICS
from flts.preprocess.rows import Values


@dataclass(frozen=True)
class Yardstick:
    """What errors are scaled by; all from the measured cells of train.

    width [targets]: range of each target; season_error [targets]: in-sample error of the seasonal naive forecast, or
    None with the reason in `no_mase`.
    """

    targets: Sequence[str]
    width: Values
    season_error: Values | None
    no_mase: str | None = None


@dataclass(frozen=True)
class Errors:
    """Pooled over scored origins, steps and targets; rmse, mae and mse are scaled, `units` are original ones."""

    rmse: float
    mae: float
    mse: float
    mase: float | None
    units: Mapping[str, Mapping[str, float]]
    cells: int

    def pooled(self) -> dict[str, Any]:
        """The errors over all targets by name, as a row of the scoreboard has them; None for one without a value."""
        return {name: getattr(self, name) for name in METRICS}


def scaled_errors(truth: Values, forecast: Values, yardstick: Yardstick) -> Values:
    """forecast - truth over the target's range: [origins, horizon, targets], NaN where there is no truth."""
    return (forecast - truth) / yardstick.width


def measure(truth: Values, forecast: Values, yardstick: Yardstick) -> Errors:
    """All errors of one candidate; arrays [origins, horizon, targets] in original units, NaN truth is not scored.

    Raises DataError when no cell has truth.
    """
    error = scaled_errors(truth, forecast, yardstick)
    scored = ~np.isnan(truth)
    cells = int(scored.sum())
    if cells == 0:
        raise DataError("no test cell of the targets has a value: nothing can be scored", code="no-truth")
    mse, mae = _mean(error[scored] ** 2), _mean(np.abs(error[scored]))
    units = {}
    for index, target in enumerate(yardstick.targets):
        of_target, width = error[..., index][scored[..., index]], float(yardstick.width[index])
        if of_target.size:
            # scaled first: squares of very small or large units leave the range of floats
            square, absolute = _mean(of_target**2), _mean(np.abs(of_target))
            units[target] = {"rmse": math.sqrt(square) * width, "mae": absolute * width, "mse": square * width**2}
    mase = None
    if yardstick.season_error is not None:
        mase = _mean((np.abs(forecast - truth) / yardstick.season_error)[scored])
    return Errors(math.sqrt(mse), mae, mse, mase, units, cells)


def by_origin(truth: Values, forecast: Values, yardstick: Yardstick) -> Values:
    """Scored cells, and sums of the squares and magnitudes of their scaled errors: [scored origins, 3].

    An origin without truth is left out.
    """
    error = scaled_errors(truth, forecast, yardstick)
    scored = ~np.isnan(error)
    parts = (scored, np.where(scored, error**2, 0.0), np.where(scored, np.abs(error), 0.0))
    sums = np.column_stack([part.sum(axis=(1, 2), dtype=float) for part in parts])
    return sums[sums[:, 0] > 0]


def _mean(values: Values) -> float:
    """The mean; math.fsum rounds once, so the order of the numbers does not matter."""
    return math.fsum(values.ravel().tolist()) / values.size
