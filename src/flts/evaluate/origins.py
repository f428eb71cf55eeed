"""What each origin adds to a composite score, and to the difference of two: the values whose mean is tested.

So the rank and the test look at one loss: the mean over the origins is the score, or the difference of the scores.
"""

from __future__ import annotations

from flts.evaluate.score import Scored
from flts.evaluate.significance import Mean, mean_of
from flts.preprocess.rows import Values
from flts.spec.fields import Weights


def difference(first: Scored, second: Scored, weights: Weights, overlapping: int, factor: float = 1.0) -> Mean:
    """The score of the first minus factor × that of the second, as a mean over the origins of both.

    Origin i of n with N cells in all adds d_i = (n/N)·Σ [w_rmse·Δse/(RMSE₁ + f·RMSE₂) + w_mae·Δae + w_mse·Δme] over
    its scored cells, with Δse = se₁ - f²·se₂, Δae = ae₁ - f·ae₂ and Δme = se₁ - f·se₂. This is exact:
    (MSE₁ - f²·MSE₂)/(RMSE₁ + f·RMSE₂) = RMSE₁ - f·RMSE₂.
    """
    reach = first.errors.rmse + factor * second.errors.rmse
    root = weights.rmse / reach if reach else 0.0
    return mean_of(
        _parts(first, root + weights.mse, weights.mae),
        _parts(second, factor**2 * root + factor * weights.mse, factor * weights.mae),
        overlapping,
    )


def influence(model: Scored, weights: Weights, overlapping: int) -> Mean:
    """Mean influence of an origin on a score, which is zero; its standard error is that of the score (delta method).

    ψ_i = (n/N)·Σ [w_rmse·(se - MSE)/(2·RMSE) + w_mae·(ae - MAE) + w_mse·(se - MSE)] over the scored cells of origin i.
    """
    errors = model.errors
    square = weights.mse + (weights.rmse / (2.0 * errors.rmse) if errors.rmse else 0.0)
    expected = square * errors.mse + weights.mae * errors.mae
    cells = model.origins[:, 0]
    return mean_of(_parts(model, square, weights.mae), len(cells) / cells.sum() * cells * expected, overlapping)


def _parts(model: Scored, square: float, absolute: float) -> Values:
    """(n/N)·Σ [square·se + absolute·ae] over the cells of each origin [scored origins]."""
    cells, squares, magnitudes = model.origins.T
    parts: Values = len(cells) / cells.sum() * (square * squares + absolute * magnitudes)
    return parts
