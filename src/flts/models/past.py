"""The past of the targets before each origin: what a model of lags sees, however many rows a history holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flts.models.base import Block, ForecastTask, Indices, Window
from flts.models.naive import carried, last_season
from flts.preprocess.rows import Values

LONGEST = 1_500
"""Rows that a model looks back at most for seasons; limits memory and the rows of a request."""
BACK = 2
"""Seasons back from which rows of the same phase are taken."""
LEAST = 1e-3
"""Added to the spread of a window, in shares of the range over train, so that a constant one can be divided by it."""


def phased(task: ForecastTask) -> tuple[int, ...]:
    """The seasons of which BACK fit into LONGEST rows, shortest first."""
    return tuple(season for season in task.seasons if BACK * season <= LONGEST)


def rows_back(task: ForecastTask) -> int:
    """Rows before an origin that count."""
    return max(task.lookback, BACK * max(phased(task), default=0))


def same_phase(season: int, horizon: int, back: int) -> Indices:
    """For each forecast step the row [horizon] of the same phase, so many seasons back, counted from the origin."""
    return last_season(season, horizon) - season * (back - 1)


@dataclass(frozen=True)
class Past:
    """values [windows, rows, targets]: scaled, the row before the origin last, NaN where nothing was measured or known.

    length: rows of a window; otherwise [targets]: the value of a history without a measured one, the median of train.
    """

    values: Values
    length: int
    otherwise: Values

    @classmethod
    def of_block(cls, block: Block, task: ForecastTask) -> Past:
        """The past of every window of a block."""
        rows = rows_back(task)
        before = np.full((rows, task.targets), np.nan)
        values = np.concatenate([before, block.targets])[block.origins[:, None] + np.arange(rows)]
        return cls(values, task.input_length, _medians(task))

    @classmethod
    def of_window(cls, window: Window, task: ForecastTask) -> Past:
        """The past of the histories of a request."""
        rows = rows_back(task)
        known = np.where(window.measured_targets, window.targets, np.nan)[:, -rows:]
        before = np.full((len(known), rows - known.shape[1], task.targets), np.nan)
        return cls(np.concatenate([before, known], axis=1), task.input_length, _medians(task))

    @cached_property
    def last(self) -> Values:
        """The newest measured value: [windows, targets]."""
        return self._newest(self.values)[:, -1]

    @cached_property
    def mean(self) -> Values:
        """Mean of the measured cells of the window; the last value where there are none."""
        known = ~np.isnan(self._window)
        sums = np.where(known, self._window, 0.0).sum(axis=1)
        return np.where(known.any(axis=1), sums / np.maximum(known.sum(axis=1), 1), self.last)

    @cached_property
    def spread(self) -> Values:
        """Standard deviation of the measured cells of the window, never zero: [windows, targets]."""
        squares = np.where(np.isnan(self._window), 0.0, self._window - self.mean[:, None]) ** 2
        count = np.maximum((~np.isnan(self._window)).sum(axis=1), 1)
        found: Values = np.sqrt(squares.sum(axis=1) / count) + LEAST
        return found

    def mended(self, season: int) -> Values:
        """The values with every empty cell replaced by the nearest measured one.

        That of the same phase counts first: of the season before, else of the one after.
        """
        values, known = carried(self.values, ~np.isnan(self.values), season)
        backwards, known = carried(values[:, ::-1], known[:, ::-1], season)
        values, known = carried(backwards[:, ::-1], known[:, ::-1], 1)
        backwards, known = carried(values[:, ::-1], known[:, ::-1], 1)
        return np.where(known, backwards, self.otherwise)[:, ::-1]

    @cached_property
    def _window(self) -> Values:
        return self.values[:, -self.length :]

    def _newest(self, values: Values) -> Values:
        found, known = carried(values, ~np.isnan(values), 1)
        return np.where(known, found, self.otherwise)


def _medians(task: ForecastTask) -> Values:
    fitted = task.fitted
    medians: Mapping[str, float] = {column.name: column.median for column in fitted.columns}
    return fitted.scale_targets(np.array([medians[name] for name in fitted.targets]))
