"""One number per candidate, the same for all: the composite score, its rank, and its skill against a referee."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flts.evaluate.metrics import Errors, Yardstick, measure, scaled_errors
from flts.evaluate.significance import Interval, block_bootstrap
from flts.preprocess.rows import Values
from flts.spec import Weights


@dataclass(frozen=True)
class Scored:
    """A candidate with a forecast; lower scores are better."""

    name: str
    model_hash: str
    forecast: Values
    errors: Errors
    score: float


def composite(rmse: Values | float, mae: Values | float, mse: Values | float, weights: Weights) -> Values | float:
    """weights.rmse · RMSE + weights.mae · MAE + weights.mse · MSE."""
    return weights.rmse * rmse + weights.mae * mae + weights.mse * mse


def score(
    name: str, model_hash: str, truth: Values, forecast: Values, yardstick: Yardstick, weights: Weights
) -> Scored:
    """Errors and composite of one candidate; arrays [origins, horizon, targets] in original units."""
    errors = measure(truth, forecast, yardstick)
    return Scored(name, model_hash, forecast, errors, float(composite(errors.rmse, errors.mae, errors.mse, weights)))


def rank(candidates: Sequence[Scored]) -> list[Scored]:
    """Best first: by score, then MAE, then model_hash, so that no tie is left to chance."""
    return sorted(candidates, key=lambda c: (c.score, c.errors.mae, c.model_hash))


def skill(score: float, reference: float) -> float | None:
    """1 - score ÷ reference: the share of the referee's score that is gone. None when the referee makes no error."""
    return None if reference == 0.0 else 1.0 - score / reference


def lead_interval(
    truth: Values, winner: Values, other: Values, yardstick: Yardstick, weights: Weights, overlapping: int, seed: int
) -> Interval | None:
    """Bootstrap interval of (score of the other - score of the winner) over the same resampled origins."""
    a, b = scaled_errors(truth, winner, yardstick), scaled_errors(truth, other, yardstick)
    scored = ~np.isnan(truth)
    parts = [scored.astype(float), a**2, np.abs(a), b**2, np.abs(b)]
    sums = np.column_stack([np.where(scored, part, 0.0).sum(axis=(1, 2)) for part in parts])
    kept = sums[sums[:, 0] > 0]

    def lead(totals: Values) -> Values:
        mean = totals[:, 1:] / totals[:, :1]
        of_winner = composite(np.sqrt(mean[:, 0]), mean[:, 1], mean[:, 0], weights)
        of_other = composite(np.sqrt(mean[:, 2]), mean[:, 3], mean[:, 2], weights)
        return np.asarray(of_other - of_winner)

    return block_bootstrap(kept, lead, overlapping, seed)
