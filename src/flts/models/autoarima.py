"""AutoARIMA: an autoregression of differences with moving averages, orders chosen by AICc (Hyndman and Khandakar 2008).

statsforecast fits it. Orders are small and compared by the conditional sum of squares unless the Spec says otherwise:
with the library's defaults a fit takes minutes where a season has 24 rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from flts.contracts.records.base import Part
from flts.models.statistical import Statistical
from flts.preprocess.rows import Values
from flts.spec.models import MOST_ORDER, AutoArimaParameters

Order = Annotated[int, Field(ge=0, le=MOST_ORDER)]
LONGEST_SEASON = 60
"""The state of the model has at least as many numbers as a season has rows, and each step multiplies their square."""
DRIFT_ROWS = 3
"""Rows of a stand-in for the fitted series, of which the library wants to know the line of the drift."""


class Arima(Part):
    """The chosen orders and their coefficients."""

    order: Annotated[list[Order], Field(min_length=3, max_length=3)]
    """Autoregression, differences, moving average."""
    seasonal: Annotated[list[Order], Field(min_length=3, max_length=3)]
    season: Annotated[int, Field(ge=1, le=LONGEST_SEASON)]
    coefficients: Annotated[list[float], Field(max_length=4 * MOST_ORDER + 1)]
    """In the order of the library: of p, q, P, Q and, where there is one, the constant."""
    constant: Literal["none", "intercept", "drift"]


class AutoArima(Statistical[AutoArimaParameters, Arima]):
    """Forecasts by an ARIMA model."""

    name = "autoarima"
    parameters = AutoArimaParameters
    stored = Arima
    longest = LONGEST_SEASON

    def fit_series(self, values: Values, seasons: Sequence[int], parameters: AutoArimaParameters) -> Sequence[Arima]:
        """Search the orders stepwise."""
        from statsforecast.models import AutoARIMA

        model = AutoARIMA(
            season_length=max(seasons, default=1),
            approximation=parameters.approximation,
            max_p=parameters.max_p,
            max_q=parameters.max_q,
            max_P=parameters.max_seasonal_p,
            max_Q=parameters.max_seasonal_q,
            start_p=min(parameters.max_p, 2),
            start_q=min(parameters.max_q, 2),
            start_P=min(parameters.max_seasonal_p, 1),
            start_Q=min(parameters.max_seasonal_q, 1),
        )
        found = model.fit(values).model_
        p, q, seasonal_p, seasonal_q, period, d, seasonal_d = (int(value) for value in found["arma"])
        names = [*found["coef"]]
        one = Arima(
            order=[p, d, q],
            seasonal=[seasonal_p, seasonal_d, seasonal_q],
            season=period,
            coefficients=[float(value) for value in found["coef"].values()],
            constant="drift" if "drift" in names else "intercept" if "intercept" in names else "none",
        )
        return [one]

    def forward(self, fitted: Arima, history: Values, horizon: int) -> Values:
        """Filter the history with these coefficients."""
        from statsforecast.models import AutoARIMA

        (p, d, q), (seasonal_p, seasonal_d, seasonal_q) = fitted.order, fitted.seasonal
        terms = p + q + seasonal_p + seasonal_q
        names = [*(f"term_{i}" for i in range(terms)), *([fitted.constant] if fitted.constant != "none" else [])]
        drift = np.arange(1.0, DRIFT_ROWS + 1)[:, None] if fitted.constant == "drift" else None
        model = AutoARIMA(season_length=fitted.season)
        model.model_ = {
            "arma": [p, q, seasonal_p, seasonal_q, fitted.season, d, seasonal_d],
            "coef": dict(zip(names, fitted.coefficients, strict=True)),
            "x": np.arange(1.0, DRIFT_ROWS + 1),
            "xreg": drift,
            "sigma2": 1.0,
            "lambda": None,
        }
        return np.asarray(model.forward(history, horizon)["mean"])
