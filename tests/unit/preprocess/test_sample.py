"""A sample is one block of neighbours, where the Spec says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.support.series import HOUR, hourly

from flts.preprocess.sample import TEST, TRAIN, take
from flts.spec.fields import Sample

ROWS = hourly(100)


def first(count: int, part: int = TRAIN, **sample: Any) -> int:
    """Where the block starts."""
    taken = take(ROWS, count, Sample(**sample), part)
    assert len(taken) == count
    assert (np.diff(taken.times) == HOUR).all()
    start = int((taken.times[0] - ROWS.times[0]) // HOUR)
    np.testing.assert_array_equal(taken.values, ROWS.values[start : start + count])
    return start


@pytest.mark.parametrize("part", [TRAIN, TEST])
def test_head_and_tail_take_the_ends(part: int) -> None:
    assert first(30, part, strategy="head") == 0
    assert first(30, part, strategy="tail") == 70


@pytest.mark.parametrize("seed", [0, 1, 42, 2**40])
@pytest.mark.parametrize("part", [TRAIN, TEST])
def test_random_draws_the_start_with_the_published_generator(seed: int, part: int) -> None:
    expected = np.random.Generator(np.random.PCG64([seed, part])).integers(0, 100 - 30 + 1)
    assert first(30, part, strategy="random", seed=seed) == expected


def test_random_blocks_never_change_from_release_to_release() -> None:
    starts = [first(30, part, strategy="random", seed=seed) for part in (TRAIN, TEST) for seed in (0, 1, 42)]
    assert starts == [60, 33, 6, 37, 36, 45]


def test_random_reaches_both_ends() -> None:
    starts = {first(97, strategy="random", seed=seed) for seed in range(60)}
    assert starts == {0, 1, 2, 3}


@pytest.mark.parametrize("strategy", ["head", "tail", "random"])
@pytest.mark.parametrize("count", [0, 100, 101])
def test_zero_or_more_than_there_are_takes_all(strategy: Any, count: int) -> None:
    assert take(ROWS, count, Sample(strategy=strategy), TRAIN) is ROWS


def test_the_seed_counts_for_random_only() -> None:
    assert first(30, strategy="head", seed=1) == first(30, strategy="head", seed=2)
    assert first(30, strategy="random", seed=1) != first(30, strategy="random", seed=2)
