"""The composite, its ranking, and skill."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from tests.support.judging import off_by, truth_of, yardstick_of

from flts.evaluate.metrics import Errors
from flts.evaluate.score import Scored, lead_interval, rank, score, skill
from flts.spec import Weights


def scored(name: str, value: float, mae: float, model_hash: str) -> Scored:
    return Scored(name, model_hash, np.zeros((1, 1, 1)), Errors(0.0, mae, 0.0, None, {}, 1), value)


@pytest.mark.parametrize(
    "weights", [Weights(), Weights(rmse=0.0, mae=1.0, mse=0.0), Weights(rmse=2.0, mae=0.5, mse=3.0)]
)
def test_the_composite_is_the_weighted_sum_of_three_scaled_errors(weights: Weights) -> None:
    truth = truth_of()
    found = score("a", "0", truth, off_by(truth, 3.0), yardstick_of(), weights)
    e = found.errors
    assert found.score == weights.rmse * e.rmse + weights.mae * e.mae + weights.mse * e.mse


def test_default_weights_are_one_half_three_tenths_and_two_tenths() -> None:
    truth = np.zeros((30, 1, 1))
    found = score("a", "0", truth, truth + 8.0, yardstick_of(width=40.0), Weights())
    assert found.score == pytest.approx(0.5 * 0.2 + 0.3 * 0.2 + 0.2 * 0.04, rel=1e-12)


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


def test_skill_is_the_share_of_the_reference_that_is_gone() -> None:
    assert skill(0.03, 0.04) == pytest.approx(0.25)
    assert skill(0.06, 0.04) == pytest.approx(-0.5)
    assert skill(0.0, 0.04) == 1.0


def test_skill_is_null_against_a_reference_without_error() -> None:
    assert skill(0.1, 0.0) is None
    assert skill(0.0, 0.0) is None


def test_the_interval_of_a_lead_is_mirrored_when_the_two_change_places() -> None:
    truth = truth_of(120)
    a, b = off_by(truth, 1.0, 3), off_by(truth, 4.0, 4)
    one = lead_interval(truth, a, b, yardstick_of(), Weights(), 2, seed=7)
    two = lead_interval(truth, b, a, yardstick_of(), Weights(), 2, seed=7)
    assert one is not None
    assert two is not None
    assert one.excludes_zero
    assert one.low > 0.0
    assert (two.low, two.high) == pytest.approx((-one.high, -one.low))


def test_the_interval_of_a_lead_holds_the_lead_and_ignores_origins_without_truth() -> None:
    truth = truth_of(120)
    a, b = off_by(truth, 2.0, 3), off_by(truth, 3.0, 4)
    yardstick, weights = yardstick_of(), Weights()
    lead = score("b", "", truth, b, yardstick, weights).score - score("a", "", truth, a, yardstick, weights).score
    plain = lead_interval(truth, a, b, yardstick, weights, 2, seed=7)
    assert plain is not None
    assert plain.low < lead < plain.high
    longer = np.concatenate([truth, np.full((9, 2, 1), np.nan)])
    padded_a, padded_b = (np.concatenate([forecast, np.full((9, 2, 1), 1e6)]) for forecast in (a, b))
    assert lead_interval(longer, padded_a, padded_b, yardstick, weights, 2, seed=7) == plain
