"""AutoTheta: a line and its smoothed bend, the kind chosen by its error (Assimakopoulos and Nikolopoulos 2000).

statsforecast fits it and, before it goes on, takes the season out of a history that has one. The validation windows
choose whether the season adds or multiplies. The level that a history begins with is the mean of its first season.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from flts.contracts.records.base import Part
from flts.models.past import LONGEST
from flts.models.statistical import Statistical, floor_of, floored
from flts.preprocess.rows import Values
from flts.spec.models import AutoThetaParameters

Decomposition = Literal["additive", "multiplicative"]
DECOMPOSITIONS: Sequence[Decomposition] = ("additive", "multiplicative")
FIRST_ROWS = 4
"""Rows whose mean is the first level where there is no season."""


class Theta(Part):
    """The chosen kind and its parameters (Fiorucci et al. 2016)."""

    kind: Literal["STM", "OTM", "DSTM", "DOTM"]
    """Standard or optimised theta, with a fixed or a moving line (D)."""
    decomposition: Decomposition
    season: Annotated[int, Field(ge=1, le=LONGEST // 2)]
    alpha: Annotated[float, Field(ge=0.0, le=1.0)]
    theta: Annotated[float, Field(ge=1.0, le=1e10)]
    floor: float | None
    """The lowest value of a history that it is shown; None where nothing is multiplied."""


class AutoTheta(Statistical[AutoThetaParameters, Theta]):
    """Forecasts by the theta method."""

    name = "autotheta"
    parameters = AutoThetaParameters
    stored = Theta
    longest = LONGEST // 2

    def fit_series(self, values: Values, seasons: Sequence[int], parameters: AutoThetaParameters) -> Sequence[Theta]:
        """Fit every kind, and keep the one with the lowest error: one without and one with a season that multiplies."""
        from statsforecast.theta import auto_theta

        fits, season = [], max(seasons, default=1)
        for decomposition in DECOMPOSITIONS if seasons and values.min() > 0 else DECOMPOSITIONS[:1]:
            model = auto_theta(values, season, decomposition_type=decomposition)
            found = model["par"]
            fits.append(
                Theta(
                    kind=model["modeltype"],
                    decomposition=decomposition,
                    season=season,
                    alpha=float(found["alpha"]),
                    theta=float(found["theta"]),
                    floor=floor_of(values) if decomposition == "multiplicative" else None,
                )
            )
        return fits

    def forward(self, fitted: Theta, history: Values, horizon: int) -> Values:
        """Decompose and smooth the history."""
        from statsforecast.theta import auto_theta, forecast_theta

        history = floored(history, fitted.floor)
        model = auto_theta(
            history,
            fitted.season,
            model=fitted.kind,
            initial_smoothed=history[: max(fitted.season, FIRST_ROWS)].mean(),
            alpha=fitted.alpha,
            theta=fitted.theta,
            decomposition_type=fitted.decomposition,
        )
        return np.asarray(forecast_theta(model, horizon)["mean"])
