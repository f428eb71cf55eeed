"""One request: a history as a person has it is checked against the manifest and forecast by the bundle."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flts.contracts.errors import DataError, UsageError
from flts.contracts.notices import Notice
from flts.forecasting.answers import Answers, Interval
from flts.forecasting.bundle import Bundle
from flts.forecasting.histories import Histories, enough_measured
from flts.forecasting.intervals import STORED_LEVEL
from flts.models.base import Extends, ForecastTask
from flts.preprocess.history import read_history
from flts.preprocess.parquet import time_column
from flts.preprocess.read import Reading
from flts.preprocess.rows import Indices, Rows, Times, Values
from flts.preprocess.source import Raw, RawTable
from flts.preprocess.times import at
from flts.preprocess.transform import FittedPreprocess
from flts.serve.ahead import Later, read_later, rows_ahead, until_measured, unused
from flts.serve.levels import Levels, needed, of_levels, of_quantiles, refuse_unknown, several
from flts.serve.version1 import refuse_gap

if TYPE_CHECKING:
    import polars as pl

FAR = 10.0
"""A value outside a range that has the same middle as that of train and is so many times as wide is worth a warning."""
LONGEST = 10_000
"""Steps that a model forecasts at most where it can go on for ever; limits the time and memory of a request."""
NEWEST_EMPTY = "newest-empty"
"""Code of the warning that the newest rows hold no target, so that the forecast starts after them."""


@dataclass(frozen=True)
class Answer:
    """Forecasts from the end of one history, in original units.

    times [horizon]: UTC ns, the first one step after the end of the history; mean, lower, upper [horizon, targets],
    bounds NaN where the model has none. interval: "adaptive" where the errors in the history shaped the bounds,
    "static" where those of training alone did, "none" without bounds. timezone: that of the train rows; warnings: what
    a reader of the forecast should know about the history; intervals: every interval that was asked for, by level,
    where that may be more than one; history: the rows that it rests on, where somebody may draw them.
    """

    times: Times
    targets: tuple[str, ...]
    mean: Values
    lower: Values
    upper: Values
    interval: str
    timezone: str = "UTC"
    warnings: tuple[Notice, ...] = ()
    intervals: Mapping[float, Interval] = field(default_factory=dict)
    history: Rows | None = None

    def frame(self, levels: Sequence[float] = (), quantiles: Sequence[float] = ()) -> pl.DataFrame:
        """A table with columns time (local), target, mean, lower, upper; one row per step and target.

        levels: of `intervals`, whose ends are the columns lower_50, upper_50 and so on in place of lower and upper;
        quantiles: further columns, q10 for 0.1.
        """
        import polars as pl

        width = len(self.targets)
        bounds = of_levels(self.intervals, levels) if levels else {"lower": self.lower, "upper": self.upper}
        values = {"mean": self.mean, **bounds, **of_quantiles(self.mean, self.intervals, quantiles)}
        return pl.DataFrame(
            [
                time_column(np.repeat(self.times, width), timezone=self.timezone),
                pl.Series("target", list(self.targets) * len(self.times)),
                *(pl.Series(name, column.reshape(-1), nan_to_null=True) for name, column in values.items()),
            ]
        )


def answer(
    bundle: Bundle,
    history: Any,
    level: Levels = STORED_LEVEL,
    horizon: int | None = None,
    quantiles: Sequence[float] = (),
    future: Any = None,
) -> Answer:
    """Forecast from the end of a file or a table that has a time column and those of the manifest, in any order.

    level: one or several; horizon: steps; None for all that the model was trained for. future: a table with the columns
    that the model knows ahead, one row for each step; without it, the last rows of the history that hold no target are
    this table. Raises UsageError for a level or a quantile that has no interval and for a horizon that the model cannot
    reach, DataError for a history or a future that cannot be used.

    A server takes the same steps one by one: `refuse_unavailable`, `usable_history` or `usable_rows`, Bundle.forecast,
    `answer_of`.
    """
    refuse_unknown(several(level), quantiles)
    refuse_unreachable(bundle, horizon)
    table, later = (
        given if given is None or isinstance(given, Raw) else RawTable.of(name, given)
        for name, given in (("history", history), ("future", future))
    )
    assert table is not None
    rows, warnings = usable_history(bundle, table, None if later is None else read_later(bundle, later), horizon)
    if later is not None:
        warnings = (*warnings, *unused(bundle))
    return answer_rows(bundle, rows, needed(level, quantiles), horizon, warnings)


def answer_rows(
    bundle: Bundle, rows: Rows, levels: Sequence[float], horizon: int | None, warnings: tuple[Notice, ...] = ()
) -> Answer:
    """The same from rows that the bundle can use, with the interval of each level; lower and upper are of the first."""
    answers = bundle.forecast(Histories.ended([rows]))
    first = levels[0] if levels else STORED_LEVEL
    made = answer_of(bundle, rows, answers, level=first, horizon=horizon, warnings=warnings)
    ends = {level: _ends(answers.interval(level), len(made.times)) for level in levels}
    return replace(made, intervals=ends, history=rows)


def _ends(interval: Interval, steps: int) -> Interval:
    """Lower and upper [steps, targets] of the one origin of an interval, NaN beyond the trained horizon."""
    lower, upper = (
        np.pad(end[0, :steps], ((0, max(0, steps - end.shape[1])), (0, 0)), constant_values=np.nan) for end in interval
    )
    return lower, upper


def refuse_unavailable(bundle: Bundle, level: float, horizon: int | None) -> None:
    """Raise UsageError for a level that has no intervals, and for a horizon that the model cannot reach."""
    refuse_unknown([level])
    refuse_unreachable(bundle, horizon)


def refuse_unreachable(bundle: Bundle, horizon: int | None) -> None:
    """Raise UsageError for a horizon that the model cannot reach."""
    trained = bundle.model.task.horizon
    if horizon is None or 1 <= horizon <= trained:
        return
    largest = max(trained, LONGEST) if isinstance(bundle.model.predictor, Extends) else trained
    if not 1 <= horizon <= largest:
        raise _unreachable(horizon, largest, bundle)


def usable_history(
    bundle: Bundle, raw: Raw, later: Later | None = None, horizon: int | None = None
) -> tuple[Rows, tuple[Notice, ...]]:
    """The last rows of a table that the bundle uses, and warnings. Raises DataError as `usable_rows` and the reader."""
    reading = read_history(raw, bundle.model.task.fitted, bundle.manifest.time_column, bundle.needed)
    return usable_rows(bundle, reading, raw.name, later, horizon)


def usable_rows(
    bundle: Bundle, reading: Reading, name: str, later: Later | None = None, horizon: int | None = None
) -> tuple[Rows, tuple[Notice, ...]]:
    """The last rows of a history that the bundle uses, with what it knows of the rows to forecast, and warnings.

    Empty cells stay empty: the model fills them as it did in training. A model that looks at no value of the history is
    asked for none either: it forecasts from the time of the last row. later: a table of their own for the rows to
    forecast. Raises DataError where the rows are too few, or hold too little.
    """
    history = until_measured(bundle, reading) if later is None else reading
    rows, warnings = _usable(bundle, history, name)
    source = later or Later(name, reading)
    ahead = rows_ahead(bundle, int(rows.times[-1]), source, horizon)
    if ahead is not None:
        given = source.reading.given[np.searchsorted(source.reading.rows.times, ahead.times)]
        warnings = (*warnings, *_outside_training_range(ahead, given, bundle.model.task.fitted, source.name))
    return replace(rows, ahead=ahead), (*warnings, *(later.reading.warnings if later else ()))


def _usable(bundle: Bundle, reading: Reading, name: str) -> tuple[Rows, tuple[Notice, ...]]:
    manifest, task = bundle.manifest, bundle.model.task
    found = len(reading.rows)
    if found < manifest.min_history_rows:
        raise DataError(
            f"{name}: has {found} rows, the model needs at least {manifest.min_history_rows}",
            code="history-too-short",
            found=found,
            expected=manifest.min_history_rows,
        )
    used = slice(-bundle.rows_used, None)
    rows, given = reading.rows[used], reading.given[used]
    measured = task.fitted.measured(rows.values)
    if not task.fitted.placed:
        refuse_gap(rows, task, name)
    elif manifest.uses_history and not measured.all():
        _refuse_unmeasured(measured, rows, task, name)
    return rows, (
        *reading.warnings,
        *_outside_training_range(rows, given, task.fitted, name),
        *_newest_empty(measured, rows, task, name, uses_history=manifest.uses_history),
    )


def answer_of(
    bundle: Bundle,
    rows: Rows,
    answers: Answers,
    *,
    level: float = STORED_LEVEL,
    horizon: int | None = None,
    warnings: tuple[Notice, ...] = (),
) -> Answer:
    """What the bundle answers to a request whose rows gave these answers [1 origin].

    A shorter horizon than the trained one cuts it; beyond the trained one, bounds are NaN. Raises UsageError for a
    horizon that ends after the last time that can be written, TrainingFailed for a forecast that is not finite.
    """
    trained = bundle.model.task.horizon
    (within,) = answers_of(bundle, rows.times[-1:], answers, [(level, min(horizon or trained, trained), warnings)])
    return within if horizon is None or horizon <= trained else _extended(within, bundle, rows, horizon)


Asked = tuple[float, int | None, tuple[Notice, ...]]
"""Level, horizon and warnings of a request."""


def answers_of(bundle: Bundle, ends: Times, answers: Answers, asked: Sequence[Asked]) -> list[Answer]:
    """What the bundle answers to several requests whose histories end at these times, up to the trained horizon."""
    fitted, horizon = bundle.model.task.fitted, bundle.model.task.horizon
    times, kinds, made = fitted.grid.after(ends, horizon), answers.kinds(), []
    for one, (level, steps, warnings) in enumerate(asked):
        mean, lower, upper = (values[one, :steps] for values in (answers.mean, *answers.interval(level)))
        moments = times[one, :steps]
        made.append(Answer(moments, fitted.targets, mean, lower, upper, kinds[one], fitted.grid.timezone, warnings))
    return made


def _extended(within: Answer, bundle: Bundle, rows: Rows, steps: int) -> Answer:
    """An answer for more steps than the model was trained for, whose bounds nobody knows."""
    task = bundle.model.task
    times = task.fitted.grid.after(rows.times[-1:], steps)[0]
    _refuse_no_time(times, steps, bundle)
    unknown = np.full((steps - task.horizon, task.targets), np.nan)
    mean, lower, upper = (
        np.concatenate(parts)
        for parts in (
            (within.mean, _beyond(bundle, rows, steps)),
            (within.lower, unknown),
            (within.upper, unknown),
        )
    )
    return replace(within, times=times, mean=mean, lower=lower, upper=upper)


def _beyond(bundle: Bundle, rows: Rows, steps: int) -> Values:
    """Forecasts of the steps after the trained horizon, [steps - horizon, targets]."""
    model = bundle.model
    assert isinstance(model.predictor, Extends)  # others were refused before
    task = replace(model.task, horizon=steps)
    further = replace(model, predictor=model.predictor.extended(task), task=task)
    try:
        forecasts = further.forecast_all(Histories.ended([rows]))
    except OverflowError:  # a library that counts nanoseconds from the start of train ends earlier than the times do
        raise _unreachable(steps, model.task.horizon, bundle) from None
    return forecasts.mean[0, model.task.horizon :]


def _refuse_no_time(times: Times, steps: int, bundle: Bundle) -> None:
    """Times beyond 2262 wrap around to early ones."""
    late = np.flatnonzero(times[1:] <= times[:-1])
    if len(late):
        raise _unreachable(steps, max(int(late[0]) + 1, bundle.model.task.horizon), bundle)


def _unreachable(horizon: int, largest: int, bundle: Bundle) -> UsageError:
    return UsageError(
        f"horizon {horizon} is not available; {bundle.manifest.model} forecasts 1 to {largest} steps",
        code="horizon-out-of-range",
        found=horizon,
        expected=largest,
    )


def rows_for(bundle: Bundle, raw: Raw) -> Rows:
    """All rows of a table as the bundle reads a history. Raises DataError."""
    needed = tuple(dict.fromkeys([*bundle.needed, *bundle.given]))
    return read_history(raw, bundle.model.task.fitted, bundle.manifest.time_column, needed).rows


def _refuse_unmeasured(measured: NDArray[np.bool_], rows: Rows, task: ForecastTask, name: str) -> None:
    window = measured[-task.input_length :]
    if enough_measured(measured, np.array([len(rows)]), len(window), task.min_measured)[0]:
        return
    needed = math.ceil(task.min_measured * len(window) - 1e-9)
    verb = "is" if len(task.fitted.targets) == 1 else "are"
    raise DataError(
        f"{name}: {' and '.join(task.fitted.targets)} {verb} measured in {int(window.sum())} of the last {len(window)}"
        f" rows{_since(measured, rows, task)}; the model needs {needed}",
        code="history-empty",
        found=int(window.sum()),
        expected=needed,
    )


def far(values: Values, fitted: FittedPreprocess) -> NDArray[np.bool_]:
    """Which values [..., columns] are outside FAR times the range of training; an empty cell is not."""
    middle, width = fitted.trained_on
    return np.abs(values - middle) > width * (FAR / 2.0)


def _outside_training_range(rows: Rows, given: Indices, fitted: FittedPreprocess, name: str) -> Iterator[Notice]:
    """A warning for each column with values far from those of training: a wrong unit, or another series."""
    outside = far(rows.values, fitted)
    if not outside.any():
        return
    for column in np.flatnonzero(outside.any(axis=0)):
        cells = np.flatnonzero(outside[:, column])
        first, stats = int(cells[0]), fitted.columns[column]
        row = int(given[first])
        text = (
            f"{name}: {len(cells):,} values of '{stats.name}' are outside {FAR:g} times the range of the train rows,"
            f" {stats.minimum:g} to {stats.maximum:g} (first {rows.values[first, column]:g} in {at(row)})"
        )
        yield Notice("outside-training-range", text, stats.name, row + 1)


def _newest_empty(
    measured: NDArray[np.bool_], rows: Rows, task: ForecastTask, name: str, *, uses_history: bool
) -> Iterator[Notice]:
    """A warning where the newest rows hold no target: the forecast rests on older ones."""
    if not measured[-1]:
        count = int(np.argmax(measured[::-1])) if measured.any() else len(rows)
        rests = " and rests on the rows before" if uses_history else ""
        places = [place for place, column in enumerate(rows.columns) if column in task.fitted.targets]
        empty = [rows.columns[place] for place in places if np.isnan(rows.values[-count:, place]).any()]
        text = (
            f"{name}: {' or '.join(empty)} is empty in the last {count} rows"
            f"{_since(measured, rows, task)}; the forecast starts after them{rests}"
        )
        yield Notice(NEWEST_EMPTY, text, empty[0])


def _since(measured: NDArray[np.bool_], rows: Rows, task: ForecastTask) -> str:
    """Since when the newest rows are empty, as a clause."""
    if measured[-1]:
        return ""
    first = len(rows) - int(np.argmax(measured[::-1])) if measured.any() else 0
    return f", from {task.fitted.grid.shown(rows.times[first])} on"
