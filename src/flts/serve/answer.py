"""One request: a history as a person has it, checked against the manifest, answered by the bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flts.contracts.errors import DataError, UsageError
from flts.forecasting.bundle import Bundle
from flts.forecasting.intervals import LEVELS
from flts.preprocess.fit import format_step
from flts.preprocess.parquet import time_column
from flts.preprocess.read import read_rows
from flts.preprocess.rows import Rows, Times, Values
from flts.preprocess.source import Raw, RawTable
from flts.spec.fields import Dataset

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Answer:
    """Forecasts in original units.

    times [horizon], UTC ns, from one step after the end of the history; mean, lower, upper [horizon, targets], bounds
    NaN where the model has none.
    """

    times: Times
    targets: tuple[str, ...]
    mean: Values
    lower: Values
    upper: Values

    def frame(self) -> pl.DataFrame:
        """Columns time, target, mean, lower, upper; one row per step and target."""
        import polars as pl

        width = len(self.targets)
        values = {
            name: pl.Series(name, column.reshape(-1), nan_to_null=True)
            for name, column in (("mean", self.mean), ("lower", self.lower), ("upper", self.upper))
        }
        return pl.DataFrame(
            [
                time_column(np.repeat(self.times, width)),
                pl.Series("target", list(self.targets) * len(self.times)),
                *values.values(),
            ]
        )


def answer(bundle: Bundle, history: Any, level: float = 0.8) -> Answer:
    """Forecast from the end of a table: time and the manifest's columns in any order, newest row last.

    Raises UsageError for a level without offsets, DataError that names the column, gap or length that does not fit.
    """
    if level not in LEVELS:
        raise UsageError(f"level {level:g} is not offered; valid: {', '.join(f'{known:g}' for known in LEVELS)}")
    rows = read_history(bundle, history)
    forecasts, lower, upper = bundle.forecast(rows.times[None], rows.values[None], level)
    task = bundle.model.task
    times = rows.times[-1] + task.fitted.step * np.arange(1, task.horizon + 1)
    return Answer(times, task.fitted.targets, forecasts.mean[0], lower[0], upper[0])


def read_history(bundle: Bundle, history: Any) -> Rows:
    """The last rows the model wants, with its columns in its order; empty cells stay empty."""
    manifest, fitted = bundle.manifest, bundle.model.task.fitted
    rows = rows_for(bundle, RawTable.of("history", history))
    if len(rows) < manifest.min_history_rows:
        raise DataError(f"history: has {len(rows)} rows, the model needs at least {manifest.min_history_rows}")
    rows = rows[-manifest.history_rows :]
    window = rows.times[-bundle.model.task.lookback :]  # as for the test windows, older rows may have gaps
    broken = np.flatnonzero(np.diff(window) != fitted.step)
    if len(broken):
        gap = int(broken[0])
        at = np.datetime64(int(window[gap]), "ns").astype("datetime64[s]")
        raise DataError(
            f"history: the row after {at} (UTC) follows by {format_step(int(np.diff(window)[gap]))}, the model's"
            f" rows are {format_step(fitted.step)} apart; leave cells empty instead of leaving rows out"
        )
    return rows


def rows_for(bundle: Bundle, raw: Raw) -> Rows:
    """All rows of a table, with the columns of the manifest in its order. Raises DataError naming what is absent."""
    fitted = bundle.model.task.fitted
    table = RawTable(raw.name, raw.frame())
    name = bundle.manifest.time_column
    given = Dataset(time_column=name if name in table.table.columns else "time", timezone=fitted.timezone)
    rows = read_rows(table, given).rows
    absent = [column for column in fitted.names if column not in rows.columns]
    if absent:
        raise DataError(
            f"{raw.name}: lacks the numeric columns {', '.join(absent)}; the model needs {', '.join(fitted.names)}"
        )
    return Rows(rows.times, rows.select(fitted.names), fitted.names)
