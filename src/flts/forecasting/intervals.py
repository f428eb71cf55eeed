"""Split-conformal intervals from the scores of windows that the fit did not see (Vovk et al. 2005; Lei et al. 2018).

A score is a forecast error divided by the spread of its history (`scale.py`). An interval is the forecast ± an offset,
a quantile of the scores, times the spread of the request. The levels are nominal: exact for exchangeable scores, which
those of a time series are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from flts.preprocess.rows import Values

LEVELS = (0.5, 0.8, 0.9, 0.95)
MIN_WINDOWS = 20
STORED_LEVEL = 0.8


def quantiles(scores: Values, levels: Sequence[float] = LEVELS) -> Values:
    """The ⌈(n+1)·level⌉-th smallest of the n known scores, at most the largest: [levels, horizon, targets].

    scores [windows, horizon, targets], NaN where unknown; a step without a known score is NaN.
    """
    ordered = np.sort(scores, axis=0)  # NaN last
    known = (~np.isnan(scores)).sum(axis=0)
    # in floats 0.07 × 100 is just above 7, and ⌈7⌉ must not become 8
    ranks = [np.ceil((known + 1) * level - 1e-9).astype(np.int64) for level in levels]
    at = np.maximum(np.minimum(np.stack(ranks), known) - 1, 0)
    return np.take_along_axis(ordered, at, axis=0)


def conformal_offsets(scores: Values) -> dict[str, list[list[float]]] | None:
    """Offsets per level as [horizon][targets], or None where a step has fewer than 20 known scores."""
    if len(scores) < MIN_WINDOWS or (~np.isnan(scores)).sum(axis=0).min() < MIN_WINDOWS:
        return None
    return {f"{level:g}": of_level.tolist() for level, of_level in zip(LEVELS, quantiles(scores), strict=True)}


def half_widths(stored: Values, offsets: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, Values]:
    """Half widths of every level [windows, horizon, targets], from the stored one of STORED_LEVEL.

    For forecasts of version 1, which hold nothing else: all half widths of a request were multiples of its spread.
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
