"""How often intervals contain the truth, beside their nominal level, and how wide they are: pooled and per step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flts.contracts.records.decision import Coverage, Interval, StepCoverage
from flts.evaluate.metrics import Yardstick
from flts.evaluate.significance import mean_of
from flts.preprocess.rows import Values

Counts = NDArray[np.int64]

NOTED = 0.03
"""A measured coverage further than this from the nominal level is worth a warning."""


def measured(truth: Values, lower: Values, upper: Values, yardstick: Yardstick, overlapping: int) -> Coverage | None:
    """Coverage and mean scaled width of the intervals from lower to upper; None without bounds.

    All arrays [origins, horizon, targets] in original units; cells without truth or without bounds are left out.
    """
    counted = ~np.isnan(truth) & ~np.isnan(lower)
    if not counted.any():
        return None
    inside = counted & (lower <= truth) & (truth <= upper)
    width = np.where(counted, (upper - lower) / yardstick.width, 0.0)
    coverage = float(inside.sum() / counted.sum())
    steps = [
        StepCoverage(
            step=step + 1,
            coverage=float(inside[:, step].sum() / counted[:, step].sum()),
            width=float(width[:, step].sum() / counted[:, step].sum()),
        )
        for step in range(truth.shape[1])
        if counted[:, step].any()
    ]
    return Coverage(
        coverage=coverage,
        interval=_interval(counted.sum(axis=(1, 2)), inside.sum(axis=(1, 2)), coverage, overlapping),
        width=float(width.sum() / counted.sum()),
        cells=int(counted.sum()),
        step=steps,
    )


def _interval(counted: Counts, inside: Counts, coverage: float, overlapping: int) -> Interval | None:
    """The 95 % interval of the coverage, a ratio of two sums over origins [origins], linearised."""
    cells, held = counted[counted > 0], inside[counted > 0]
    weight = len(cells) / cells.sum()
    around = mean_of(weight * held, weight * coverage * cells, overlapping).interval()
    return around and Interval(low=max(0.0, coverage + around.low), high=min(1.0, coverage + around.high))


def miscalibration(level: str, result: Coverage | None) -> str | None:
    """A warning when the measured coverage differs from the nominal level by more than noise."""
    if result is None or result.interval is None:
        return None
    nominal, coverage = float(level), result.coverage
    if result.interval.contains(nominal) or abs(coverage - nominal) <= NOTED:
        return None
    narrow = coverage < nominal
    return (
        f"the {nominal:.0%} intervals cover {coverage:.1%} of the test cells: errors are"
        f" {'larger' if narrow else 'smaller'} on the test windows than on the validation windows, so the intervals"
        f" are too {'narrow' if narrow else 'wide'} here"
    )
