"""AutoTBATS: seasons as sines, smoothing, a Box-Cox transform and ARMA errors (De Livera, Hyndman and Snyder 2011).

statsforecast fits it, which takes seconds to half a minute, and cannot go on from another history. This can: with fixed
parameters the model is linear, so the state after a history is a matrix times its transformed values. The state before
a history is the one that explains it best, by least squares as in the paper, with a small penalty, so that a short
history decides little.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated

import numpy as np
from pydantic import Field

from flts.contracts.errors import NotApplicable
from flts.contracts.ports import Progress
from flts.contracts.records.base import Part
from flts.models.base import Block, Fit, ForecastTask, Recipe
from flts.models.past import LONGEST, phased
from flts.models.statistical import Statistical, floor_of, floored
from flts.preprocess.rows import Values
from flts.spec.models import AutoTbatsParameters

ROWS_FITTED = 600
"""Newest rows that are fitted, or four of the longest season: the time of a fit grows with them."""
PENALTY = 0.01
"""On the squares of the state before a history, less its level."""
MOST_HARMONICS = 50
MOST_ARMA = 5
KEPT = 64
"""Matrices that are kept at once, one for each fit and length of a history."""

Coefficients = Annotated[list[float], Field(max_length=MOST_ARMA)]
Harmonics = Annotated[int, Field(ge=1, le=MOST_HARMONICS)]


class Season(Part):
    """One season as a sum of turning pairs."""

    rows: Annotated[int, Field(ge=2, le=LONGEST // 2)]
    harmonics: Harmonics
    gamma: Annotated[list[float], Field(min_length=2, max_length=2)]
    """How much of an error enters the sine and the cosine of every pair."""


class Tbats(Part):
    """The chosen kind and its parameters."""

    box_cox: Annotated[float, Field(ge=0.0, le=1.0)] | None
    alpha: float
    beta: float | None
    """None without a trend."""
    phi: Annotated[float, Field(ge=0.0, le=1.0)] | None
    """Damping of the trend; 1 without."""
    seasons: Annotated[list[Season], Field(min_length=1, max_length=4)]
    ar: Coefficients
    ma: Coefficients
    floor: float | None
    """The lowest value of a history that it is shown; None without a Box-Cox transform."""


class AutoTbats(Statistical[AutoTbatsParameters, Tbats]):
    """Forecasts several seasons by exponential smoothing of sines."""

    name = "autotbats"
    parameters = AutoTbatsParameters
    stored = Tbats
    longest = LONGEST // 2
    back = 4
    cost = 6

    def seasons(self, task: ForecastTask) -> Sequence[int]:
        """All that a history holds twice."""
        return phased(task) or task.seasons[:1]

    def fit(
        self,
        block: Block,
        validation: Block,
        task: ForecastTask,
        recipe: Recipe[AutoTbatsParameters],
        progress: Progress,
    ) -> Fit:
        """Fit every target. Raises NotApplicable without a season, and as every family of this kind."""
        if not task.seasons:
            raise NotApplicable(
                "needs a season, and none was found in train; task.seasons can name one", code="no-season"
            )
        return super().fit(block, validation, task, recipe, progress)

    def fit_series(self, values: Values, seasons: Sequence[int], parameters: AutoTbatsParameters) -> Sequence[Tbats]:
        """Search trend, damping and transform by AIC, and the ARMA errors of each."""
        from statsforecast.models import AutoTBATS

        values = values[-max(ROWS_FITTED, self.back * max(seasons)) :]
        model = AutoTBATS(season_length=[*seasons], use_arma_errors=parameters.arma_errors).fit(values).model_
        found = iter(float(value) for value in model["optim_params"])
        box_cox = None if model["BoxCox_lambda"] is None else next(found)
        alpha = next(found)
        trend = model["description"]["use_trend"]
        beta = next(found) if trend else None
        phi = (next(found) if model["description"]["use_damped_trend"] else 1.0) if trend else None
        gammas = [[next(found) for _ in seasons] for _ in range(2)]
        ar, ma = ([next(found) for _ in range(int(model[name]))] for name in ("p", "q"))
        one = Tbats(
            box_cox=box_cox,
            alpha=alpha,
            beta=beta,
            phi=phi,
            seasons=[
                Season(rows=rows, harmonics=int(count), gamma=[gammas[0][i], gammas[1][i]])
                for i, (rows, count) in enumerate(zip(seasons, model["k_vector"], strict=True))
            ],
            ar=ar,
            ma=ma,
            floor=None if box_cox is None else floor_of(values),
        )
        return [one]

    def forward(self, fitted: Tbats, history: Values, horizon: int) -> Values:
        """The linear forecast of the transformed history, transformed back."""
        longest = fitted.seasons[-1].rows  # whole ones, so that few lengths need a matrix
        values = _transformed(floored(history[len(history) % longest :], fitted.floor), fitted.box_cox)
        level = values[: fitted.seasons[0].rows].mean()
        w, moved, _ = matrices(fitted)
        state = _last(fitted.model_dump_json(), len(values)) @ (values - level)
        found = np.empty(horizon)
        for step in range(horizon):
            found[step] = level + w @ state
            state = moved @ state
        return _back(found, fitted.box_cox)


def matrices(fitted: Tbats) -> tuple[Values, Values, Values]:
    """w [states], F [states, states] and g [states] of the model in innovations form.

    y = w·x + error, and the next x = F·x + g·error. x: level, trend, cosines and sines of each season, then the newest
    p values and q errors of the ARMA process.
    """
    p, q = len(fitted.ar), len(fitted.ma)
    trend = fitted.beta is not None and fitted.phi is not None
    pairs = [season.harmonics for season in fitted.seasons]
    first = 1 + trend
    arma = first + 2 * sum(pairs)
    w, g = np.zeros(arma + p + q), np.zeros(arma + p + q)
    moved = np.zeros((len(w), len(w)))
    w[0], g[0], moved[0, 0] = 1.0, fitted.alpha, 1.0
    if fitted.beta is not None and fitted.phi is not None:
        w[1], g[1] = fitted.phi, fitted.beta
        moved[0, 1] = moved[1, 1] = fitted.phi
    at = first
    for season in fitted.seasons:
        count = season.harmonics
        angles = 2 * np.pi * np.arange(1, count + 1) / season.rows
        one, two = slice(at, at + count), slice(at + count, at + 2 * count)
        w[one], g[one], g[two] = 1.0, season.gamma[0], season.gamma[1]
        moved[one, one] = moved[two, two] = np.diag(np.cos(angles))
        moved[one, two] = np.diag(np.sin(angles))
        moved[two, one] = -moved[one, two]
        at += 2 * count
    process = np.array([*fitted.ar, *fitted.ma])
    w[arma:] = process
    moved[:arma, arma:] = np.outer(g[:arma], process)
    if p:
        moved[arma, arma:], g[arma] = process, 1.0
    if q:
        g[arma + p] = 1.0
    for lag in (*range(arma + 1, arma + p), *range(arma + p + 1, arma + p + q)):
        moved[lag, lag - 1] = 1.0
    return w, moved, g


@lru_cache(maxsize=KEPT)
def _last(fitted: str, rows: int) -> Values:
    """What each row of a history counts in the state after it: [states, rows]."""
    model = Tbats.model_validate_json(fitted)
    w, moved, g = matrices(model)
    free = len(w) - len(model.ar) - len(model.ma)  # the process of the errors starts at zero
    shrunk = moved - np.outer(g, w)
    seen, kicks = np.empty((rows, len(w))), np.empty((len(w), rows))
    state, kick = w, g
    for row in range(rows):
        seen[row], kicks[:, rows - 1 - row] = state, kick
        state, kick = state @ shrunk, shrunk @ kick
    # from a state of zero: error = value - what earlier values made of the state
    answers = seen @ g
    lag = np.arange(rows)[:, None] - np.arange(rows) - 1
    errors = np.eye(rows) - np.where(lag >= 0, answers[lag], 0.0)
    known = seen[:, :free]
    start = np.linalg.solve(known.T @ known + PENALTY * np.eye(free), known.T @ errors)
    last: Values = kicks + np.linalg.matrix_power(shrunk, rows)[:, :free] @ start
    return last


def _transformed(values: Values, box_cox: float | None) -> Values:
    if box_cox is None:
        return values
    found: Values = np.log(values) if box_cox == 0.0 else (values**box_cox - 1) / box_cox
    return found


def _back(values: Values, box_cox: float | None) -> Values:
    """The inverse; below the lowest value that a transform has, zero."""
    if box_cox is None:
        return values
    if box_cox == 0.0:
        return np.exp(values)
    found: Values = np.maximum(values * box_cox + 1, 0.0) ** (1 / box_cox)
    return found
