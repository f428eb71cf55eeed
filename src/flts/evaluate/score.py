"""One number per candidate, the same for all: the composite score, its rank, and its skill against a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flts.evaluate.metrics import Errors, Yardstick, by_origin, measure
from flts.preprocess.rows import Values
from flts.spec.fields import Weights


@dataclass(frozen=True)
class Scored:
    """A candidate or baseline with a forecast [origins, horizon, targets]; lower scores are better.

    origins [scored origins, 3]: cells, sum of squares and sum of magnitudes of the scaled errors of each origin.
    """

    name: str
    model_hash: str
    forecast: Values
    errors: Errors
    score: float
    origins: Values


def composite(rmse: Values | float, mae: Values | float, mse: Values | float, weights: Weights) -> Values | float:
    """weights.rmse · RMSE + weights.mae · MAE + weights.mse · MSE."""
    return weights.rmse * rmse + weights.mae * mae + weights.mse * mse


def score(
    name: str, model_hash: str, truth: Values, forecast: Values, yardstick: Yardstick, weights: Weights
) -> Scored:
    """Errors and composite of one candidate; arrays [origins, horizon, targets] in original units."""
    errors = measure(truth, forecast, yardstick)
    value = float(composite(errors.rmse, errors.mae, errors.mse, weights))
    return Scored(name, model_hash, forecast, errors, value, by_origin(truth, forecast, yardstick))


def rank(candidates: Sequence[Scored]) -> list[Scored]:
    """Best first: by score, then MAE, then model_hash, so that ties have a fixed order."""
    return sorted(candidates, key=lambda c: (c.score, c.errors.mae, c.model_hash))


def skill(score: float, reference: float) -> float | None:
    """1 - score ÷ reference: the share of the reference's score that is removed. None when the reference is perfect."""
    return None if reference == 0.0 else 1.0 - score / reference
