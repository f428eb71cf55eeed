"""The composite, its ranking, and skill."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from tests.support.judging import off_by, truth_of, yardstick_of

from flts.evaluate.metrics import Errors
from flts.evaluate.score import Scored, rank, score, skill
from flts.spec.fields import Weights


def scored(name: str, value: float, mae: float, model_hash: str) -> Scored:
    return Scored(name, model_hash, np.zeros((1, 1, 1)), Errors(0.0, mae, 0.0, None, {}, 1), value, np.ones((1, 3)))


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
