"""One request: a history as a person has it is checked against the manifest and forecast by the bundle."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flts.contracts.errors import DataError, UsageError
from flts.contracts.notices import Notice
from flts.forecasting.bundle import Bundle
from flts.forecasting.histories import Histories, enough_measured
from flts.forecasting.intervals import LEVELS
from flts.models.base import ForecastTask
from flts.preprocess.history import read_history
from flts.preprocess.parquet import time_column
from flts.preprocess.rows import Rows, Times, Values
from flts.preprocess.source import Raw, RawTable
from flts.serve.version1 import refuse_gap

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Answer:
    """Forecasts from the end of one history, in original units.

    times [horizon]: UTC ns, the first one step after the end of the history; mean, lower, upper [horizon, targets],
    bounds NaN where the model has none. interval: "adaptive" where the errors in the history shaped the bounds,
    "static" where those of training alone did, "none" without bounds. timezone: that of the train rows; warnings: what
    a reader of the forecast should know about the history.
    """

    times: Times
    targets: tuple[str, ...]
    mean: Values
    lower: Values
    upper: Values
    interval: str
    timezone: str = "UTC"
    warnings: tuple[Notice, ...] = ()

    def frame(self) -> pl.DataFrame:
        """A table with columns time (local), target, mean, lower, upper; one row per step and target."""
        import polars as pl

        width = len(self.targets)
        values = {
            name: pl.Series(name, column.reshape(-1), nan_to_null=True)
            for name, column in (("mean", self.mean), ("lower", self.lower), ("upper", self.upper))
        }
        return pl.DataFrame(
            [
                time_column(np.repeat(self.times, width), timezone=self.timezone),
                pl.Series("target", list(self.targets) * len(self.times)),
                *values.values(),
            ]
        )


def answer(bundle: Bundle, history: Any, level: float = 0.8) -> Answer:
    """Forecast from the end of a file or a table that has a time column and those of the manifest, in any order.

    Raises UsageError for a level that has no intervals, DataError for a history that cannot be used.
    """
    if level not in LEVELS:
        valid = [f"{offered:g}" for offered in LEVELS]
        raise UsageError(
            f"level {level:g} is not available; valid: {', '.join(valid)}",
            code="unknown-level",
            found=level,
            valid=valid,
        )
    raw = history if isinstance(history, Raw) else RawTable.of("history", history)
    rows, warnings = usable_history(bundle, raw)
    answers = bundle.forecast(Histories(rows, np.array([len(rows)], dtype=np.int64)))
    (lower,), (upper,) = answers.interval(level)
    task, (kind,) = bundle.model.task, answers.kinds()
    grid = task.fitted.grid
    times = grid.after(rows.times[-1:], task.horizon)[0]
    return Answer(times, task.fitted.targets, answers.mean[0], lower, upper, kind, grid.timezone, warnings)


def usable_history(bundle: Bundle, raw: Raw) -> tuple[Rows, tuple[Notice, ...]]:
    """The last rows that the bundle uses, and warnings. Raises DataError where they are too few, or hold too little.

    Empty cells stay empty: the model fills them as it did in training. A model that looks at no value of the history is
    asked for none either: it forecasts from the time of the last row.
    """
    manifest, task = bundle.manifest, bundle.model.task
    reading = read_history(raw, task.fitted, manifest.time_column)
    rows = reading.rows
    if len(rows) < manifest.min_history_rows:
        raise DataError(
            f"{raw.name}: has {len(rows)} rows, the model needs at least {manifest.min_history_rows}",
            code="history-too-short",
            found=len(rows),
            expected=manifest.min_history_rows,
        )
    rows = rows[-bundle.rows_used :]
    if not task.fitted.placed:
        refuse_gap(rows, task, raw.name)
    elif manifest.uses_history:
        _refuse_unmeasured(rows, task, raw.name)
    empty = _newest_empty(rows, task, raw.name, uses_history=manifest.uses_history)
    return rows, (*reading.warnings, *empty)


def rows_for(bundle: Bundle, raw: Raw) -> Rows:
    """All rows of a table as the bundle reads a history. Raises DataError."""
    return read_history(raw, bundle.model.task.fitted, bundle.manifest.time_column).rows


def _refuse_unmeasured(rows: Rows, task: ForecastTask, name: str) -> None:
    measured = task.fitted.measured(rows.values)
    window = measured[-task.input_length :]
    if enough_measured(measured, np.array([len(rows)]), len(window), task.min_measured)[0]:
        return
    needed = math.ceil(task.min_measured * len(window) - 1e-9)
    raise DataError(
        f"{name}: {' and '.join(task.fitted.targets)} is measured in {int(window.sum())} of the last {len(window)}"
        f" rows{_since(measured, rows, task)}; the model needs {needed}",
        code="history-empty",
        found=int(window.sum()),
        expected=needed,
    )


def _newest_empty(rows: Rows, task: ForecastTask, name: str, *, uses_history: bool) -> Iterator[Notice]:
    """A warning where the newest rows hold no target: the forecast rests on older ones."""
    measured = task.fitted.measured(rows.values)
    if not measured[-1]:
        count = int(np.argmax(measured[::-1])) if measured.any() else len(rows)
        rests = " and rests on the rows before" if uses_history else ""
        text = (
            f"{name}: {' and '.join(task.fitted.targets)} is empty in the last {count} rows"
            f"{_since(measured, rows, task)}; the forecast starts after them{rests}"
        )
        yield Notice("newest-empty", text, task.fitted.targets[0])


def _since(measured: NDArray[np.bool_], rows: Rows, task: ForecastTask) -> str:
    """Since when the newest rows are empty, as a clause."""
    if measured[-1]:
        return ""
    first = len(rows) - int(np.argmax(measured[::-1])) if measured.any() else 0
    return f", from {task.fitted.grid.shown(rows.times[first])} on"
