"""How often a model would be the best on other windows: a moving-block bootstrap over the origins."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from flts.evaluate.score import Scored, composite
from flts.preprocess.rows import Values
from flts.spec.fields import Weights

RESAMPLES = 1000
FEWEST_BLOCKS = 10
"""With fewer blocks a resample is one of too few."""


def block_length(origins: int, overlapping: int) -> int:
    """Neighbouring origins that are drawn together: at least those that share forecast steps, and ⌈n^⅓⌉."""
    return max(overlapping, math.ceil(float(np.cbrt(origins)) - 1e-9))


def enough_blocks(origins: int, overlapping: int) -> bool:
    """Whether there are blocks enough to draw from."""
    return origins >= FEWEST_BLOCKS * block_length(origins, overlapping)


def best_share(name: str, models: Sequence[Scored], weights: Weights, overlapping: int, seed: int) -> float | None:
    """Share of the resamples in which no model has a lower score than this one; None with too few blocks."""
    if not enough_blocks(len(models[0].origins), overlapping):
        return None
    drawn = resampled_sums(np.hstack([model.origins for model in models]), overlapping, seed)
    scores = {}
    for position, model in enumerate(models):
        cells, square, absolute = drawn[:, 3 * position : 3 * position + 3].T
        mse, mae = square / cells, absolute / cells
        scores[model.name] = np.asarray(composite(np.sqrt(mse), mae, mse, weights))
    return float(np.mean(scores[name] <= np.min(list(scores.values()), axis=0)))


def resampled_sums(sums: Values, overlapping: int, seed: int) -> Values:
    """Sums over as many origins as there are [resamples, columns], of contributions per origin [origins, columns].

    Moving blocks of neighbouring origins are drawn with replacement (Künsch 1989), the same blocks for every column,
    and the last block is cut.
    """
    n = len(sums)
    block = block_length(n, overlapping)
    count = math.ceil(n / block)
    starts = np.random.default_rng(seed).integers(n - block + 1, size=(RESAMPLES, count))
    lengths = np.full(count, block)
    lengths[-1] = n - block * (count - 1)
    cumulated = np.vstack([np.zeros(sums.shape[1]), np.cumsum(sums, axis=0)])
    drawn: Values = (cumulated[starts + lengths] - cumulated[starts]).sum(axis=1)
    return drawn
