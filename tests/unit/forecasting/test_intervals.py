"""Split-conformal offsets against plain Python, and their coverage in a simulation."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from flts.forecasting.intervals import LEVELS, conformal_offsets, half_widths, quantiles
from flts.preprocess.rows import Values

EXACT = {0.5: Fraction(1, 2), 0.8: Fraction(4, 5), 0.9: Fraction(9, 10), 0.95: Fraction(19, 20)}


def sample(windows: int, horizon: int = 2, targets: int = 3, seed: int = 0) -> Values:
    return np.abs(np.random.default_rng(seed).normal(0, 10, (windows, horizon, targets)))


@pytest.mark.parametrize("windows", [20, 21, 39, 59, 99, 100, 199, 200])
def test_an_offset_is_the_score_of_rank_n_plus_one_times_the_level(windows: int) -> None:
    scores = sample(windows)
    offsets = conformal_offsets(scores)
    assert offsets is not None
    assert {*offsets} == {"0.5", "0.8", "0.9", "0.95"}
    for level, exact in EXACT.items():
        rank = math.ceil((windows + 1) * exact)
        for step, target in np.ndindex(2, 3):
            assert offsets[f"{level:g}"][step][target] == sorted(scores[:, step, target])[rank - 1]


def test_a_score_that_is_unknown_counts_at_no_step() -> None:
    scores = sample(60)
    scores[::3, 1, 2] = np.nan
    offsets, whole = conformal_offsets(scores), conformal_offsets(sample(60))
    assert offsets is not None
    assert whole is not None
    assert offsets["0.8"][1][2] == sorted(scores[~np.isnan(scores[:, 1, 2]), 1, 2])[math.ceil(41 * 0.8) - 1]
    assert offsets["0.8"][0] == whole["0.8"][0]


@pytest.mark.parametrize(("windows", "enough"), [(0, False), (1, False), (19, False), (20, True)])
def test_fewer_than_twenty_windows_give_no_offsets(windows: int, enough: bool) -> None:
    assert (conformal_offsets(sample(windows)) is not None) is enough


@pytest.mark.parametrize(("unknown", "enough"), [(5, True), (6, False)])
def test_fewer_than_twenty_known_scores_at_one_step_give_no_offsets(unknown: int, enough: bool) -> None:
    scores = sample(25)
    scores[:unknown, 1, 0] = np.nan
    assert (conformal_offsets(scores) is not None) is enough


def test_a_quantile_beyond_the_scores_is_the_largest_and_a_step_without_scores_has_none() -> None:
    scores = np.array([[[3.0], [np.nan]], [[1.0], [np.nan]]])
    found = quantiles(scores, (0.5, 0.95))
    assert found[:, 0, 0].tolist() == [3.0, 3.0]
    assert np.isnan(found[:, 1]).all()


@pytest.mark.parametrize("windows", [20, 40, 150])
@pytest.mark.parametrize("level", LEVELS)
def test_the_coverage_of_a_new_exchangeable_window_is_the_rank_over_n_plus_one(level: float, windows: int) -> None:
    rng = np.random.default_rng(7)
    # heavy tails: coverage does not need normal errors
    scores = np.abs(rng.standard_t(3, (windows + 1, 1, 4000)))
    (offsets,) = quantiles(scores[:-1], (level,))
    exact = math.ceil((windows + 1) * EXACT[level]) / (windows + 1)
    assert float(np.mean(scores[-1] <= offsets)) == pytest.approx(exact, abs=0.025)


def test_one_stored_level_gives_the_half_width_of_every_level() -> None:
    spread = np.random.default_rng(3).uniform(0.5, 2.0, size=(7, 1, 1))
    offsets = {"0.5": [[0.5], [0.7]], "0.8": [[1.0], [1.5]], "0.95": [[2.0], [3.5]]}
    for level, half_width in half_widths(np.array(offsets["0.8"]) * spread, offsets).items():
        np.testing.assert_allclose(half_width, np.array(offsets[level]) * spread)


def test_a_stored_half_width_of_zero_leaves_a_wider_level_unknown() -> None:
    by_level = half_widths(np.zeros((3, 1, 1)), {"0.5": [[0.0]], "0.8": [[0.0]], "0.95": [[2.0]]})
    assert (by_level["0.5"] == 0.0).all()
    assert np.isnan(by_level["0.95"]).all()
