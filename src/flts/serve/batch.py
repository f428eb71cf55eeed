"""Forecasts from every row of a table that has enough history before it, and their errors where truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flts.contracts.errors import DataError
from flts.evaluate.metrics import Errors, Yardstick, measure
from flts.forecasting.bundle import Bundle
from flts.forecasting.histories import Histories, enough_measured
from flts.forecasting.intervals import STORED_LEVEL
from flts.preprocess.parquet import time_column
from flts.preprocess.rows import Rows, Times, Values
from flts.serve.version1 import unbroken

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Batch:
    """Forecasts from many origins of one table, in original units.

    origins [origins]: UTC ns of the last history row; times [origins, horizon]; mean, lower, upper and truth
    [origins, horizon, targets]. Truth is NaN where the table has no row or an empty cell. interval: "static",
    "adaptive" or "none" per origin, as in an Answer; timezone: that of the train rows.
    """

    origins: Times
    times: Times
    targets: tuple[str, ...]
    mean: Values
    lower: Values
    upper: Values
    truth: Values
    interval: tuple[str, ...]
    timezone: str = "UTC"

    def frame(self) -> pl.DataFrame:
        """A table with columns origin, step, time, target, mean, lower, upper; one row per origin, step and target.

        Times are local.
        """
        import polars as pl

        count, horizon, width = self.mean.shape
        cells = horizon * width
        return pl.DataFrame(
            [
                time_column(np.repeat(self.origins, cells), "origin", self.timezone),
                pl.Series("step", np.tile(np.repeat(np.arange(1, horizon + 1), width), count)),
                time_column(np.repeat(self.times.reshape(-1), width), timezone=self.timezone),
                pl.Series("target", list(self.targets) * (count * horizon)),
                *(
                    pl.Series(name, values.reshape(-1), nan_to_null=True)
                    for name, values in (("mean", self.mean), ("lower", self.lower), ("upper", self.upper))
                ),
            ]
        )


def forecast_batch(bundle: Bundle, rows: Rows, level: float = STORED_LEVEL) -> Batch:
    """Forecast from every row that ends a history of enough rows that hold the targets.

    Where the model has to be told columns of the rows to forecast, the table must hold these rows too.

    rows: the columns of the manifest in its order. Raises DataError when no row can be an origin.
    """
    model, fitted = bundle.model, bundle.model.task.fitted
    needed = max(bundle.manifest.min_history_rows, model.task.lookback)
    ends = np.arange(needed, len(rows) + 1, dtype=np.int64)
    task = model.task
    usable = enough_measured(fitted.measured(rows.values), ends, task.input_length, task.min_measured)
    if bundle.given:
        index = model.task.known.index(fitted)
        told = Histories(rows, ends).ahead(np.arange(len(ends)), index, task.horizon)
        usable &= ~np.isnan(told).any(axis=(1, 2))
    if not fitted.placed:
        usable &= unbroken(rows, ends, task)
    if not usable.any():
        raise DataError(
            f"no row ends a history of {needed} rows, of whose last {task.input_length} at least"
            f" {task.min_measured:.0%} hold {' and '.join(fitted.targets)}{_and_told(bundle)}, as the model needs; the"
            f" table has {len(rows)} rows on the grid",
            code="no-origin",
            rows=len(rows),
            expected=needed,
        )
    histories = Histories(rows, ends[usable])
    answers = bundle.forecast(histories)
    lower, upper = answers.interval(level)
    origins = rows.times[histories.ends - 1]
    times = fitted.grid.after(origins, task.horizon)
    truth = truth_at(rows, times, fitted.targets)
    kinds, zone = tuple(answers.kinds()), fitted.grid.timezone
    return Batch(origins, times, fitted.targets, answers.mean, lower, upper, truth, kinds, zone)


def _and_told(bundle: Bundle) -> str:
    if not bundle.given:
        return ""
    return f", with {', '.join(bundle.given)} in each of the {bundle.model.task.horizon} rows after it"


def errors(bundle: Bundle, batch: Batch) -> Errors | None:
    """Errors scaled by the target's range over the champion's train rows; None when no truth is known."""
    if np.isnan(batch.truth).all():
        return None
    fitted = bundle.model.task.fitted
    _, width = fitted.target_range
    return measure(batch.truth, batch.mean, Yardstick(fitted.targets, width, None, "not asked"))


def truth_at(rows: Rows, times: Times, targets: tuple[str, ...]) -> Values:
    """The targets of the rows at these times: [...] → [..., targets], NaN where there is no row."""
    values = rows.select(targets)
    positions = np.searchsorted(rows.times, times)
    exists = positions < len(rows)
    exists[exists] = rows.times[positions[exists]] == times[exists]
    return np.where(exists[..., None], values[np.where(exists, positions, 0)], np.nan)
