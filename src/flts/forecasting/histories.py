"""Histories: the rows before each origin, which are all that a model may see when it forecasts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flts.models.base import Indices
from flts.preprocess.rows import Rows, Times, Values

DRAW = 11
"""Seed of the places inside the strata; fixed, so that windows stay comparable between experiments."""
CHUNK = 256
"""Windows that a model forecasts at once; limits memory when histories are long."""
ONE_REQUEST = np.zeros(1, dtype=np.int64)
"""The first row of a context that belongs to one request."""


@dataclass(frozen=True)
class Histories:
    """The rows before some origins. Nothing after an origin can be read through it but what `ahead` is asked for.

    context: rows in order, those of several requests one after another; ends [origins]: index in context of the first
    row to forecast; starts [requests], ascending: index of the first row of each request. A history holds rows of its
    own request only.
    """

    context: Rows
    ends: Indices
    starts: Indices = field(default_factory=lambda: ONE_REQUEST)

    @classmethod
    def ended(cls, requests: Sequence[Rows]) -> Histories:
        """One origin at the end of each request, with what it knows of the rows to forecast; at least one request."""
        whole = (rows if rows.ahead is None else rows.then(rows.ahead) for rows in requests)
        ends = (np.array([len(rows)], dtype=np.int64) for rows in requests)
        return cls.joined([cls(context, end) for context, end in zip(whole, ends, strict=True)])

    @classmethod
    def joined(cls, requests: Sequence[Histories]) -> Histories:
        """The origins of several requests, each with its own rows, as one; at least one request."""
        if len(requests) == 1:
            return requests[0]
        rows = [request.context for request in requests]
        starts = np.cumsum([0, *map(len, rows)])
        times, values = (np.concatenate(parts) for parts in zip(*((r.times, r.values) for r in rows), strict=True))
        ends = [request.ends + start for request, start in zip(requests, starts[:-1], strict=True)]
        firsts = [request.starts + start for request, start in zip(requests, starts[:-1], strict=True)]
        return cls(Rows(times, values, rows[0].columns), np.concatenate(ends), np.concatenate(firsts))

    def __len__(self) -> int:
        return len(self.ends)

    @cached_property
    def lengths(self) -> Indices:
        """How many rows each origin has before it: [origins]."""
        if len(self.starts) == 1:
            return self.ends
        return self.ends - self.starts[np.searchsorted(self.starts, self.ends) - 1]

    def before(self, origins: Indices) -> Histories:
        """The histories before other origins in the same rows, none of them the first row of a request."""
        return Histories(self.context, origins, self.starts)

    def ahead(self, positions: Indices, columns: NDArray[np.intp], horizon: int) -> Values:
        """These columns of the rows that these origins forecast: [positions, horizon, columns], NaN where not known."""
        ends = self.ends[positions]
        rows = ends[:, None] + np.arange(horizon)
        after = np.append(self.starts, len(self.context))[np.searchsorted(self.starts, ends)]
        known: Values = self.context.values[np.minimum(rows, len(self.context) - 1)[..., None], columns]
        return np.where((rows < after[:, None])[..., None], known, np.nan)

    def batches(self, wanted: int) -> Iterator[tuple[Indices, Times, Values]]:
        """Group histories of equal length, at most `wanted` rows each.

        Yields positions of the origins, times [windows, rows] and values [windows, rows, columns].
        """
        lengths = np.minimum(self.lengths, wanted)
        for length in [lengths[0]] if (lengths == lengths[0]).all() else np.unique(lengths):
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
