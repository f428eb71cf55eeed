"""Split-conformal offsets against plain Python, and their coverage in a simulation."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from flts.forecasting.intervals import LEVELS, bounds, conformal_offsets, half_widths
from flts.preprocess.rows import Values

EXACT = {0.5: Fraction(1, 2), 0.8: Fraction(4, 5), 0.9: Fraction(9, 10), 0.95: Fraction(19, 20)}


def sample(windows: int, horizon: int = 2, targets: int = 3, seed: int = 0) -> tuple[Values, Values, Values]:
    """Truth, forecast and spread."""
    rng = np.random.default_rng(seed)
    shape = (windows, horizon, targets)
    return rng.normal(50, 10, shape), rng.normal(50, 10, shape), rng.uniform(1.0, 9.0, (windows, targets))


@pytest.mark.parametrize("windows", [20, 21, 39, 59, 99, 100, 199, 200])
def test_an_offset_is_the_residual_of_rank_n_plus_one_times_the_level(windows: int) -> None:
    truth, forecast, spread = sample(windows)
    offsets = conformal_offsets(truth, forecast, spread)
    assert offsets is not None
    assert {*offsets} == {"0.5", "0.8", "0.9", "0.95"}
    for level, exact in EXACT.items():
        rank = math.ceil((windows + 1) * exact)
        for step in range(2):
            for target in range(3):
                scores = sorted(
                    abs(truth[w, step, target] - forecast[w, step, target]) / spread[w, target] for w in range(windows)
                )
                assert offsets[f"{level:g}"][step][target] == scores[rank - 1]


@pytest.mark.parametrize(("windows", "enough"), [(0, False), (1, False), (19, False), (20, True)])
def test_fewer_than_twenty_windows_give_no_offsets(windows: int, enough: bool) -> None:
    assert (conformal_offsets(*sample(windows)) is not None) is enough


def test_bounds_are_the_offset_times_the_spread_of_the_request_on_both_sides() -> None:
    offsets = conformal_offsets(*sample(50))
    assert offsets is not None
    mean, _, spread = sample(7, seed=1)
    lower, upper = bounds(mean, spread, offsets, 0.9)
    for w, step, target in np.ndindex(mean.shape):
        half_width = offsets["0.9"][step][target] * spread[w, target]
        assert lower[w, step, target] == pytest.approx(mean[w, step, target] - half_width)
        assert upper[w, step, target] == pytest.approx(mean[w, step, target] + half_width)


def test_without_offsets_every_bound_is_empty() -> None:
    mean, _, spread = sample(7)
    for bound in bounds(mean, spread, None, 0.8):
        assert bound.shape == mean.shape
        assert np.isnan(bound).all()


def test_steps_beyond_those_with_offsets_have_empty_bounds() -> None:
    offsets = conformal_offsets(*sample(50, horizon=2))
    mean, _, spread = sample(4, horizon=5)
    for bound in bounds(mean, spread, offsets, 0.8):
        assert np.isfinite(bound[:, :2]).all()
        assert np.isnan(bound[:, 2:]).all()


def test_a_shorter_request_takes_the_offsets_of_its_steps() -> None:
    offsets = conformal_offsets(*sample(50, horizon=4))
    mean, _, spread = sample(4, horizon=4, seed=1)
    short, whole = bounds(mean[:, :2], spread, offsets, 0.8), bounds(mean, spread, offsets, 0.8)
    for bound, expected in zip(short, whole, strict=True):
        np.testing.assert_array_equal(bound, expected[:, :2])


@pytest.mark.parametrize("windows", [20, 40, 150])
@pytest.mark.parametrize("level", LEVELS)
def test_the_coverage_of_a_new_exchangeable_window_is_at_least_the_level(level: float, windows: int) -> None:
    rng = np.random.default_rng(7)
    repeats = 4000
    # heavy tails and a changing spread: coverage does not need normal errors
    spread = rng.uniform(0.5, 5.0, (windows + 1, repeats))
    error = spread[:, None, :] * rng.standard_t(3, (windows + 1, 1, repeats))
    offsets = conformal_offsets(error[:-1], np.zeros((windows, 1, repeats)), spread[:-1])
    lower, upper = bounds(np.zeros((1, 1, repeats)), spread[-1:], offsets, level)
    covered = float(np.mean((lower <= error[-1:]) & (error[-1:] <= upper)))
    exact = math.ceil((windows + 1) * EXACT[level]) / (windows + 1)
    assert exact >= level
    assert covered == pytest.approx(exact, abs=0.025)


def test_one_stored_level_gives_the_half_width_of_every_level() -> None:
    rng = np.random.default_rng(3)
    mean, spread = rng.normal(size=(7, 2, 1)), rng.uniform(0.5, 2.0, size=(7, 1))
    offsets = {"0.5": [[0.5], [0.7]], "0.8": [[1.0], [1.5]], "0.95": [[2.0], [3.5]]}
    _, upper = bounds(mean, spread, offsets, 0.8)
    for level, half_width in half_widths(upper - mean, offsets).items():
        lower, higher = bounds(mean, spread, offsets, float(level))
        np.testing.assert_allclose(mean - half_width, lower)
        np.testing.assert_allclose(mean + half_width, higher)


def test_a_stored_half_width_of_zero_leaves_a_wider_level_unknown() -> None:
    by_level = half_widths(np.zeros((3, 1, 1)), {"0.5": [[0.0]], "0.8": [[0.0]], "0.95": [[2.0]]})
    assert (by_level["0.5"] == 0.0).all()
    assert np.isnan(by_level["0.95"]).all()
