"""Split-conformal intervals from the residuals of the validation windows (Vovk et al. 2005; Lei et al. 2018).

A residual is divided by the spread of the history that it was forecast from, and an offset is multiplied by the spread
of the request (`Forecasts.spread`), so intervals widen and narrow with the series.
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
    """Half widths of every level [windows, horizon, targets], from the stored one of STORED_LEVEL.

    All half widths of a request are multiples of its spread, so the one that is stored gives the others.
    """
    of_stored = np.array(offsets[f"{STORED_LEVEL:g}"])
    by_level = {}
    for level, values in offsets.items():
        offset = np.array(values)
        ratio = np.where(
            of_stored > 0.0, offset / np.where(of_stored > 0.0, of_stored, 1.0), np.where(offset > 0.0, np.nan, 1.0)
        )
        by_level[level] = stored * ratio
    return by_level


def bounds(
    mean: Values, spread: Values, offsets: dict[str, list[list[float]]] | None, level: float
) -> tuple[Values, Values]:
    """Lower and upper bounds [windows, horizon, targets], NaN for steps without offsets."""
    half_width = np.full(mean.shape[1:], np.nan)
    if offsets is not None:
        of_level = np.array(offsets[f"{level:g}"])[: mean.shape[1]]
        half_width[: len(of_level)] = of_level
    width = half_width * spread[:, None, :]
    return mean - width, mean + width
