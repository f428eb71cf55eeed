"""Split-conformal intervals: how far the fit without the tail was off on the tail (Vovk et al. 2005; Lei et al. 2018).

A residual is divided by the level of the history it was made from, and an offset is multiplied by the level of the
request, so the interval breathes with the series.
"""

from __future__ import annotations

import math

import numpy as np

from flts.preprocess.rows import Values

LEVELS = (0.5, 0.8, 0.9, 0.95)
MIN_WINDOWS = 20
STORED_LEVEL = 0.8


def conformal_offsets(truth: Values, forecast: Values, spread: Values) -> dict[str, list[list[float]]] | None:
    """Offsets per level as [horizon][targets], or None with fewer than 20 windows.

    truth and forecast [windows, horizon, targets] in one unit; spread [windows, targets]. The quantile is the
    ⌈(n+1)·level⌉-th smallest score, which covers a new exchangeable window with at least `level`.
    """
    count = len(truth)
    if count < MIN_WINDOWS:
        return None
    scores = np.sort(np.abs(truth - forecast) / spread[:, None, :], axis=0)
    return {f"{level:g}": scores[math.ceil((count + 1) * level) - 1].tolist() for level in LEVELS}


def half_widths(stored: Values, offsets: dict[str, list[list[float]]]) -> dict[str, Values]:
    """Half the width of every level's interval [windows, horizon, targets] from that of the stored level.

    An interval is a multiple of the request's own level, so one level gives all others.
    """
    known = np.array(offsets[f"{STORED_LEVEL:g}"])
    found = {}
    for level, values in offsets.items():
        offset = np.array(values)
        ratio = np.where(known > 0.0, offset / np.where(known > 0.0, known, 1.0), np.where(offset > 0.0, np.nan, 1.0))
        found[level] = stored * ratio
    return found


def bounds(
    mean: Values, spread: Values, offsets: dict[str, list[list[float]]] | None, level: float
) -> tuple[Values, Values]:
    """Lower and upper bound [windows, horizon, targets]; NaN where there are no offsets, or none for a later step."""
    half_width = np.full(mean.shape[1:], np.nan)
    if offsets is not None:
        known = np.array(offsets[f"{level:g}"])[: mean.shape[1]]
        half_width[: len(known)] = known
    width = half_width * spread[:, None, :]
    return mean - width, mean + width
