"""The moving-block bootstrap, and the share of the resamples in which a model is best."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.judging import off_by, truth_of, yardstick_of

from flts.evaluate.bootstrap import best_share, block_length, enough_blocks, resampled_sums
from flts.evaluate.score import Scored, score
from flts.spec.fields import Weights


def models(truth: np.ndarray, **forecasts: np.ndarray) -> list[Scored]:
    return [score(name, name, truth, f, yardstick_of(), Weights()) for name, f in forecasts.items()]


def share(name: str, among: list[Scored], shared: int = 2, seed: int = 7) -> float | None:
    return best_share(name, among, Weights(), shared, seed)


def contributions(n: int, seed: int = 0) -> np.ndarray:
    return np.column_stack([np.ones(n), np.random.default_rng(seed).normal(size=n)])


@pytest.mark.parametrize(("n", "shared", "block"), [(125, 1, 5), (126, 1, 6), (64, 1, 4), (64, 20, 20), (8, 2, 2)])
def test_a_block_is_as_long_as_the_overlap_and_the_cube_root_of_the_origins(n: int, shared: int, block: int) -> None:
    assert block_length(n, shared) == block


@pytest.mark.parametrize("n", [10, 64, 125, 203])
@pytest.mark.parametrize("shared", [1, 4, 7])
def test_exactly_as_many_origins_are_drawn_as_there_are_and_the_last_block_is_cut(n: int, shared: int) -> None:
    drawn = resampled_sums(contributions(n), shared, 3)
    assert drawn.shape == (1000, 2)
    assert drawn[:, 0].tolist() == [n] * 1000


@pytest.mark.parametrize(("n", "shared", "enough"), [(200, 20, True), (199, 20, False), (27, 1, False), (50, 1, True)])
def test_ten_blocks_are_enough(n: int, shared: int, enough: bool) -> None:
    assert enough_blocks(n, shared) is enough


def test_with_fewer_than_ten_blocks_there_is_no_share() -> None:
    truth = truth_of(39)
    assert share("a", models(truth, a=off_by(truth, 1.0))) is None
    assert share("a", models(truth[:39], a=off_by(truth, 1.0)), shared=1) is None
    truth = truth_of(40)
    assert share("a", models(truth, a=off_by(truth, 1.0))) == 1.0


@pytest.mark.parametrize("position", [0, -1])
def test_the_first_and_the_last_origin_are_drawn_too(position: int) -> None:
    sums = np.zeros((40, 1))
    sums[position] = 100.0
    assert resampled_sums(sums, 4, 0).max() > 0.0


def test_blocks_are_neighbours() -> None:
    sums = np.arange(100.0)[:, None] % 10 == 0
    counts = resampled_sums(sums.astype(float), 10, 0)
    assert counts.tolist() == [[10.0]] * 1000  # every block of ten holds one, wherever it starts


def test_the_bootstrap_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    truth = truth_of(120)
    both = models(truth, a=off_by(truth, 3.0, 3), b=off_by(truth, 3.0, 4))
    assert share("a", both, seed=42) == share("a", both, seed=42) != share("a", both, seed=43)


def test_every_column_is_drawn_from_the_same_blocks() -> None:
    one = contributions(200, 1)
    drawn = resampled_sums(np.column_stack([one, 2.0 * one]), 3, 5)
    np.testing.assert_allclose(drawn[:, 2:], 2.0 * drawn[:, :2])
    assert drawn.shape == (1000, 4)


def test_the_shares_of_resamples_in_which_each_model_is_best_sum_to_one() -> None:
    truth = truth_of(120)
    names = ["a", "b", "c"]
    some = models(truth, **{n: off_by(truth, 3.0, 30 + i) for i, n in enumerate(names)})
    shares = [share(name, some) or 0.0 for name in names]
    assert sum(shares) == pytest.approx(1.0)
    assert 0.0 < max(shares) < 1.0
    clear = models(truth, a=off_by(truth, 1.0), b=off_by(truth, 9.0))
    assert (share("a", clear), share("b", clear)) == (1.0, 0.0)


def test_the_share_is_that_of_the_composite_with_its_weights() -> None:
    truth = np.zeros((100, 1, 1))
    spikes = np.where(np.arange(100) % 4 == 0, 4.0, 0.0)[:, None, None]  # MAE 1, MSE 4
    steady = np.full(truth.shape, 1.5)  # MAE 1.5, MSE 2.25
    both = models(truth, spikes=spikes, steady=steady)
    assert best_share("steady", both, Weights(rmse=0.0, mae=1.0, mse=0.0), 4, 1) == 0.0
    assert best_share("steady", both, Weights(rmse=1.0, mae=0.0, mse=0.0), 4, 1) == 1.0
