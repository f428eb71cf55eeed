"""The Diebold-Mariano test and the block bootstrap against scipy, plain Python and simulation."""

from __future__ import annotations

import math
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from flts.contracts.records.decision import DieboldMariano, Interval
from flts.evaluate.significance import (
    better,
    block_length,
    diebold_mariano,
    overlap,
    percentile_interval,
    resampled_sums,
    student_t_cdf,
)

DEGREES = (2, 3, 5, 10, 29, 30, 99, 499, 5_000, 100_000)
MAGNITUDES = (0.0, 1e-12, 1e-8, 1e-6, 1e-4, 1e-3, 0.01, 0.1, 0.5, 1.0, 1.6, 2.0, 3.0, 5.0, 10.0, 40.0, 1e3, 1e200)


def result_of(**known: Any) -> DieboldMariano:
    """A result of the test that has only these numbers."""
    return DieboldMariano(**{**dict.fromkeys(DieboldMariano.model_fields), **known})


def autoregressive(rng: np.random.Generator, n: int, rho: float) -> np.ndarray:
    noise = rng.normal(size=n + 50)
    series = np.zeros(n + 50)
    for i in range(1, n + 50):
        series[i] = rho * series[i - 1] + noise[i]
    return series[50:]


def statistic_in_plain_python(d: list[float], horizon: int, spacing: float) -> float:
    """The formula of the design, written out once more."""
    n, h = len(d), math.ceil(horizon / spacing)
    lag = max(h - 1, math.floor(n ** (1 / 3) + 1e-9))
    mean = sum(d) / n
    gamma = [sum((d[i] - mean) * (d[i - k] - mean) for i in range(k, n)) / n for k in range(lag + 1)]
    variance = gamma[0] + 2 * sum((1 - k / (lag + 1)) * gamma[k] for k in range(1, lag + 1))
    return mean / math.sqrt(variance / n) * math.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)


@pytest.mark.parametrize("degrees", DEGREES)
def test_the_distribution_function_of_student_t_is_that_of_scipy(degrees: int) -> None:
    from scipy.stats import t

    for value in (*MAGNITUDES, *(-m for m in MAGNITUDES)):
        assert student_t_cdf(value, degrees) == pytest.approx(float(t.cdf(value, degrees)), abs=1e-10), value


@pytest.mark.parametrize(
    ("t", "degrees"), [(1.6383560438182505, 17), (1.689277519114419, 39), (1.6892775191144191, 39)]
)
def test_the_distribution_function_is_defined_where_both_sides_of_the_continued_fraction_meet(
    t: float, degrees: int
) -> None:
    from scipy.stats import t as student

    assert student_t_cdf(t, degrees) == pytest.approx(float(student.cdf(t, degrees)), abs=1e-12)


def test_with_one_degree_of_freedom_student_t_is_the_arc_tangent() -> None:
    for value in (*MAGNITUDES, *(-m for m in MAGNITUDES)):  # scipy itself is off by 1.6e-9 near zero
        assert student_t_cdf(value, 1) == pytest.approx(0.5 + math.atan(value) / math.pi, abs=1e-10), value


@pytest.mark.parametrize(("horizon", "spacing"), [(1, 1.0), (3, 1.0), (12, 1.0), (12, 5.0), (24, 7.5)])
@pytest.mark.parametrize("n", [64, 90, 216, 500])
def test_the_statistic_is_the_one_of_the_formula_and_p_its_lower_tail(n: int, horizon: int, spacing: float) -> None:
    from scipy.stats import t

    rng = np.random.default_rng(n + horizon)
    first, second = autoregressive(rng, n, 0.5) ** 2, autoregressive(rng, n, 0.5) ** 2 + 0.1
    test = diebold_mariano(first, second, horizon, spacing)
    assert test.statistic == pytest.approx(
        statistic_in_plain_python((first - second).tolist(), horizon, spacing), rel=1e-9
    )
    assert test.p == pytest.approx(float(t.cdf(test.statistic, n - 1)), abs=1e-10)
    assert test.n == n
    assert test.overlap == overlap(horizon, spacing)
    assert test.lag == max(test.overlap - 1, {64: 4, 90: 4, 216: 6, 500: 7}[n])
    assert test.mean_difference == pytest.approx(float(np.mean(first - second)), rel=1e-9)


