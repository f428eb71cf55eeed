"""Bounds of forecasts: what train shows, what the Spec names, and that nothing is hidden behind them."""

from __future__ import annotations

import numpy as np
import pytest

from flts.forecasting.bounds import resolve, within


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ([0.0, 3.0], (0.0, None)),
        ([5.0, 9.0], (0.0, None)),
        ([-0.1, 9.0], (None, None)),
        ([0.0, 1.0], (0.0, 1.0)),
        ([0.2, 0.7], (0.0, 1.0)),
        ([0.2, 1.1], (0.0, None)),
        ([-0.2, 0.7], (None, None)),
        ([np.nan, 0.5], (0.0, 1.0)),
    ],
)
def test_auto_bounds_follow_the_range_of_train(train: list[float], expected: tuple[float | None, float | None]) -> None:
    assert resolve("auto", np.array(train)[:, None]) == (() if expected == (None, None) else (expected,))


def test_each_target_has_its_own_auto_bounds_and_a_range_holds_for_all() -> None:
    train = np.array([[0.0, -3.0], [9.0, 3.0]])
    assert resolve("auto", train) == ((0.0, None), (None, None))
    assert resolve("off", train) == ()
    assert resolve([-1, 4.5], train) == ((-1.0, 4.5), (-1.0, 4.5))


def test_values_are_clipped_per_target_and_what_is_not_finite_stays() -> None:
    values = np.array([[-2.0, -2.0], [5.0, 5.0], [np.nan, -np.inf], [np.inf, 0.5]])
    found = within(values, ((0.0, None), (None, 1.0)))
    np.testing.assert_array_equal(found, [[0.0, -2.0], [5.0, 1.0], [np.nan, -np.inf], [np.inf, 0.5]])


def test_without_limits_nothing_changes() -> None:
    values = np.array([[-1e300], [2.0]])
    assert within(values, ()) is values
