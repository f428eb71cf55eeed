"""What a recurrent network sees of a window: the targets, their lags and the calendar, in patches of rows.

Other columns are left out: on train rows of public series they made the error of a network larger
(docs/decisions/0012). Where columns are known ahead, it sees them and the calendar of each row to forecast.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flts.models.base import Floats, ForecastTask, Indices
from flts.preprocess.rows import Values

STEPS = 24
"""Rows that the cell reads at most: a longer window is read in patches, of as few rows as that takes."""


@dataclass(frozen=True)
class Sight:
    """Columns of the features [windows, length, features] and how they become scaled targets.

    columns, factor, shift and target [values]: of each target and each of its lags; calendar [columns]; known: how many
    columns are known of the rows to forecast.
    """

    length: int
    horizon: int
    features: int
    targets: int
    columns: Indices
    factor: Values
    shift: Values
    target: Indices
    calendar: Indices
    known: int

    @classmethod
    def of(cls, task: ForecastTask) -> Sight:
        """What a network sees for this task."""
        fitted, lags = task.fitted, len(task.fitted.lags)
        minimum, width = fitted.target_range
        columns = [fitted.columns[i] for i in fitted.target_index]
        scale, center = (np.array([getattr(column, name) for column in columns]) for name in ("scale", "center"))
        lagged = len(fitted.names) + np.arange(lags * task.targets)
        count = len(fitted.features)
        return cls(
            task.input_length,
            task.horizon,
            count,
            task.targets,
            np.concatenate([fitted.target_index, lagged]).astype(np.int64),
            np.tile(scale / width, 1 + lags),
            np.tile((center - fitted.constant - minimum) / width, 1 + lags),
            np.tile(np.arange(task.targets), 1 + lags),
            np.arange(count - len(fitted.calendar), count),
            len(task.known),
        )

    @property
    def patch(self) -> int:
        """Rows of a patch."""
        return math.ceil(self.length / STEPS)

    @property
    def read(self) -> int:
        """The newest rows of a window that the cell reads: whole patches."""
        return self.length // self.patch * self.patch

    @property
    def width(self) -> int:
        """Columns of a patch."""
        return self.patch * (len(self.columns) + len(self.calendar))

    @property
    def straight(self) -> int:
        """Columns of the linear path: the values of the window, the calendar of its last row, what is known ahead."""
        return self.length * len(self.columns) + len(self.calendar) + self.horizon * self.known

    @property
    def ahead(self) -> int:
        """Columns of each row to forecast that are seen: what is known ahead, and with it the calendar."""
        return self.known and self.known + len(self.calendar)

    def values(self, features: Floats) -> tuple[Floats, Floats]:
        """Scaled targets and their lags [..., values], and the calendar [..., columns], of features."""
        values = features[..., self.columns] * self.factor.astype(np.float32) + self.shift.astype(np.float32)
        return values, features[..., self.calendar]

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        """What a graph needs to see features in this way."""
        tensors: dict[str, NDArray[Any]] = {
            "value_columns": self.columns,
            "value_factor": self.factor.astype(np.float32),
            "value_shift": self.shift.astype(np.float32),
            "target_of_value": self.target,
            "own_columns": np.arange(self.targets),
            "last_row": np.array([self.length - 1]),
            "newest_rows": np.arange(self.length - self.read, self.length),
            "patches": np.array([0, self.read // self.patch, self.width]),
            "steps": np.array([0, self.horizon, self.targets]),
        }
        if len(self.calendar):
            tensors["calendar_columns"] = self.calendar
        if self.known:
            tensors |= {"known_columns": np.arange(self.known), "step_axis": np.array([1])}
        return tensors