@pytest.mark.parametrize(("horizon", "spacing", "shared"), [(1, 1.0, 1), (3, 1.0, 3), (3, 2.0, 2), (3, 7.0, 1)])
def test_neighbouring_origins_share_the_horizon_over_their_spacing_rounded_up(
    horizon: int, spacing: float, shared: int
) -> None:
    assert overlap(horizon, spacing) == shared


def test_the_first_is_better_only_when_its_losses_are_smaller_and_p_is_below_five_percent() -> None:
    rng = np.random.default_rng(0)
    small, large = rng.normal(1.0, 0.1, 100), rng.normal(2.0, 0.1, 100)
    assert better(diebold_mariano(small, large, 1, 1.0))
    assert not better(diebold_mariano(large, small, 1, 1.0))
    assert diebold_mariano(large, small, 1, 1.0).p == pytest.approx(1.0)
    assert not better(diebold_mariano(small, rng.permutation(small), 1, 1.0))


@pytest.mark.parametrize(
    ("n", "horizon", "needed"), [(29, 1, 30), (0, 1, 30), (1, 1, 30), (35, 12, 36), (30, 11, 33), (71, 24, 72)]
)
def test_too_few_origins_give_no_p_and_the_reason_gives_the_number_needed(n: int, horizon: int, needed: int) -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=n), rng.normal(size=n) + 5.0
    found = diebold_mariano(first, second, horizon, 1.0)
    mean = fmean((first - second).tolist()) if n else None
    reason = f"{n} windows are too few, the test needs at least {needed}"
    assert found == result_of(n=n, mean_difference=mean, overlap=horizon, reason=reason)
    assert not better(found)


@pytest.mark.parametrize(("n", "horizon"), [(30, 1), (30, 10), (36, 12)])
def test_exactly_as_many_origins_as_needed_are_enough(n: int, horizon: int) -> None:
    rng = np.random.default_rng(1)
    assert diebold_mariano(rng.normal(size=n), rng.normal(size=n), horizon, 1.0).p is not None


def test_only_origins_scored_for_both_are_counted() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=80), rng.normal(size=80)
    gaps = first.copy(), second.copy()
    gaps[0][[3, 4]], gaps[1][[4, 70]] = np.nan, np.nan
    kept = np.setdiff1d(np.arange(80), [3, 4, 70])
    assert diebold_mariano(*gaps, 1, 1.0) == diebold_mariano(first[kept], second[kept], 1, 1.0)
    assert diebold_mariano(*gaps, 1, 1.0).n == 77


@pytest.mark.parametrize("n", [30, 46, 53, 100])
@pytest.mark.parametrize("difference", [0.0, 0.1, -0.7, 0.123, -1e-9, 1 / 3])
def test_equal_differences_have_no_variance_and_so_no_p(n: int, difference: float) -> None:
    test = diebold_mariano(np.full(n, 2.0 + difference), np.full(n, 2.0), 1, 1.0)
    reason = "the differences of the losses have no variance"
    lag = {30: 3, 46: 3, 53: 3, 100: 4}[n]
    assert test == result_of(
        n=n, mean_difference=fmean([2.0 + difference - 2.0] * n), overlap=1, lag=lag, reason=reason
    )
    assert not better(test)
    alone = diebold_mariano(np.full(n, difference), np.zeros(n), 1, 1.0)
    assert alone.reason == "the differences of the losses have no variance"


def test_small_differences_that_do_vary_are_tested() -> None:
    rng = np.random.default_rng(3)
    base = rng.normal(5.0, 1.0, 100) ** 2
    test = diebold_mariano(base, base + rng.normal(1e-6, 1e-7, 100), 1, 1.0)
    assert test.p is not None
    assert better(test)


def test_differences_of_some_hundred_roundings_vary_and_are_tested() -> None:
    first = 1.0 + np.where(np.arange(100) % 2, 3.0, -1.0) * 2.0**-44  # 256 times the rounding at 1
    test = diebold_mariano(first, np.ones(100), 1, 1.0)
    assert test.mean_difference == 2.0**-44
    assert test.reason is None
    assert test.p is not None


