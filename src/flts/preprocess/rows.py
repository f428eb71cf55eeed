"""Rows of a time series as plain arrays, the one form every later stage sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]
"""UTC nanoseconds, or nanoseconds on a clock."""
Positions = NDArray[np.int64]
"""Counts of steps on a grid."""
Indices = NDArray[np.int64]
"""Which rows of a table, from 0."""
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Rows in order of time; once placed on a grid, one per step.

    times: UTC nanoseconds [rows]; values: original units, NaN where empty [rows, columns]. ahead: of the history of a
    request, what is known of the rows to forecast, all other cells empty; it follows no part of the rows.
    """

    times: Times
    values: Values
    columns: tuple[str, ...]
    ahead: Rows | None = None

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, part: slice) -> Rows:
        return Rows(self.times[part], self.values[part], self.columns)

    def select(self, columns: Sequence[str]) -> Values:
        """The named columns, [rows, columns], in this order."""
        return self.values[:, [self.columns.index(name) for name in columns]]

    def then(self, later: Rows) -> Rows:
        """These rows and the later ones, as one."""
        return Rows(
            np.concatenate([self.times, later.times]), np.concatenate([self.values, later.values]), self.columns
        )
