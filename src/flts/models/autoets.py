"""AutoETS: exponential smoothing of level, trend and season (Hyndman and Khandakar 2008).

statsforecast fits it and chooses the trend by AICc; its seasons have at most 24 rows. AICc counts every phase of a
season as a parameter and so prefers no season, which forecasts far worse (docs/performance.md). Therefore the
validation windows choose between an additive season, a multiplicative one and none. The states that a history begins
with are not those of train, which began at another phase: they come from the history itself (`start`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from flts.contracts.records.base import Part
from flts.models.statistical import Statistical, floor_of, floored
from flts.preprocess.rows import Values
from flts.spec.models import AutoEtsParameters

Smoothing = Annotated[float, Field(ge=0.0, le=1.0)]
FIRST_ROWS = 10
"""Rows, or two seasons if that is more, that give the first level and slope."""


class Ets(Part):
    """The chosen kind and its smoothing parameters."""

    components: Annotated[str, Field(pattern="^[AM][NA][NAM][ND]$")]
    """Error, trend, season (none, additive, multiplicative), and whether the trend is damped."""
    season: Annotated[int, Field(ge=1, le=24)]
    alpha: Smoothing | None
    beta: Smoothing | None
    gamma: Smoothing | None
    phi: Smoothing | None
    floor: float | None
    """The lowest value of a history that it is shown; None where nothing is multiplied."""


class AutoEts(Statistical[AutoEtsParameters, Ets]):
    """Forecasts by exponential smoothing."""

    name = "autoets"
    parameters = AutoEtsParameters
    stored = Ets
    longest = 24

    def fit_series(self, values: Values, seasons: Sequence[int], parameters: AutoEtsParameters) -> Sequence[Ets]:
        """An additive season, a multiplicative one where all values are positive, and none."""
        from statsforecast.models import AutoETS

        seasonal = ["AZA", "MZM"] if seasons else []
        fits = []
        for kind in [*seasonal, "AZN"]:
            if kind[0] == "M" and values.min() <= 0:
                continue
            model = AutoETS(season_length=max(seasons, default=1), model=kind).fit(values).model_
            alpha, beta, gamma, phi = (None if np.isnan(value) else float(value) for value in model["par"][:4])
            components = str(model["components"])
            floor = floor_of(values) if "M" in components else None
            fits.append(
                Ets(
                    components=components,
                    season=int(model["m"]),
                    alpha=alpha,
                    beta=beta,
                    gamma=gamma,
                    phi=phi,
                    floor=floor,
                )
            )
        return fits

    def forward(self, fitted: Ets, history: Values, horizon: int) -> Values:
        """Smooth the history, from states that it gives itself."""
        from statsforecast.models import AutoETS

        history = floored(history, fitted.floor)
        parameters = [
            np.nan if value is None else value for value in (fitted.alpha, fitted.beta, fitted.gamma, fitted.phi)
        ]
        model = AutoETS(season_length=fitted.season)
        model.model_ = {
            "m": fitted.season,
            "components": fitted.components,
            "par": np.array([*(np.nan if one is None else one for one in parameters), *start(fitted, history)]),
            "fit": None,
            "n_params": 1,
        }
        return np.asarray(model.forward(history, horizon)["mean"])


def start(fitted: Ets, history: Values) -> Values:
    """Level, slope and seasonal states before the first row of a history, the state of that row last."""
    _, trend, season, _ = [*fitted.components]
    seasonal = np.empty(0)
    adjusted = history
    if season != "N":
        seasonal = phases(history, fitted.season, multiplied=season == "M")
        whole = np.resize(seasonal, len(history))
        adjusted = history / whole if season == "M" else history - whole
    first = adjusted[: max(FIRST_ROWS, 2 * fitted.season)]
    if trend == "N":
        return np.array([first.mean(), *seasonal[::-1]])
    time = np.arange(1.0, len(first) + 1)
    slope = float(np.sum((time - time.mean()) * (first - first.mean())) / np.sum((time - time.mean()) ** 2))
    return np.array([first.mean() - slope * time.mean(), slope, *seasonal[::-1]])


def phases(history: Values, season: int, *, multiplied: bool) -> Values:
    """Mean of every phase of a season [season], the first row's first, as measured from a moving mean over a season."""
    width = season + 1 - season % 2
    weights = np.full(width, 1.0 / season)
    if width > season:
        weights[[0, -1]] /= 2
    half = width // 2
    middle = np.convolve(history, weights, mode="valid")
    inner = history[half : half + len(middle)]
    away = inner / middle if multiplied else inner - middle
    at = np.arange(half, half + len(middle)) % season
    count = np.bincount(at, minlength=season)
    none = 1.0 if multiplied else 0.0
    found: Values = np.where(count > 0, np.bincount(at, away, minlength=season) / np.maximum(count, 1), none)
    found = found / found.mean() if multiplied else found - found.mean()
    return found
