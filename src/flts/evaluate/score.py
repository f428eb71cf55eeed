"""One number per candidate, the same for all: the composite score, its rank, and its skill against a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flts.contracts.records.decision import Interval
from flts.evaluate.metrics import Errors, Yardstick, measure, scaled_errors
from flts.evaluate.significance import percentile_interval, resampled_sums
from flts.preprocess.rows import Values
from flts.spec.fields import Weights


@dataclass(frozen=True)
class Scored:
    """A candidate or baseline with a forecast [origins, horizon, targets]; lower scores are better."""

    name: str
    model_hash: str
    forecast: Values
    errors: Errors
    score: float


@dataclass(frozen=True)
class Resampled:
    """Scores of several models over the same resampled windows, [resamples] each."""

    scores: Mapping[str, Values]

    def interval(self, name: str) -> Interval:
        """Confidence interval of the score of a model."""
        return percentile_interval(self.scores[name])

    def lead(self, name: str, over: str) -> Interval:
        """Confidence interval of the lead of one model over another: the other's score minus its own."""
        return percentile_interval(self.scores[over] - self.scores[name])

    def best_share(self, name: str, among: Sequence[str]) -> float:
        """Share of the resamplings in which no other model has a lower score."""
        others = np.min([self.scores[other] for other in among], axis=0)
        return float(np.mean(self.scores[name] <= others))


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
    """Best first: by score, then MAE, then model_hash, so that ties have a fixed order."""
    return sorted(candidates, key=lambda c: (c.score, c.errors.mae, c.model_hash))


def skill(score: float, reference: float) -> float | None:
    """1 - score ÷ reference: the share of the reference's score that is removed. None when the reference is perfect."""
    return None if reference == 0.0 else 1.0 - score / reference


def resample(
    truth: Values, models: Sequence[Scored], yardstick: Yardstick, weights: Weights, overlapping: int, seed: int
) -> Resampled | None:
    """Scores over resampled windows, the same windows for every model; None with too few windows for blocks."""
    scored = ~np.isnan(truth)
    columns = [np.ones(truth.shape)]
    for model in models:
        error = scaled_errors(truth, model.forecast, yardstick)
        columns += [error**2, np.abs(error)]
    sums = np.column_stack([np.where(scored, part, 0.0).sum(axis=(1, 2)) for part in columns])
    drawn = resampled_sums(sums[sums[:, 0] > 0], overlapping, seed)
    if drawn is None:
        return None
    means = drawn[:, 1:] / drawn[:, :1]
    scores = {}
    for position, model in enumerate(models):
        mse, mae = means[:, 2 * position], means[:, 2 * position + 1]
        scores[model.name] = np.asarray(composite(np.sqrt(mse), mae, mse, weights))
    return Resampled(scores)
