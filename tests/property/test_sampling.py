"""Whatever the sizes and seeds, a sample is one contiguous block of the right size."""

from __future__ import annotations

from typing import Literal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.series import HOUR, hourly

from flts.preprocess.sample import TEST, TRAIN, take
from flts.spec.fields import Sample

ROWS = hourly(300)


@settings(deadline=None)
@given(
    available=st.integers(1, 300),
    count=st.integers(0, 350),
    strategy=st.sampled_from(["head", "tail", "random"]),
    seed=st.integers(0, 2**63 - 1),
    part=st.sampled_from([TRAIN, TEST]),
)
def test_a_sample_is_one_contiguous_block_of_the_right_size(
    available: int, count: int, strategy: Literal["head", "tail", "random"], seed: int, part: int
) -> None:
    rows = ROWS[:available]
    sample = Sample(strategy=strategy, seed=seed)
    taken = take(rows, count, sample, part)
    assert len(taken) == (min(count, available) or available)
    start = int((taken.times[0] - rows.times[0]) // HOUR)
    np.testing.assert_array_equal(taken.times, rows.times[start : start + len(taken)])
    np.testing.assert_array_equal(taken.values, rows.values[start : start + len(taken)])
    if strategy != "random":
        assert start == (0 if strategy == "head" else available - len(taken))
    np.testing.assert_array_equal(take(rows, count, sample, part).times, taken.times)
