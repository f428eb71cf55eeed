"""The rule of the ensemble: the three best of few windows, greedy draws from many."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flts.evaluate.blend import BEST, DRAWS, ENOUGH, blend
from flts.evaluate.metrics import Yardstick
from flts.preprocess.rows import Values
from flts.spec.fields import Weights

WEIGHTS = Weights()
YARDSTICK = Yardstick(("y",), np.array([4.0]), None)


def windows(count: int, errors: Mapping[str, float], seed: int = 7) -> tuple[Values, dict[str, Values]]:
    """Truth and forecasts [count, 2, 1] whose normal errors have these standard deviations."""
    drawn = np.random.default_rng(seed)
    truth = drawn.normal(size=(count, 2, 1))
    return truth, {name: truth + drawn.normal(0.0, error, truth.shape) for name, error in errors.items()}


def plain_score(truth: Values, forecast: Values) -> float:
    """The composite in plain Python."""
    errors = [(f - t) / 4.0 for f, t in zip(forecast.ravel(), truth.ravel(), strict=True) if not math.isnan(t)]
    mse, mae = (sum(part) / len(errors) for part in ([e * e for e in errors], [abs(e) for e in errors]))
    return 0.5 * math.sqrt(mse) + 0.3 * mae + 0.2 * mse


def test_few_windows_choose_the_three_lowest_scores_alike() -> None:
    truth, forecasts = windows(ENOUGH - 1, {"a": 0.9, "b": 0.1, "c": 0.3, "d": 0.2, "e": 0.8})
    found = blend(truth, forecasts, YARDSTICK, WEIGHTS)
    assert (found.rule, dict(found.weights)) == ("best", {"b": 1, "c": 1, "d": 1})


@pytest.mark.parametrize("order", ["abcd", "dcba"])
def test_of_equal_scores_the_first_names_enter(order: str) -> None:
    truth, forecasts = windows(30, {"a": 0.5})
    same = dict.fromkeys(order, forecasts["a"])
    assert list(blend(truth, same, YARDSTICK, WEIGHTS).weights) == ["a", "b", "c"]


def test_two_models_enter_both() -> None:
    truth, forecasts = windows(30, {"a": 0.5, "b": 5.0})
    assert dict(blend(truth, forecasts, YARDSTICK, WEIGHTS).weights) == {"a": 1, "b": 1}


def test_many_windows_are_drawn_from_as_by_plain_python_on_their_first_half() -> None:
    truth, forecasts = windows(ENOUGH + 1, {"a": 0.4, "b": 0.5, "c": 0.6})
    truth[3, 1] = np.nan
    half = (ENOUGH + 1) // 2
    drawn: list[str] = []
    for _ in range(DRAWS):
        with_one_more = {
            name: sum((forecasts[one][:half] for one in [*drawn, name]), np.zeros((half, 2, 1))) / (len(drawn) + 1)
            for name in "abc"
        }
        drawn.append(min("abc", key=lambda name: plain_score(truth[:half], with_one_more[name])))
    found = blend(truth, forecasts, YARDSTICK, WEIGHTS)
    assert found.rule == "greedy"
    assert dict(found.weights) == {name: drawn.count(name) for name in "abc" if name in drawn}
    assert sum(found.weights.values()) == DRAWS


def test_what_the_second_half_shows_moves_no_weight() -> None:
    truth, forecasts = windows(120, {"a": 0.4, "b": 0.5, "c": 0.6})
    other = {name: np.concatenate([mean[:60], 9.0 * mean[60:]]) for name, mean in forecasts.items()}
    assert blend(truth, forecasts, YARDSTICK, WEIGHTS) == blend(truth, other, YARDSTICK, WEIGHTS)


def test_the_mean_of_drawn_weights_is_no_worse_than_the_best_model_on_the_windows_that_chose() -> None:
    truth, forecasts = windows(200, {"a": 0.4, "b": 0.5, "c": 0.6, "d": 2.0})
    weights = blend(truth, forecasts, YARDSTICK, WEIGHTS).weights
    mean = sum((count * forecasts[name][:100] for name, count in weights.items()), np.zeros((100, 2, 1))) / DRAWS
    assert plain_score(truth[:100], mean) <= min(plain_score(truth[:100], f[:100]) for f in forecasts.values())


def test_the_weights_of_the_composite_score_decide() -> None:
    truth = np.zeros((40, 1, 1))
    forecasts = {name: np.full(truth.shape, 1.0) for name in ("w", "x", "y")}
    forecasts["spiked"] = np.zeros(truth.shape)
    forecasts["spiked"][:2] = 10.0  # a mean error of 0.5, and a mean square of 5
    by_mae = blend(truth, forecasts, YARDSTICK, Weights(rmse=0, mae=1, mse=0))
    by_mse = blend(truth, forecasts, YARDSTICK, Weights(rmse=0, mae=0, mse=1))
    assert "spiked" in by_mae.weights
    assert "spiked" not in by_mse.weights


@settings(max_examples=10, deadline=None)
@given(st.permutations("abcdef"), st.sampled_from([40, 130]))
def test_the_order_in_which_models_arrive_changes_nothing(order: list[str], count: int) -> None:
    truth, forecasts = windows(count, {name: 0.5 + 0.1 * place for place, name in enumerate("abcdef")})
    found = blend(truth, {name: forecasts[name] for name in order}, YARDSTICK, WEIGHTS)
    assert found == blend(truth, forecasts, YARDSTICK, WEIGHTS)
    assert list(found.weights) == sorted(found.weights)
    assert len(found.weights) == BEST if count < ENOUGH else found.weights
