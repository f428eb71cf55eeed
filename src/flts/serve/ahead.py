"""What a request knows of the rows to forecast: rows after its history, in a table of their own or in the same one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flts.contracts.errors import DataError
from flts.contracts.notices import Notice
from flts.forecasting.bundle import Bundle
from flts.preprocess.grid import wall_time
from flts.preprocess.history import read_history
from flts.preprocess.known import Holidays, ahead_of
from flts.preprocess.read import Reading
from flts.preprocess.rows import Rows, Times
from flts.preprocess.source import Raw


@dataclass(frozen=True)
class Later:
    """A table that may hold the rows to forecast, and what messages call it."""

    name: str
    reading: Reading


def read_later(bundle: Bundle, raw: Raw) -> Later | None:
    """The rows of a table as the bundle reads a history; None where it has to be told nothing. Raises DataError."""
    if not bundle.given:
        return None
    fitted, time_column = bundle.model.task.fitted, bundle.manifest.time_column
    return Later(raw.name, read_history(raw, fitted, time_column, bundle.given))


def until_measured(bundle: Bundle, reading: Reading) -> Reading:
    """The rows of a history up to the last one that holds a target, where the rows after it are those to forecast.

    They are for a model that has to be told some of their columns. Any other one takes all rows for history. A step in
    which the targets end although it is not over is the first to forecast: the sum of half an hour is not that of an
    hour.
    """
    if not bundle.given:
        return reading
    if reading.begun is not None:
        end, warning = reading.begun
        return Reading(reading.rows[:end], [*reading.warnings, warning], reading.given[:end])
    targets = reading.rows.values[:, bundle.model.task.fitted.target_index]
    held = np.flatnonzero(~np.isnan(targets).all(axis=1))
    if not len(held):
        return reading
    end = int(held[-1]) + 1
    return Reading(reading.rows[:end], reading.warnings, reading.given[:end])


def rows_ahead(bundle: Bundle, end: int, later: Later, horizon: int | None) -> Rows | None:
    """What the bundle has to be told of the rows after the time `end` (UTC ns); None where that is nothing.

    Raises DataError for a cell that is absent, and where holidays are not known.
    """
    known, task = bundle.known, bundle.model.task
    if not known:
        return None
    steps = max(task.horizon, horizon or 0)
    if known.holidays is not None:
        _refuse_beyond(known.holidays, task.fitted.grid.after(np.array([end]), steps)[0], task.fitted.grid.timezone)
    if not known.given:
        return None
    return ahead_of(end, steps, later.reading.rows, known, task.fitted, later.name, bundle.manifest.model)


def unused(bundle: Bundle) -> tuple[Notice, ...]:
    """A warning about a table of the rows to forecast where the model has to be told nothing of them."""
    if bundle.given:
        return ()
    text = f"the model '{bundle.manifest.model}' uses no column that is known ahead; `future` is not read"
    return (Notice("future-unused", text),)


def _refuse_beyond(holidays: Holidays, times: Times, timezone: str) -> None:
    """Raise DataError where a row to forecast lies in a year whose holidays the bundle does not hold."""
    years = (
        wall_time(times, timezone).astype("datetime64[ns]").astype("datetime64[Y]").astype(np.int64) + 1970
    ).tolist()
    first, last = holidays.years
    if not first <= min(years) <= max(years) <= last:
        raise DataError(
            f"the forecast ends in {max(years)}, and the model knows the holidays of {holidays.place} from {first} to"
            f" {last}; train it again on newer rows",
            code="holidays-beyond",
            found=max(years),
            expected=last,
        )
