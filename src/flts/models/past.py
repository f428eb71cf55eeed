"""The past of the targets before each origin: what a model of lags sees, however many rows a history holds.

Beside it, what is known ahead: the known columns of the rows to forecast, and of the rows of the past.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from flts.models.base import NONE_KNOWN, Block, ForecastTask, Indices, Window
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

    length: rows that say what is usual, those of the window or of a season if that is longer; season: the shortest, 1
    where there is none; otherwise [targets]: the value of a history without a measured one, the median of train. known
    [windows, rows + horizon, known]: the columns that are known ahead, of these rows and of those to forecast.
    """

    values: Values
    length: int
    season: int
    otherwise: Values
    known: Values = field(default_factory=lambda: NONE_KNOWN)

    @classmethod
    def of_block(cls, block: Block, task: ForecastTask) -> Past:
        """The past of every window of a block."""
        rows = rows_back(task)
        before = np.full((rows, task.targets), np.nan)
        values = np.concatenate([before, block.targets])[block.origins[:, None] + np.arange(rows)]
        known = NONE_KNOWN
        if task.known:
            span = block.origins[:, None] + np.arange(-rows, task.horizon)
            known = np.where((span < 0)[..., None], np.nan, block.known[np.maximum(span, 0)])
        return cls(values, _usual(task), min(task.seasons, default=1), _medians(task), known)

    @classmethod
    def of_window(cls, window: Window, task: ForecastTask) -> Past:
        """The past of the histories of a request."""
        rows = rows_back(task)
        known = np.where(window.measured_targets, window.targets, np.nan)[:, -rows:]
        before = np.full((len(known), rows - known.shape[1], task.targets), np.nan)
        values, ahead = np.concatenate([before, known], axis=1), NONE_KNOWN
        if task.known:
            empty = np.full((len(known), before.shape[1], len(task.known)), np.nan)
            ahead = np.concatenate([empty, window.known_before[:, -rows:], window.ahead], axis=1)
        return cls(values, _usual(task), min(task.seasons, default=1), _medians(task), ahead)

    def known_at(self, rows: Indices) -> Values:
        """The known columns of these rows, counted from the origin: [windows, rows, known].

        Of a row before the history those of the oldest one.
        """
        origin = self.values.shape[1]
        found = self.known[:, origin + rows]
        if not np.isnan(found).any():
            return found
        oldest = np.argmin(np.isnan(self.known[..., 0]), axis=1)
        return np.where(np.isnan(found), self.known[np.arange(len(found)), oldest][:, None], found)

    @cached_property
    def last(self) -> Values:
        """The newest measured value: [windows, targets]."""
        last = self.values[:, -1].copy()
        holes = np.isnan(last).any(axis=1)
        if not holes.any():
            return last
        values = self.values[holes]
        found, known = carried(values, ~np.isnan(values), 1)
        last[holes] = np.where(known, found, self.otherwise)[:, -1]
        return last

    @cached_property
    def mean(self) -> Values:
        """Mean of the measured cells of the usual rows; the last value where there are none."""
        known = ~np.isnan(self._usual_rows)
        sums = np.where(known, self._usual_rows, 0.0).sum(axis=1)
        return np.where(known.any(axis=1), sums / np.maximum(known.sum(axis=1), 1), self.last)

    @cached_property
    def spread(self) -> Values:
        """Standard deviation of the measured cells of the usual rows, never zero: [windows, targets]."""
        squares = np.where(np.isnan(self._usual_rows), 0.0, self._usual_rows - self.mean[:, None]) ** 2
        count = np.maximum((~np.isnan(self._usual_rows)).sum(axis=1), 1)
        found: Values = np.sqrt(squares.sum(axis=1) / count) + LEAST
        return found

    @cached_property
    def mended(self) -> Values:
        """The values with every empty cell replaced by the nearest measured one.

        That of the same phase counts first: of the season before, else of the one after.
        """
        holes = np.isnan(self.values).any(axis=(1, 2))
        if not holes.any():
            return self.values
        mended = self.values.copy()
        mended[holes] = self._mended(self.values[holes])
        return mended

    def _mended(self, values: Values) -> Values:
        known = ~np.isnan(values)
        for season in (self.season, 1):
            values, known = carried(values, known, season)
            backwards, found = carried(values[:, ::-1], known[:, ::-1], season)
            values, known = backwards[:, ::-1], found[:, ::-1]
        return np.where(known, values, self.otherwise)

    @cached_property
    def _usual_rows(self) -> Values:
        return self.values[:, -self.length :]


def _usual(task: ForecastTask) -> int:
    return max([task.input_length, *phased(task)[:1]])


def _medians(task: ForecastTask) -> Values:
    fitted = task.fitted
    medians: Mapping[str, float] = {column.name: column.median for column in fitted.columns}
    return fitted.scale_targets(np.array([medians[name] for name in fitted.targets]))
