"""Take one contiguous block of rows."""

from __future__ import annotations

import numpy as np

from flts.preprocess.rows import Rows
from flts.spec.fields import Sample

TRAIN, TEST = 0, 1
"""Second word of the random seed: train and test draw their start rows independently."""


def take(rows: Rows, count: int, sample: Sample, part: int) -> Rows:
    """`count` neighbouring rows (0 takes all); `part` is TRAIN or TEST."""
    if count == 0 or count >= len(rows):
        return rows
    match sample.strategy:
        case "head":
            start = 0
        case "tail":
            start = len(rows) - count
        case "random":
            generator = np.random.Generator(np.random.PCG64([sample.seed, part]))
            start = int(generator.integers(0, len(rows) - count + 1))
    return rows[start : start + count]
