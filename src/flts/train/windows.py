"""Windows: those inside train, and the test origins that every candidate is judged on.

The origins depend on the Spec and the rows, never on a model. What a model sees (histories) and what it is judged on
(truth) are separate objects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flts.contracts.errors import DataError
from flts.forecasting.histories import Histories, enough_measured, one_per_stratum, some_truth
from flts.models.base import ForecastTask, Indices
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
    """Mean number of rows between neighbouring origins, without the jumps over windows that do not count."""

    @property
    def empty(self) -> int:
        """Number of cells that cannot be scored."""
        return int(np.isnan(self.values).sum())


@dataclass(frozen=True)
class Windows:
    """The test origins of one windows_hash.

    indices: the first test row that each window forecasts; left_out: number of origins, of those that could have been
    chosen, where too few rows of the window hold a target, or no row of the horizon.
    """

    windows_hash: str
    indices: Indices
    left_out: int

    def histories(self, dataset: ProcessedDataset) -> Histories:
        """The test rows before each origin, and the train rows before them if test starts one step after train."""
        context, start = _context(dataset)
        return Histories(context, self.indices + start)

    def origins(self, dataset: ProcessedDataset) -> Times:
        """Times (UTC ns) of the last history row of each window."""
        histories = self.histories(dataset)
        last: Times = histories.context.times[histories.ends - 1]
        return last

    def truth(self, dataset: ProcessedDataset, horizon: int) -> Truth:
        """The raw test targets of each window."""
        targets = dataset.test.select(dataset.fitted.targets)
        truth = targets[self.indices[:, None] + np.arange(horizon)]
        return Truth(self.origins(dataset), truth, _spacing(self.indices))


def plan_windows(
    dataset: ProcessedDataset, windows_hash: str, task: ForecastTask, count: int, step: int = 0
) -> Windows:
    """Choose at most `count` test origins (0 takes all): one per stratum, or every `step` rows back from the last one.

    Only windows that count are chosen. Raises DataError when there is none.
    """
    context, start = _context(dataset)
    first, last = max(task.input_length - start, 0), len(dataset.test) - task.horizon
    if last < first:
        raise DataError(
            f"test has {len(dataset.test)} rows; the horizon of {task.horizon} and {first} more rows of history need at"
            f" least {first + task.horizon}; use more test rows, or a shorter window",
            code="test-too-short",
            found=len(dataset.test),
            expected=first + task.horizon,
        )
    origins = np.arange(last, first - 1, -step)[::-1] if step else np.arange(first, last + 1)
    counts = _count(context, origins + start, task)
    chosen = origins[counts]
    if not len(chosen):
        raise DataError(
            f"none of the {len(origins)} test windows counts: at least {task.min_measured:.0%} of the"
            f" {task.input_length} rows of history must hold {' and '.join(task.fitted.targets)}, and one row of the"
            " horizon (task.min_measured)",
            code="no-test-window",
            windows=len(origins),
        )
    if count:
        chosen = chosen[-count:] if step else one_per_stratum(chosen, count)
    return Windows(windows_hash, chosen, len(origins) - int(counts.sum()))


def _context(dataset: ProcessedDataset) -> tuple[Rows, int]:
    """The rows that histories of test windows may use, and the index of the first test row among them."""
    if dataset.contiguous:
        return dataset.train.then(dataset.test), len(dataset.train)
    return dataset.test, 0


def _spacing(origins: Indices) -> float:
    """Mean distance of neighbouring origins that are at most twice the middle distance apart; 1 for a single origin.

    Two neighbours of equal strata are less than that apart. An outage would make the mean of all distances so long that
    overlapping horizons pass for separate ones.
    """
    distances = np.diff(origins)
    return float(np.mean(distances[distances <= 2 * np.median(distances)])) if len(distances) else 1.0


def _count(rows: Rows, origins: Indices, task: ForecastTask) -> NDArray[np.bool_]:
    """Whether the window at each origin counts: enough of its rows hold every target, and its horizon one of them."""
    targets = rows.select(task.fitted.targets)
    measured = np.asarray(~np.isnan(targets).any(axis=1))
    enough = enough_measured(measured, origins, task.input_length, task.min_measured)
    return enough & some_truth(targets, origins, task.horizon)


def train_origins(train: Rows, task: ForecastTask) -> Indices:
    """Rows of train at which the horizon of a window can start: with enough rows around them, and the window counts."""
    origins = np.arange(task.lookback, len(train) - task.horizon + 1, dtype=np.int64)
    return origins[_count(train, origins, task)] if len(origins) else origins


def outages(rows: Rows, task: ForecastTask) -> list[tuple[int, int]]:
    """First and last index of every gap in the targets that is longer than a window with its horizon."""
    empty = np.isnan(rows.select(task.fitted.targets)).any(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], empty, [False]]).astype(np.int8)))
    runs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return [(first, end - 1) for first, end in runs if end - first > task.input_length + task.horizon]


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
            f"train has {count} windows of history and horizon in which enough is measured, too few to fit and to"
            " validate; use more train rows, a shorter input_length or horizon, or a smaller task.min_measured",
            code="train-too-short",
            windows=count,
        )
    return fit, validation
