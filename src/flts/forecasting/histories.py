"""Histories: the rows before each origin, which are all that a model may see when it forecasts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flts.models.base import Indices
from flts.preprocess.rows import Rows, Times, Values

DRAW = 11
"""Seed of the places inside the strata; fixed, so that windows stay comparable between experiments."""
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


def enough_measured(
    measured: NDArray[np.bool_], origins: Indices, input_length: int, share: float
) -> NDArray[np.bool_]:
    """Whether at least this share of the input rows before each origin hold every target: [origins].

    measured [rows]: whether a row holds every target. Rows before the first one count as empty.
    """
    total = np.concatenate([[0], np.cumsum(measured)])
    held = total[origins] - total[np.maximum(origins - input_length, 0)]
    # in floats 0.07 × 100 is just above 7, and ⌈7⌉ must not become 8
    return np.asarray(held >= math.ceil(share * input_length - 1e-9))


def some_truth(targets: Values, origins: Indices, horizon: int) -> NDArray[np.bool_]:
    """Whether a target is measured in one of the rows that follow each origin: [origins]; targets [rows, targets]."""
    total = np.concatenate([[0], np.cumsum(~np.isnan(targets).all(axis=1))])
    return np.asarray(total[origins + horizon] > total[origins])


def one_per_stratum(origins: Indices, count: int) -> Indices:
    """At most `count` of the origins: one from each of `count` equal parts, at a place that is drawn.

    Evenly spaced origins would all lie at one hour of the day where their distance is a multiple of it. The draw
    depends on the number of origins and on `count` alone, so it is the same for every model.
    """
    if len(origins) <= count:
        return origins
    bounds = np.arange(count + 1) * len(origins) // count
    drawn = np.random.Generator(np.random.PCG64(DRAW)).random(count)
    places = bounds[:-1] + (drawn * np.diff(bounds)).astype(np.int64)
    return origins[places]