@pytest.mark.parametrize(
    ("p", "mean", "smaller"),
    [(0.0499, -1.0, True), (0.05, -1.0, False), (0.0, 0.0, False), (0.0, 1.0, False), (None, -1.0, False)],
)
def test_better_means_a_smaller_loss_and_a_p_below_five_percent(p: float | None, mean: float, smaller: bool) -> None:
    assert better(result_of(n=50, mean_difference=mean, overlap=1, p=p)) is smaller


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_equally_good_forecasts_are_called_different_in_about_five_of_a_hundred_samples(rho: float) -> None:
    rng = np.random.default_rng(20_260)
    trials, n = 600, 300
    samples = ((autoregressive(rng, n, rho), autoregressive(rng, n, rho)) for _ in range(trials))
    false = sum(better(diebold_mariano(first, second, 1, 1.0)) for first, second in samples)
    # four standard deviations of the count around 5 %; neighbours that are alike leave it a little too large
    assert 0.015 * trials < false < (0.09 if rho == 0.0 else 0.12) * trials


def test_a_real_difference_is_found_in_most_samples() -> None:
    rng = np.random.default_rng(4)
    samples = ((autoregressive(rng, 300, 0.3), autoregressive(rng, 300, 0.3) + 0.5) for _ in range(50))
    assert sum(better(diebold_mariano(first, second, 1, 1.0)) for first, second in samples) > 45


def mean_interval(sums: np.ndarray, shared: int, seed: int) -> Interval | None:
    """Bootstrap interval of the second sum over the first."""
    drawn = resampled_sums(sums, shared, seed)
    return None if drawn is None else percentile_interval(drawn[:, 1] / drawn[:, 0])


def contributions(n: int, seed: int = 0, rho: float = 0.5) -> np.ndarray:
    return np.column_stack([np.ones(n), autoregressive(np.random.default_rng(seed), n, rho)])


@pytest.mark.parametrize("seed", range(6))
def test_the_bootstrap_interval_contains_the_point_estimate(seed: int) -> None:
    sums = contributions(200, seed)
    interval = mean_interval(sums, 3, seed)
    assert interval is not None
    assert interval.low < sums[:, 1].mean() < interval.high


def test_the_bootstrap_interval_contains_the_true_mean_in_most_samples() -> None:
    intervals = [mean_interval(contributions(300, seed), 6, 1) for seed in range(100)]
    contained = sum(found is not None and found.low < 0.0 < found.high for found in intervals)
    assert 80 <= contained <= 100


def test_the_bootstrap_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    sums = contributions(100)
    assert mean_interval(sums, 3, 42) == mean_interval(sums, 3, 42)
    assert mean_interval(sums, 3, 42) != mean_interval(sums, 3, 43)


@pytest.mark.parametrize(("n", "shared", "block"), [(125, 1, 5), (126, 1, 6), (64, 1, 4), (64, 20, 20), (8, 2, 2)])
def test_a_block_is_as_long_as_the_overlap_and_the_cube_root_of_the_origins(n: int, shared: int, block: int) -> None:
    assert block_length(n, shared) == block


@pytest.mark.parametrize("position", [0, -1])
def test_the_first_and_the_last_origin_are_drawn_too(position: int) -> None:
    sums = np.column_stack([np.ones(12), np.zeros(12)])
    sums[position, 1] = 100.0
    interval = mean_interval(sums, 4, 0)
    assert interval is not None
    assert interval.high > 0.0


@pytest.mark.parametrize(("n", "shared"), [(59, 20), (5, 1), (0, 1)])
def test_fewer_than_three_blocks_give_no_interval(n: int, shared: int) -> None:
    assert mean_interval(contributions(n), shared, 0) is None
    assert mean_interval(contributions(60), 20, 0) is not None


def test_correlated_origins_give_a_wider_interval_than_independent_ones() -> None:
    def width(rho: float) -> float:
        sums = contributions(1000, rho=rho)
        sums[:, 1] /= sums[:, 1].std()
        interval = mean_interval(sums, 20, 0)
        assert interval is not None
        return interval.high - interval.low

    assert width(0.9) > 1.5 * width(0.0)


def test_every_column_is_drawn_from_the_same_blocks() -> None:
    one = contributions(200, 1)
    drawn = resampled_sums(np.column_stack([one, 2.0 * one]), 3, 5)
    assert drawn is not None
    np.testing.assert_allclose(drawn[:, 2:], 2.0 * drawn[:, :2])
    assert drawn.shape == (1000, 4)


@pytest.mark.parametrize(("value", "contained"), [(0.1, True), (0.2, True), (0.15, True), (0.09, False), (0.21, False)])
def test_an_interval_contains_the_values_between_its_ends(value: float, contained: bool) -> None:
    assert Interval(low=0.1, high=0.2).contains(value) is contained
