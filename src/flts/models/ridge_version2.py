"""Ridge as version 2 wrote it: bundles of that version answer as they were judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flts.models.base import ForecastTask, Window
from flts.models.ridge_design import fourier
from flts.preprocess.rows import Values
from flts.preprocess.transform import calendar


class LinearVersion2:
    """A linear map of the features of the window, row by row, then of the calendar of the first forecast row."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], task: ForecastTask) -> None:
        self._covariates, self._fourier = (bool(flag) for flag in tensors["design"])
        self.targets_alone = not self._covariates
        self._weights, self._intercept, self._task = tensors["weights"], tensors["intercept"], task

    def predict(self, window: Window) -> Values:
        task, fitted, first = self._task, self._task.fitted, window.future(1)[:, 0]
        values = window.features[:, -task.input_length :, : len(fitted.features) - len(fitted.calendar)]
        if not self._covariates:
            values = values[..., [*fitted.target_index, *range(len(fitted.names), values.shape[-1])]]
        dates = [calendar(first, fitted)] if fitted.calendar else []
        if self._fourier:
            dates.append(fourier(first, task))
        columns = np.hstack([values.reshape(len(values), -1), *dates], dtype=np.float64)
        answers: Values = columns @ self._weights + self._intercept
        return answers.reshape(-1, task.horizon, task.targets)
