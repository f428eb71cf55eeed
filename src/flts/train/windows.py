"""Windows: those inside train, and the test origins that every candidate is judged on.

The origins depend on the Spec and the rows, never on a model. What a model sees (histories) and what it is judged on
(truth) are separate objects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from flts.contracts.errors import DataError
from flts.forecasting.histories import Histories, unbroken
from flts.models.base import Indices
from flts.preprocess.rows import Rows, Times, Values
from flts.preprocess.stage import ProcessedDataset


@dataclass(frozen=True)
class Truth:
    """The test targets at the forecast steps, in original units, NaN where nothing was measured.

    origins: UTC ns of the last history row [origins]; values [origins, horizon, targets].
    """

    origins: Times
    values: Values
    spacing: float
    """Median number of rows between neighbouring origins."""

    @property
    def empty(self) -> int:
        """Number of cells that cannot be scored."""
        return int(np.isnan(self.values).sum())


@dataclass(frozen=True)
class Windows:
    """The test origins of one windows_hash.

    indices: the first test row that each window forecasts; dropped: number of origins left out because of a gap.
    """

    windows_hash: str
    indices: Indices
    dropped: int

    def histories(self, dataset: ProcessedDataset) -> Histories:
        """The test rows before each origin, and the train rows before them if test starts one step after train."""
        if dataset.contiguous:
            return Histories(dataset.train.then(dataset.test), self.indices + len(dataset.train))
        return Histories(dataset.test, self.indices)

    def truth(self, dataset: ProcessedDataset, horizon: int) -> Truth:
        """The raw test targets of each window."""
        targets = dataset.test.select(dataset.fitted.targets)
        spacing = float(np.median(np.diff(self.indices))) if len(self.indices) > 1 else 1.0
        return Truth(dataset.test.times[self.indices - 1], targets[self.indices[:, None] + np.arange(horizon)], spacing)


def plan_windows(
    dataset: ProcessedDataset, windows_hash: str, input_length: int, horizon: int, count: int, step: int = 0
) -> Windows:
    """Choose at most `count` test origins (0 takes all), evenly spaced, or every `step` rows back from the last one.

    Raises DataError when there is none.
    """
    rows = len(dataset.test)
    first, last = input_length, rows - horizon
    if last < first:
        raise DataError(
            f"test has {rows} rows; input_length {input_length} + horizon {horizon} need at least"
            f" {input_length + horizon}; use more test rows, or a shorter window",
            code="test-too-short",
            found=rows,
            expected=input_length + horizon,
        )
    wanted = np.arange(first, last + 1)
    if step:
        wanted = wanted[::-1][::step][: count or None][::-1]
    elif count:
        wanted = np.unique(np.round(np.linspace(first, last, count)).astype(np.int64))
    histories = Windows(windows_hash, wanted, 0).histories(dataset)
    lookback = input_length + max(dataset.fitted.lags, default=0)
    whole = unbroken(
        histories.context.times, histories.ends, np.minimum(lookback, histories.ends), horizon, dataset.fitted.step
    )
    if not whole.any():
        raise DataError(
            f"each of the {len(wanted)} test windows contains a gap in time; set preprocess.resample",
            code="test-windows-broken",
            windows=len(wanted),
        )
    return Windows(windows_hash, wanted[whole], int((~whole).sum()))


def train_origins(rows: Rows, lookback: int, horizon: int, step: int) -> Indices:
    """Rows of train at which the horizon of a window can start: enough rows around them, and no gap."""
    origins = np.arange(lookback, len(rows) - horizon + 1, dtype=np.int64)
    return origins[unbroken(rows.times, origins, lookback, horizon, step)] if len(origins) else origins


def split_validation(origins: Indices, horizon: int, fraction: float) -> tuple[Indices, Indices]:
    """Origins to fit on and origins of the validation windows; no target row is in both.

    The last max(⌈fraction · w⌉, min(20, w // 4)) of w windows are for validation.
    """
    count = len(origins)
    # in floats 0.07 × 100 is just above 7, and ⌈7⌉ must not become 8
    size = max(math.ceil(fraction * count - 1e-9), min(20, count // 4))
    validation = origins[count - size :]
    fit = origins[origins + horizon <= validation[0]] if size else origins
    if not size or not len(fit):
        raise DataError(
            f"train has {count} windows of history and horizon, too few to fit and to validate;"
            " use more train rows, or a shorter input_length or horizon",
            code="train-too-short",
            windows=count,
        )
    return fit, validation
