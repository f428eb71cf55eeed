"""The scale of the errors: what a forecast error is divided by to become a score, taken from the history alone.

One model has one scale, chosen in training. Every score is an error divided by the spread of the history that it was
forecast from, and every interval is an offset times the spread of the request, so intervals follow the series.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from flts.contracts.records.model import Scale
from flts.forecasting.intervals import STORED_LEVEL, quantiles
from flts.models.base import ForecastTask, Window
from flts.preprocess.rows import Values

FLOOR = 0.01
"""The smallest spread, as a share of the target's range over train."""


def offered(train: Values) -> Sequence[Scale]:
    """The scales that a fit may choose, the simplest first; train: raw targets [rows, targets].

    A level needs a zero that means something, so it is offered only for targets that are never negative. The other two
    stay the same when the series is shifted or takes the other sign.
    """
    nonnegative = bool((np.fmin.reduce(train) >= 0.0).all())
    return ("constant", "change", "level") if nonnegative else ("constant", "change")


def spread(scale: Scale, window: Window, task: ForecastTask) -> Values:
    """The spread [windows, targets] in original units, over the last input_length rows; empty cells do not count.

    constant: the target's range over train. change: the mean absolute difference between neighbouring rows, at least
    0.01 of the range. level: the mean, at least 0, plus 0.01 of the range. level-above-minimum, of bundles of version
    1: the same of the mean above the train minimum, with filled cells. Where nothing is measured: the range.
    """
    _, width = task.fitted.target_range
    count = len(window.times)
    if scale == "constant":
        return np.repeat(width[None], count, axis=0)
    if scale == "level-above-minimum":
        above: Values = window.targets[:, -task.input_length :].mean(axis=1)
        return (np.maximum(above, 0.0) + FLOOR) * width
    targets = window.cleaned[:, -task.input_length :, task.fitted.target_index]
    measured = window.measured_targets[:, -task.input_length :]
    recent = np.where(measured, targets, np.nan)
    if scale == "change":
        mean = _mean(np.abs(np.diff(recent, axis=1)))
        return np.where(np.isnan(mean), width, np.maximum(mean, FLOOR * width))
    mean = _mean(recent)
    return np.where(np.isnan(mean), width, np.maximum(mean, 0.0) + FLOOR * width)


def choose(truth: Values, mean: Values, spreads: Mapping[Scale, Values], width: Values) -> Scale:
    """The scale with the best 80 % intervals: offsets from the first half of the windows, scored on the second.

    truth, NaN where empty, and mean [windows, horizon, targets]; spreads [windows, targets] by scale; width: range of
    each target over train. The score is the interval score of Gneiting and Raftery (2007, eq. 43), in shares of the
    range. On a tie the first scale stays.
    """
    half = len(truth) // 2
    error = np.abs(truth - mean)
    best: tuple[float, Scale] | None = None
    for scale, values in spreads.items():
        of_step = values[:, None, :]
        (offsets,) = quantiles(error[:half] / of_step[:half], (STORED_LEVEL,))
        half_width = offsets * of_step[half:]
        beyond = np.maximum(error[half:] - half_width, 0.0)
        score = float(np.nanmean((2.0 * half_width + 2.0 / (1.0 - STORED_LEVEL) * beyond) / width))
        if best is None or score < best[0]:
            best = score, scale
    assert best is not None
    return best[1]


def _mean(values: Values) -> Values:
    """Mean over the rows [windows, rows, targets] that are not NaN; NaN where there is none."""
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)
