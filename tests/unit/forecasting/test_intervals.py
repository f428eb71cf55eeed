"""Split-conformal offsets against a plain oracle, and what they promise against simulation."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from flts.forecasting.intervals import LEVELS, bounds, conformal_offsets, half_widths
from flts.preprocess.rows import Values

EXACT = {0.5: Fraction(1, 2), 0.8: Fraction(4, 5), 0.9: Fraction(9, 10), 0.95: Fraction(19, 20)}


def made(windows: int, horizon: int = 2, targets: int = 3, seed: int = 0) -> tuple[Values, Values, Values]:
    """Truth, forecast and spread."""
    rng = np.random.default_rng(seed)
    shape = (windows, horizon, targets)
    return rng.normal(50, 10, shape), rng.normal(50, 10, shape), rng.uniform(1.0, 9.0, (windows, targets))


@pytest.mark.parametrize("windows", [20, 21, 39, 59, 99, 100, 199, 200])
def test_an_offset_is_the_residual_of_rank_n_plus_one_times_the_level(windows: int) -> None:
    truth, forecast, spread = made(windows)
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


@pytest.mark.parametrize(("windows", "known"), [(0, False), (1, False), (19, False), (20, True)])
def test_fewer_than_twenty_windows_give_no_offsets(windows: int, known: bool) -> None:
    assert (conformal_offsets(*made(windows)) is not None) is known


def test_bounds_are_the_offset_times_the_level_of_the_request_on_both_sides() -> None:
    offsets = conformal_offsets(*made(50))
    assert offsets is not None
    mean, _, spread = made(7, seed=1)
    lower, upper = bounds(mean, spread, offsets, 0.9)
    for w, step, target in np.ndindex(mean.shape):
        half_width = offsets["0.9"][step][target] * spread[w, target]
        assert lower[w, step, target] == pytest.approx(mean[w, step, target] - half_width)
        assert upper[w, step, target] == pytest.approx(mean[w, step, target] + half_width)


def test_without_offsets_every_bound_is_empty() -> None:
    mean, _, spread = made(7)
    for bound in bounds(mean, spread, None, 0.8):
        assert bound.shape == mean.shape
        assert np.isnan(bound).all()


def test_steps_beyond_those_with_offsets_have_empty_bounds() -> None:
    offsets = conformal_offsets(*made(50, horizon=2))
    mean, _, spread = made(4, horizon=5)
    for bound in bounds(mean, spread, offsets, 0.8):
        assert np.isfinite(bound[:, :2]).all()
        assert np.isnan(bound[:, 2:]).all()


def test_a_shorter_request_takes_the_offsets_of_its_steps() -> None:
    offsets = conformal_offsets(*made(50, horizon=4))
    mean, _, spread = made(4, horizon=4, seed=1)
    short, whole = bounds(mean[:, :2], spread, offsets, 0.8), bounds(mean, spread, offsets, 0.8)
    for found, expected in zip(short, whole, strict=True):
        np.testing.assert_array_equal(found, expected[:, :2])


@pytest.mark.parametrize("windows", [20, 40, 150])
@pytest.mark.parametrize("level", LEVELS)
def test_a_new_exchangeable_window_is_covered_as_often_as_promised(level: float, windows: int) -> None:
    rng = np.random.default_rng(7)
    repeats = 4000
    # heavy tails and a level that moves: the promise does not ask for normal errors
    spread = rng.uniform(0.5, 5.0, (windows + 1, repeats))
    error = spread[:, None, :] * rng.standard_t(3, (windows + 1, 1, repeats))
    offsets = conformal_offsets(error[:-1], np.zeros((windows, 1, repeats)), spread[:-1])
    lower, upper = bounds(np.zeros((1, 1, repeats)), spread[-1:], offsets, level)
    covered = float(np.mean((lower <= error[-1:]) & (error[-1:] <= upper)))
    exact = math.ceil((windows + 1) * EXACT[level]) / (windows + 1)
    assert exact >= level
    assert covered == pytest.approx(exact, abs=0.025)


def test_one_stored_level_gives_the_reach_of_every_level() -> None:
    rng = np.random.default_rng(3)
    mean, spread = rng.normal(size=(7, 2, 1)), rng.uniform(0.5, 2.0, size=(7, 1))
    offsets = {"0.5": [[0.5], [0.7]], "0.8": [[1.0], [1.5]], "0.95": [[2.0], [3.5]]}
    _, upper = bounds(mean, spread, offsets, 0.8)
    for level, half_width in half_widths(upper - mean, offsets).items():
        lower, higher = bounds(mean, spread, offsets, float(level))
        np.testing.assert_allclose(mean - half_width, lower)
        np.testing.assert_allclose(mean + half_width, higher)


def test_a_stored_level_without_width_says_nothing_about_a_wider_one() -> None:
    found = half_widths(np.zeros((3, 1, 1)), {"0.5": [[0.0]], "0.8": [[0.0]], "0.95": [[2.0]]})
    assert (found["0.5"] == 0.0).all()
    assert np.isnan(found["0.95"]).all()
