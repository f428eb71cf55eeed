"""The t test of a mean over origins: against plain Python, at its limits, and by simulation."""

from __future__ import annotations

import math
from statistics import fmean

import numpy as np
import pytest
from tests.support.simulated import intervals_with_zero, origin_differences, p_values

from flts.contracts.records.decision import Interval
from flts.evaluate.significance import Mean, degrees_of_freedom, mean_of, overlap, windows_needed


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n)


def error_in_plain_python(d: list[float], degrees: int) -> float:
    """The formula of Lazarus and others (2018), written out once more."""
    n = len(d)
    transforms = [
        math.sqrt(2 / n) * sum(d[t] * math.cos(math.pi * k * (t + 0.5) / n) for t in range(n))
        for k in range(1, degrees + 1)
    ]
    return math.sqrt(sum(y * y for y in transforms) / degrees / n)


@pytest.mark.parametrize("n", [31, 64, 91, 500])
def test_mean_error_statistic_and_p_are_those_of_the_formula(n: int) -> None:
    from scipy.stats import t

    first, second = noise(n) ** 2, noise(n, 1) ** 2 + 0.1
    found = mean_of(first, second, 1)
    d = (first - second).tolist()
    assert (found.n, found.reason) == (n, None)
    assert found.degrees == {31: 4, 64: 6, 91: 8, 500: 25}[n]
    assert found.value == pytest.approx(fmean(d))
    assert found.error == pytest.approx(error_in_plain_python(d, found.degrees), rel=1e-12)
    test = found.test()
    assert test.statistic == pytest.approx(fmean(d) / (found.error or 0.0))
    assert test.p == pytest.approx(float(t.cdf(test.statistic, found.degrees)), abs=1e-10)
    assert (test.n, test.mean_difference, test.degrees) == (n, found.value, found.degrees)
    assert (test.standard_error, test.adjusted_p, test.reason) == (found.error, None, None)


@pytest.mark.parametrize(
    ("n", "shared", "degrees"),
    [
        (30, 1, 3),
        (31, 1, 4),
        (500, 1, 25),
        (500, 12, 20),
        (500, 24, 10),
        (500, 48, 5),
        (2000, 1, 65),
        (100, 4, 8),
        (0, 1, 0),
    ],
)
def test_degrees_grow_with_the_windows_and_shrink_with_their_overlap(n: int, shared: int, degrees: int) -> None:
    assert degrees_of_freedom(n, shared) == degrees


@pytest.mark.parametrize(("shared", "needed"), [(1, 31), (3, 31), (4, 32), (12, 96), (24, 192)])
def test_as_many_windows_as_needed_give_an_answer_and_one_less_gives_the_reason(shared: int, needed: int) -> None:
    assert windows_needed(shared) == needed
    assert mean_of(noise(needed), noise(needed, 1), shared).test().p is not None
    few = mean_of(noise(needed - 1), noise(needed - 1, 1), shared)
    test = few.test()
    assert test.reason == f"{needed - 1} windows are too few, the test needs at least {needed}"
    assert (few.degrees, test.p, test.statistic, test.standard_error) == (3, None, None, None)
    assert test.mean_difference == pytest.approx(fmean((noise(needed - 1) - noise(needed - 1, 1)).tolist()))
    assert (few.interval(), few.smallest(0.05)) == (None, None)


def test_without_an_origin_there_is_no_mean() -> None:
    empty = np.array([])
    reason = "0 windows are too few, the test needs at least 31"
    assert mean_of(empty, empty, 1) == Mean(0, None, 0, None, reason)


@pytest.mark.parametrize(("horizon", "spacing", "shared"), [(1, 1.0, 1), (3, 1.0, 3), (3, 2.0, 2), (3, 7.0, 1)])
def test_neighbouring_origins_share_the_horizon_over_their_spacing_rounded_up(
    horizon: int, spacing: float, shared: int
) -> None:
    assert overlap(horizon, spacing) == shared


