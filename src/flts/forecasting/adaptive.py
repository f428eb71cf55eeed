"""Adaptive offsets: quantiles of the newest scores, those of a request's own history before the stored ones.

Where a history holds rows after the model was trained, the model forecasts from the earlier origins in it, and their
errors say how far it is off now. Only what the request could know counts: step k of an origin is scored once its truth
lies in the history. The offsets are a pure function of bundle and history, so a judge and a server find the same.

Rolling scores came nearer to the nominal level than adaptive conformal inference (Gibbs and Candès 2021) on the train
rows of the public series, see docs/performance.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flts.forecasting.histories import Histories, enough_measured
from flts.forecasting.intervals import LEVELS, quantiles
from flts.forecasting.model import Forecasts, Model
from flts.models.base import Indices
from flts.preprocess.rows import Values

NEWEST = 100
"""Scores that the offsets of a step rest on."""
MOST_EARLIER = 512
"""Earlier origins of a request: each is forecast for it, so they bound what an answer costs at a long horizon."""
NONE = np.empty(0, dtype=np.int64)
"""No earlier origins."""
CHUNK = 64
"""Requests at once; limits memory when horizons are long."""


def reach(horizon: int) -> int:
    """Rows before a request in which its earlier origins lie: so many that the last step has NEWEST scores.

    At most MOST_EARLIER: beyond 413 steps the last ones have fewer scores of their own, and take those of training.
    """
    return min(NEWEST + horizon - 1, MOST_EARLIER)


def earlier_origins(histories: Histories, model: Model, trained_until: int) -> Indices:
    """The origins whose scores the requests may use: all truth after `trained_until` (UTC ns), a whole history before.

    Errors on rows that the model was fitted on are smaller than those to come, so such rows do not count.
    """
    rows, task = histories.context, model.task
    back = np.minimum(histories.lengths - model.history_rows, reach(task.horizon))
    if back.max() <= 0:
        return NONE
    edges = np.zeros(len(rows) + 1, dtype=np.int64)
    np.add.at(edges, histories.ends - np.maximum(back, 0), 1)
    np.add.at(edges, histories.ends, -1)
    origins = np.flatnonzero(np.cumsum(edges)[:-1])
    origins = origins[rows.times[origins] > trained_until]
    measured = task.fitted.measured(rows.values)
    return origins[enough_measured(measured, origins, task.input_length, task.min_measured)]


def scores(histories: Histories, answers: Forecasts, targets: tuple[str, ...]) -> Values:
    """Errors divided by the spread of each history: [origins, horizon, targets], NaN without truth.

    The truth is raw, neither filled nor clipped; rows after the end of the context have none.
    """
    truth = histories.context.select(targets)
    horizon = answers.mean.shape[1]
    padded = np.concatenate([truth, np.full((horizon, truth.shape[1]), np.nan)])
    errors: Values = np.abs(padded[histories.ends[:, None] + np.arange(horizon)] - answers.mean)
    return errors / answers.spread[:, None, :]


def rolling_offsets(
    ends: Indices, lengths: Indices, origins: Indices, found: Values, stored: Values, static: Values
) -> tuple[Values, NDArray[np.bool_]]:
    """Offsets [levels, requests, horizon, targets] of each request, and whether its own history entered: [requests].

    ends: first row that each request forecasts; lengths: the rows that it has before; origins, ascending, and found
    [origins, horizon, targets]: the scores of earlier origins; stored [windows, horizon, targets]: those of training,
    oldest first; static [levels, 1, horizon, targets]: the offsets of a step without a known score in the history.
    """
    horizon = found.shape[1]
    before = np.arange(-reach(horizon), 0)
    future = before[:, None] + np.arange(horizon) >= 0
    found = np.concatenate([found, np.full((1, *found.shape[1:]), np.nan)])
    tail = _newest(stored)
    offsets = np.empty((len(LEVELS), len(ends), *found.shape[1:]))
    adaptive = np.zeros(len(ends), dtype=bool)
    for start in range(0, len(ends), CHUNK):
        part = slice(start, start + CHUNK)
        rows = before[:, None] + ends[part]
        at = np.searchsorted(origins, rows)
        absent = (origins[np.minimum(at, len(origins) - 1)] != rows) | (-before[:, None] > lengths[part])
        known = found[np.where(absent, -1, at)]
        known[np.broadcast_to(future[:, None], known.shape[:3])] = np.nan
        own: NDArray[np.bool_] = np.asarray(~np.isnan(known).all(axis=0))
        pool = np.concatenate([np.broadcast_to(tail[:, None], (len(tail), *known.shape[1:])), known])
        offsets[:, part] = np.where(own, quantiles(_newest(pool)), static)
        adaptive[part] = own.reshape(len(own), -1).any(axis=1)
    return offsets, adaptive


def _newest(scores: Values) -> Values:
    """The newest NEWEST known scores along the first axis, in order, with NaN before them where there are fewer."""
    order = np.argsort(~np.isnan(scores), axis=0, kind="stable")
    return np.take_along_axis(scores, order[-NEWEST:], axis=0)
