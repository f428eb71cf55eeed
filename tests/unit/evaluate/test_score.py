"""The composite, its ranking, and skill."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from tests.support.judging import off_by, truth_of, yardstick_of

from flts.evaluate.metrics import Errors
from flts.evaluate.score import Resampled, Scored, rank, resample, score, skill
from flts.spec.fields import Weights


def scored(name: str, value: float, mae: float, model_hash: str) -> Scored:
    return Scored(name, model_hash, np.zeros((1, 1, 1)), Errors(0.0, mae, 0.0, None, {}, 1), value)


@pytest.mark.parametrize(
    "weights", [Weights(), Weights(rmse=0.0, mae=1.0, mse=0.0), Weights(rmse=2.0, mae=0.5, mse=3.0)]
)
def test_the_composite_is_the_weighted_sum_of_three_scaled_errors(weights: Weights) -> None:
    truth = truth_of()
    scored = score("a", "0", truth, off_by(truth, 3.0), yardstick_of(), weights)
    e = scored.errors
    assert scored.score == weights.rmse * e.rmse + weights.mae * e.mae + weights.mse * e.mse


def test_default_weights_are_one_half_three_tenths_and_two_tenths() -> None:
    truth = np.zeros((30, 1, 1))
    scored = score("a", "0", truth, truth + 8.0, yardstick_of(width=40.0), Weights())
    assert scored.score == pytest.approx(0.5 * 0.2 + 0.3 * 0.2 + 0.2 * 0.04, rel=1e-12)


def test_ranking_is_by_score_then_mae_then_model_hash_whatever_the_order() -> None:
    expected = [
        scored("low", 0.1, 0.9, "ff"),
        scored("mae", 0.2, 0.3, "ee"),
        scored("first_hash", 0.2, 0.4, "00"),
        scored("second_hash", 0.2, 0.4, "01"),
        scored("high", 0.3, 0.0, "aa"),
    ]
    for order in itertools.permutations(expected):
        assert [c.name for c in rank(order)] == [c.name for c in expected]


def test_skill_is_the_share_of_the_score_of_the_reference_that_is_removed() -> None:
    assert skill(0.03, 0.04) == pytest.approx(0.25)
    assert skill(0.06, 0.04) == pytest.approx(-0.5)
    assert skill(0.0, 0.04) == 1.0


def test_skill_is_none_against_a_reference_without_error() -> None:
    assert skill(0.1, 0.0) is None
    assert skill(0.0, 0.0) is None


def model(name: str, forecast: np.ndarray, truth: np.ndarray) -> Scored:
    return score(name, name, truth, forecast, yardstick_of(), Weights())


def resampled(truth: np.ndarray, **forecasts: np.ndarray) -> Resampled:
    scores = resample(truth, [model(n, f, truth) for n, f in forecasts.items()], yardstick_of(), Weights(), 2, seed=7)
    assert scores is not None
    return scores


def test_the_interval_of_a_lead_is_mirrored_when_the_models_are_swapped() -> None:
    truth = truth_of(120)
    scores = resampled(truth, a=off_by(truth, 1.0, 3), b=off_by(truth, 4.0, 4))
    one, two = scores.lead("a", "b"), scores.lead("b", "a")
    assert one.low > 0.0
    assert (two.low, two.high) == pytest.approx((-one.high, -one.low))


def test_intervals_contain_the_scores_and_the_lead_and_ignore_origins_without_truth() -> None:
    truth = truth_of(120)
    a, b = off_by(truth, 2.0, 3), off_by(truth, 3.0, 4)
    plain = resampled(truth, a=a, b=b)
    first, second = model("a", a, truth).score, model("b", b, truth).score
    assert plain.interval("a").low < first < plain.interval("a").high
    assert plain.interval("b").low < second < plain.interval("b").high
    assert plain.lead("a", "b").low < second - first < plain.lead("a", "b").high
    longer = np.concatenate([truth, np.full((9, 2, 1), np.nan)])
    padded = {n: np.concatenate([f, np.full((9, 2, 1), 1e6)]) for n, f in {"a": a, "b": b}.items()}
    again = resampled(longer, **padded)
    assert (again.interval("a"), again.lead("a", "b")) == (plain.interval("a"), plain.lead("a", "b"))


def test_the_interval_of_a_score_contains_the_true_score_in_most_samples() -> None:
    weights, hits = Weights(rmse=1.0, mae=0.0, mse=0.0), 0
    for seed in range(100):
        truth = truth_of(200, 1, 1, seed)
        one = score("m", "", truth, off_by(truth, 4.0, 1000 + seed), yardstick_of(), weights)
        scores = resample(truth, [one], yardstick_of(), weights, 1, seed)
        assert scores is not None
        hits += scores.interval("m").contains(4.0 / 40.0)
    assert 85 <= hits <= 100


def test_the_shares_of_resamples_in_which_each_model_is_best_sum_to_one() -> None:
    truth = truth_of(120)
    names = ["a", "b", "c"]
    scores = resampled(truth, **{n: off_by(truth, 3.0, 30 + i) for i, n in enumerate(names)})
    shares = [scores.best_share(name, names) for name in names]
    assert sum(shares) == pytest.approx(1.0)
    assert 0.0 < max(shares) < 1.0
    clear = resampled(truth, a=off_by(truth, 1.0), b=off_by(truth, 9.0))
    assert clear.best_share("a", ["a", "b"]) == 1.0


def test_too_few_origins_for_three_blocks_give_no_resamples() -> None:
    truth = truth_of(5)
    assert resample(truth, [model("a", truth, truth)], yardstick_of(), Weights(), 2, 1) is None