@pytest.mark.parametrize("n", [31, 46, 53, 100])
@pytest.mark.parametrize("difference", [0.0, 0.1, -0.7, 0.123, -1e-9, 1 / 3])
def test_equal_differences_have_no_variance_and_so_no_p(n: int, difference: float) -> None:
    for base in (2.0, 0.0):
        found = mean_of(np.full(n, base + difference), np.full(n, base), 1)
        assert (found.error, found.reason) == (0.0, "the differences of the losses have no variance")
        test = found.test()
        assert (test.p, test.statistic, test.standard_error, test.reason) == (None, None, 0.0, found.reason)
        assert found.smallest(0.05) is None
        assert found.interval() == Interval(low=found.value or 0.0, high=found.value or 0.0)


def test_small_differences_that_do_vary_are_tested() -> None:
    base = noise(100) ** 2 + 5.0
    test = mean_of(base, base + 1e-6 + 1e-7 * noise(100, 3), 1).test()
    assert (test.p or 1.0) < 1e-6


@pytest.mark.parametrize(("size", "tested"), [(4, False), (256, True)])
def test_differences_of_a_few_roundings_are_none_and_of_some_hundred_are_tested(size: int, tested: bool) -> None:
    slow = np.where(np.arange(100) < 50, 3.0, -1.0)
    found = mean_of(1.0 + slow * size * 2.0**-54, np.ones(100), 1)
    assert (found.test().p is not None) is tested


def test_an_interval_reaches_as_far_as_the_critical_value_and_a_lead_of_that_size_is_just_shown() -> None:
    from scipy.stats import t

    found = mean_of(noise(500), noise(500, 1), 24)
    assert found.degrees == 10
    assert found.value is not None
    assert found.error is not None
    interval = found.interval()
    assert interval is not None
    reach = float(t.isf(0.025, 10)) * found.error
    assert (interval.low, interval.high) == pytest.approx((found.value - reach, found.value + reach))
    smallest = found.smallest(0.01)
    assert smallest == pytest.approx(float(t.isf(0.01, 10)) * found.error)
    assert Mean(500, -(smallest or 0.0), 10, found.error, None).test().p == pytest.approx(0.01)


@pytest.mark.parametrize(("horizon", "spacing"), [(1, 1), (24, 1), (24, 6)])
def test_the_simulation_computes_the_p_of_the_gate(horizon: int, spacing: int) -> None:
    d = origin_differences(200, spacing, horizon, 0.5, 20, seed=3)
    expected = [mean_of(row, np.zeros(200), overlap(horizon, spacing)) for row in d]
    assert p_values(d, horizon, spacing).tolist() == pytest.approx([mean.test().p for mean in expected], abs=1e-9)
    held = [interval is not None and interval.contains(0.0) for mean in expected for interval in [mean.interval()]]
    assert intervals_with_zero(d, horizon, spacing).tolist() == held


@pytest.mark.parametrize("horizon", [1, 24])
@pytest.mark.parametrize("persistence", [0.0, 0.5, 0.8])
def test_equal_models_are_called_different_in_five_of_a_hundred_samples(horizon: int, persistence: float) -> None:
    d = origin_differences(500, 1, horizon, persistence, 2000, seed=11)
    assert 0.035 < np.mean(p_values(d, horizon, 1) < 0.05) <= 0.07
    assert 0.92 < np.mean(intervals_with_zero(d, horizon, 1)) < 0.97


def test_a_real_difference_is_found_in_most_samples() -> None:
    d = origin_differences(500, 1, 24, 0.5, 500, seed=4)
    assert np.mean(p_values(d - 3.0 * d.mean(axis=1).std(), 24, 1) < 0.05) > 0.7


@pytest.mark.parametrize(("value", "contained"), [(0.1, True), (0.2, True), (0.15, True), (0.09, False), (0.21, False)])
def test_an_interval_contains_the_values_between_its_ends(value: float, contained: bool) -> None:
    assert Interval(low=0.1, high=0.2).contains(value) is contained
