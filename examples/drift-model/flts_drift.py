"""The drift forecast: the last value plus the mean change per row (Hyndman and Athanasopoulos, 5.2)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from flts.contracts.ports import Progress
from flts.models.base import Block, Files, Fit, ForecastTask, History, Predictor, Recipe, Window
from flts.preprocess.rows import Values
from flts.spec.table import Table


class DriftParameters(Table):
    """The last value plus the mean change per row."""

    rows: Annotated[int, Field(ge=0)] = 0
    """Number of train rows, the last ones, that the change is taken from; 0 takes all."""


class _Drift:
    def __init__(self, changes: Values) -> None:
        self._changes = changes  # [horizon, targets]

    def predict(self, window: Window) -> Values:
        return window.targets[:, -1:] + self._changes


class Drift:
    """A straight line through the last value."""

    name = "drift"
    parameters = DriftParameters
    version = 1
    extra = None
    libraries: Sequence[str] = ()
    cost = 0

    def history(self, task: ForecastTask) -> History:
        return History(wanted=1, minimum=1)

    def fit(
        self, block: Block, validation: Block, task: ForecastTask, recipe: Recipe[DriftParameters], progress: Progress
    ) -> Fit:
        recent = block.targets[-recipe.parameters.rows :]
        slopes = [_slope(recent[:, target]) for target in range(task.targets)]
        return Fit(files={"slope.json": json.dumps(slopes).encode()}, chosen={})

    def load(self, files: Files, task: ForecastTask) -> Predictor:
        slope = np.array(json.loads(files["slope.json"]))
        return _Drift(np.arange(1, task.horizon + 1)[:, None] * slope)


def _slope(values: Values) -> float:
    """Mean change per row between the first and the last measured value of one target [rows]."""
    measured = np.flatnonzero(~np.isnan(values))  # a cell that was not measured is NaN
    if len(measured) < 2:
        return 0.0
    first, last = measured[[0, -1]]
    return float((values[last] - values[first]) / (last - first))
