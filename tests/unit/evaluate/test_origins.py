"""What each origin adds to a score and to a difference of scores: exact, and with an error that holds."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.judging import off_by, truth_of, yardstick_of
from tests.support.simulated import autoregressive

from flts.evaluate.origins import difference, influence
from flts.evaluate.score import Scored, score
from flts.spec.fields import Weights

WEIGHTS = (
    Weights(),
    Weights(rmse=1.0, mae=0.0, mse=0.0),
    Weights(rmse=2.0, mae=0.5, mse=3.0),
    Weights(rmse=0.0, mae=0.0),
)


def with_holes() -> np.ndarray:
    truth = truth_of(200, 3, 2)
    truth[3, 1, 0] = truth[7, :, 1] = truth[9] = truth[20:40, 2] = np.nan
    return truth


def scored(name: str, truth: np.ndarray, forecast: np.ndarray, weights: Weights, width: float = 40.0) -> Scored:
    return score(name, name, truth, forecast, yardstick_of(truth.shape[2], width=width), weights)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("factor", [1.0, 1.02, 1.5])
def test_the_mean_difference_is_that_of_the_scores_also_with_missing_cells(weights: Weights, factor: float) -> None:
    truth = with_holes()
    one, two = (scored(str(e), truth, off_by(truth, e, 3), weights) for e in (2.0, 3.0))
    found = difference(one, two, weights, 3, factor)
    assert found.n == 199
    assert found.value == pytest.approx(one.score - factor * two.score, rel=1e-12)


def test_a_difference_is_mirrored_when_the_models_are_swapped() -> None:
    truth = with_holes()
    one, two = (scored(str(e), truth, off_by(truth, e, 3), Weights()) for e in (2.0, 3.0))
    there, back = difference(one, two, Weights(), 3), difference(two, one, Weights(), 3)
    assert (there.value, there.error) == pytest.approx((-(back.value or 0.0), back.error))


def test_each_origin_adds_what_the_formula_says() -> None:
    truth, weights = with_holes(), Weights()
    one, two = (scored(str(e), truth, off_by(truth, e, 3), weights) for e in (2.0, 3.0))
    cells = ~np.isnan(truth)
    d = []
    for origin in np.flatnonzero(cells.any(axis=(1, 2))):
        total = 0.0
        for at in np.argwhere(cells[origin]):
            a, b = (abs((m.forecast - truth)[(origin, *at)]) / 40.0 for m in (one, two))
            square = (a**2 - b**2) * (weights.mse + weights.rmse / (one.errors.rmse + two.errors.rmse))
            total += square + weights.mae * (a - b)
        d.append(199 / cells.sum() * total)
    found = difference(one, two, weights, 3)
    cosines = np.cos(np.pi * np.outer(np.arange(1, found.degrees + 1), np.arange(199) + 0.5) / 199)
    variance = np.mean((np.sqrt(2 / 199) * cosines @ np.array(d)) ** 2)
    assert found.error == pytest.approx(np.sqrt(variance / 199), rel=1e-9)


def test_two_perfect_forecasts_give_no_answer() -> None:
    truth = truth_of(60)
    one = scored("one", truth, truth, Weights())
    test = difference(one, one, Weights(), 2).test()
    assert (test.mean_difference, test.p) == (0.0, None)
    assert test.reason == "the differences of the losses have no variance"
    assert influence(one, Weights(), 2).error == 0.0


def test_a_perfect_forecast_is_compared_with_one_that_errs() -> None:
    truth = truth_of(60)
    perfect, other = scored("one", truth, truth, Weights()), scored("two", truth, off_by(truth, 1.0), Weights())
    assert (difference(perfect, other, Weights(), 2).test().p or 1.0) < 0.001


@pytest.mark.parametrize("weights", WEIGHTS)
def test_influences_have_mean_zero(weights: Weights) -> None:
    truth = with_holes()
    assert influence(scored("a", truth, off_by(truth, 2.0), weights), weights, 3).value == pytest.approx(0.0, abs=1e-15)


def test_the_interval_of_a_score_holds_the_true_one_in_about_95_of_a_hundred_samples() -> None:
    weights, hits, samples = Weights(rmse=0.6, mae=0.4, mse=0.0), 0, 400
    errors = autoregressive(np.random.default_rng(5), (samples, 500), 0.5)
    true = 0.6 + 0.4 * np.sqrt(2.0 / np.pi)
    for series in errors:
        one = scored("m", np.zeros((500, 1, 1)), series[:, None, None], weights, width=1.0)
        around = influence(one, weights, 1).interval()
        assert around is not None
        hits += one.score + around.low <= true <= one.score + around.high
    assert 0.91 * samples <= hits <= 0.98 * samples


def test_the_interval_of_a_lead_holds_the_true_one_in_about_95_of_a_hundred_samples() -> None:
    weights, hits, samples, horizon = Weights(rmse=1.0, mae=0.0, mse=0.0), 0, 300, 12
    rng = np.random.default_rng(6)
    rows = autoregressive(rng, (samples, 2, 500 + horizon), 0.5)
    windows = np.arange(500)[:, None] + np.arange(horizon)
    for pair in rows:
        first, second = (
            scored(str(size), np.zeros((500, horizon, 1)), size * series[windows][..., None], weights, width=1.0)
            for size, series in zip((1.0, 1.1), pair, strict=True)
        )
        lead = difference(second, first, weights, horizon).interval()
        assert lead is not None
        hits += lead.contains(0.1)
    assert 0.90 * samples <= hits <= 0.98 * samples
