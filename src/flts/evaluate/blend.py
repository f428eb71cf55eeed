"""The rule of the ensemble: which models enter it, and with which weights, chosen on the validation windows.

Few windows can tell which models are good, but not how much of each to take: the three best enter alike. Many windows
allow greedy selection (Caruana et al. 2004, "Ensemble selection from libraries of models"): from an empty ensemble on,
each draw adds the model with which the mean is best, and a model may be drawn again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from flts.evaluate.metrics import Yardstick, measure
from flts.evaluate.score import composite
from flts.preprocess.rows import Values
from flts.spec.fields import Weights

BEST = 3
"""Models that enter where the windows are few."""
DRAWS = 50
ENOUGH = 100
"""Windows from which weights are drawn, on the first half. The errors of all windows give the intervals: so few weights
make those of the first half hardly smaller, and a half is one stretch of time (docs/decisions/0013)."""


@dataclass(frozen=True)
class Blend:
    """How often each model counts, by name in order."""

    rule: str
    weights: Mapping[str, int]


def blend(truth: Values, forecasts: Mapping[str, Values], yardstick: Yardstick, weights: Weights) -> Blend:
    """Choose from forecasts by model; all arrays [windows, horizon, targets] in original units, oldest window first.

    weights: those of the composite score. Of models that score alike, the first by name wins.
    """
    if len(truth) < ENOUGH:
        scores = {name: _score(truth, mean, yardstick, weights) for name, mean in forecasts.items()}
        chosen = sorted(scores, key=lambda name: (scores[name], name))[:BEST]
        return Blend("best", dict.fromkeys(sorted(chosen), 1))
    half = len(truth) // 2
    seen = {name: mean[:half] for name, mean in sorted(forecasts.items())}
    return Blend("greedy", _drawn(truth[:half], seen, yardstick, weights))


def _drawn(truth: Values, forecasts: Mapping[str, Values], yardstick: Yardstick, weights: Weights) -> dict[str, int]:
    drawn: dict[str, int] = dict.fromkeys(forecasts, 0)
    total = np.zeros(truth.shape)
    for draw in range(1, DRAWS + 1):
        # min() keeps the first of equal ones, and the names are in order
        best = min(forecasts, key=lambda name: _score(truth, (total + forecasts[name]) / draw, yardstick, weights))
        drawn[best] += 1
        total = total + forecasts[best]
    return {name: count for name, count in drawn.items() if count}


def _score(truth: Values, forecast: Values, yardstick: Yardstick, weights: Weights) -> float:
    errors = measure(truth, forecast, yardstick)
    return float(composite(errors.rmse, errors.mae, errors.mse, weights))
