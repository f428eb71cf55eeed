"""One request: a history as a person has it is checked against the manifest and forecast by the bundle."""

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
    """Forecasts from the end of one history, in original units.

    times [horizon]: UTC ns, the first one step after the end of the history; mean, lower, upper [horizon, targets],
    bounds NaN where the model has none.
    """

    times: Times
    targets: tuple[str, ...]
    mean: Values
    lower: Values
    upper: Values

    def frame(self) -> pl.DataFrame:
        """A table with columns time, target, mean, lower, upper; one row per step and target."""
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
    """Forecast from the end of a table that has a time column and those of the manifest, in any order.

    Raises UsageError for a level that has no intervals, DataError for missing columns, too few rows, or a gap.
    """
    if level not in LEVELS:
        valid = [f"{offered:g}" for offered in LEVELS]
        raise UsageError(
            f"level {level:g} is not available; valid: {', '.join(valid)}",
            code="unknown-level",
            found=level,
            valid=valid,
        )
    rows = read_history(bundle, history)
    forecasts, lower, upper = bundle.forecast(rows.times[None], rows.values[None], level)
    task = bundle.model.task
    times = rows.times[-1] + task.fitted.step * np.arange(1, task.horizon + 1)
    return Answer(times, task.fitted.targets, forecasts.mean[0], lower[0], upper[0])


def read_history(bundle: Bundle, history: Any) -> Rows:
    """Read the last rows that the model uses, with the columns of the manifest in its order; empty cells stay empty."""
    manifest, fitted = bundle.manifest, bundle.model.task.fitted
    rows = rows_for(bundle, RawTable.of("history", history))
    if len(rows) < manifest.min_history_rows:
        raise DataError(
            f"history: has {len(rows)} rows, the model needs at least {manifest.min_history_rows}",
            code="history-too-short",
            found=len(rows),
            expected=manifest.min_history_rows,
        )
    rows = rows[-manifest.history_rows :]
    window = rows.times[-bundle.model.task.lookback :]  # older rows may have gaps, as in the test windows
    distances = np.diff(window)
    gaps = np.flatnonzero(distances != fitted.step)
    if len(gaps):
        first = int(gaps[0])
        before = np.datetime64(int(window[first]), "ns").astype("datetime64[s]")
        found, expected = format_step(int(distances[first])), format_step(fitted.step)
        raise DataError(
            f"history: {before} (UTC) and the next row are {found} apart, and the model needs rows {expected} apart;"
            " keep every row and leave missing cells empty",
            code="history-gap",
            row=str(before),
            found=found,
            expected=expected,
        )
    return rows


def rows_for(bundle: Bundle, raw: Raw) -> Rows:
    """Read all rows of a table, with the columns of the manifest in its order. Raises DataError for missing columns."""
    fitted = bundle.model.task.fitted
    table = RawTable(raw.name, raw.frame())
    trained_on = bundle.manifest.time_column
    time = trained_on if trained_on in table.table.columns else "time"
    rows = read_rows(table, Dataset(time_column=time, timezone=fitted.timezone)).rows
    absent = [column for column in fitted.names if column not in rows.columns]
    if absent:
        raise DataError(
            f"{raw.name}: lacks the numeric columns {', '.join(absent)}; the model needs {', '.join(fitted.names)}",
            code="columns-missing",
            file=raw.name,
            columns=absent,
            expected=fitted.names,
        )
    return Rows(rows.times, rows.select(fitted.names), fitted.names)
