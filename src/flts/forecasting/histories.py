"""Histories: the rows before each origin, which are all that a model may see when it forecasts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flts.models.base import Indices
from flts.preprocess.rows import Rows, Times, Values

CHUNK = 256
"""Windows that a model forecasts at once; limits memory when histories are long."""


@dataclass(frozen=True)
class Histories:
    """The rows before some origins. Nothing after an origin can be read through it.

    context: rows in order; ends [origins]: index in context of the first row to forecast.
    """

    context: Rows
    ends: Indices

    def __len__(self) -> int:
        return len(self.ends)

    def batches(self, wanted: int) -> Iterator[tuple[Indices, Times, Values]]:
        """Group histories of equal length, at most `wanted` rows each.

        Yields positions of the origins, times [windows, rows] and values [windows, rows, columns].
        """
        lengths = np.minimum(self.ends, wanted)
        for length in np.unique(lengths):
            positions = np.flatnonzero(lengths == length)
            for start in range(0, len(positions), CHUNK):
                part = positions[start : start + CHUNK]
                rows = self.ends[part, None] + np.arange(-length, 0)
                yield part, self.context.times[rows], self.context.values[rows]


def unbroken(times: Times, origins: Indices, before: Indices | int, after: int, step: int) -> NDArray[np.bool_]:
    """Whether all rows from origin - before to origin + after - 1 follow each other by one step."""
    broken = np.concatenate([[0], np.cumsum(np.diff(times) != step)])
    return np.asarray(broken[origins + after - 1] == broken[origins - before])
