"""The columns that are known for the rows to forecast: those that a person gives, and the holidays of a place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flts.contracts.errors import DataError, MissingExtra, SpecError, nearest
from flts.contracts.records.model import HolidaysRecord, KnownRecord
from flts.preprocess.grid import Grid, wall_time
from flts.preprocess.rows import Indices, Rows, Times, Values
from flts.preprocess.transform import FittedPreprocess
from flts.spec.steps import DAY

HOLIDAY = "holidays"
"""The name of the column that `dataset.holidays` makes."""
YEARS_AHEAD = 20
"""Years after the last test row whose holidays a bundle holds."""


@dataclass(frozen=True)
class Holidays:
    """The holidays of a place as they were known when a model was fitted; no later version of a library changes them.

    days: since 1970, ascending; years: the first and the last one that they are known of.
    """

    place: str
    days: tuple[int, ...]
    years: tuple[int, int]

    def count(self, times: Times, grid: Grid) -> Values:
        """How many holidays begin in the step of each time, on the local clock; a step of less than a day is in one."""
        first = wall_time(times, grid.timezone) // DAY
        last = first
        if grid.step.nanoseconds > DAY:
            ends = grid.after(times.reshape(-1), 1).reshape(times.shape)
            last = np.maximum(wall_time(ends, grid.timezone) // DAY - 1, first)
        days = np.array(self.days, dtype=np.int64)
        count = np.searchsorted(days, last, side="right") - np.searchsorted(days, first, side="left")
        return np.asarray(count, dtype=np.float64)


@dataclass(frozen=True)
class Known:
    """What a model may see of the rows to forecast; without columns it sees nothing.

    given: columns of the rows, in the order of the Spec; holidays: the column that follows them.
    """

    given: tuple[str, ...] = ()
    holidays: Holidays | None = None

    @classmethod
    def of(cls, stored: KnownRecord | None) -> Known:
        """The inverse of `record`."""
        if stored is None:
            return cls()
        held = stored.holidays
        if held is None:
            return cls(tuple(stored.given))
        days = np.array(held.dates, dtype="datetime64[D]").astype(np.int64).tolist()
        return cls(tuple(stored.given), Holidays(held.place, tuple(days), (held.first_year, held.last_year)))

    def record(self) -> KnownRecord | None:
        """The form that is stored; None without columns."""
        if not self:
            return None
        held = self.holidays
        if held is None:
            return KnownRecord(given=list(self.given), holidays=None)
        dates = np.array(held.days, dtype="datetime64[D]").astype(str).tolist()
        first, last = held.years
        stored = HolidaysRecord(place=held.place, first_year=first, last_year=last, dates=dates)
        return KnownRecord(given=list(self.given), holidays=stored)

    def __len__(self) -> int:
        return len(self.given) + (self.holidays is not None)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns in the order of `scaled`."""
        return (*self.given, HOLIDAY) if self.holidays else self.given

    def index(self, fitted: FittedPreprocess) -> NDArray[np.intp]:
        """Where the given columns are among those of the rows."""
        return np.array([fitted.names.index(name) for name in self.given], dtype=np.intp)

    def scaled(self, times: Times, cleaned: Values, fitted: FittedPreprocess) -> Values:
        """All columns [..., rows, known] of rows with these given ones [..., rows, given]: 0 and 1 span train.

        times [..., rows]; a holiday is 1, several in one step are more.
        """
        stats = [fitted.columns[i] for i in self.index(fitted)]
        low, high = (np.array([getattr(c, end) for c in stats], dtype=np.float64) for end in ("minimum", "maximum"))
        scaled: Values = (cleaned - low) / np.where(high > low, high - low, 1.0)
        if self.holidays is None:
            return scaled
        return np.concatenate([scaled, self.holidays.count(times, fitted.grid)[..., None]], axis=-1)


def known_of(given: Sequence[str], place: str, train: Rows, test: Rows, grid: Grid) -> Known:
    """The known columns of an experiment on these rows. Raises SpecError for an unknown place, MissingExtra."""
    if not place:
        return Known(tuple(given))
    ends = wall_time(np.array([train.times[0], test.times[-1]]), grid.timezone)
    first, last = (ends.astype("datetime64[ns]").astype("datetime64[Y]").astype(np.int64) + 1970).tolist()
    return Known(tuple(given), holidays_of(place, first, last + YEARS_AHEAD))


def holidays_of(place: str, first_year: int, last_year: int) -> Holidays:
    """The holidays of a country, or of one of its regions, by the library `holidays`.

    Raises SpecError for an unknown place, MissingExtra.
    """
    refuse_unknown_place(place)
    import holidays

    country, _, region = place.partition("-")
    found = holidays.country_holidays(country, subdiv=region or None, years=range(first_year, last_year + 1))
    inside = sorted(day for day in found if first_year <= day.year <= last_year)
    days = np.array([day.isoformat() for day in inside], dtype="datetime64[D]").astype(np.int64).tolist()
    return Holidays(place, tuple(days), (first_year, last_year))


def refuse_unknown_place(place: str) -> None:
    """Raise SpecError for a place whose holidays nobody knows, MissingExtra without the library."""
    try:
        import holidays
    except ModuleNotFoundError:
        raise MissingExtra(f"dataset.holidays = '{place}'", "holidays") from None
    country, _, region = place.partition("-")
    regions = holidays.list_supported_countries().get(country)
    if regions is None:
        raise SpecError(
            f"dataset.holidays: '{country}' is no country whose holidays are known; use its two letters, such as 'ES'",
            code="holidays-unknown",
            found=place,
        )
    if region and region not in regions:
        raise SpecError(
            f"dataset.holidays: '{place}' is no region of '{country}'; {nearest(region, regions)}",
            code="holidays-unknown",
            found=place,
            valid=sorted(regions),
        )


def refuse_not_columns(known: Sequence[str], targets: Sequence[str], fitted: FittedPreprocess) -> None:
    """Raise DataError for a name in dataset.known_future that is no covariate of the processed rows."""
    for name in known:
        if name in targets:
            raise DataError(
                f"dataset.known_future: '{name}' is a target, which nobody knows ahead; name covariates",
                code="known-future-target",
                column=name,
            )
        if name not in fitted.names:
            others = [column for column in fitted.names if column not in targets]
            raise DataError(
                f"dataset.known_future: the rows have no numeric column '{name}', or too many of its cells are empty;"
                f" {nearest(name, others) if others else 'they have no covariate'}",
                code="known-future-unknown",
                column=name,
                valid=others,
            )


def ahead_of(
    end: int, horizon: int, later: Rows, known: Known, fitted: FittedPreprocess, name: str, model: str
) -> Rows:
    """The rows to forecast after the time `end` (UTC ns), as far as they are known, with the columns of `fitted`.

    later: rows that may hold them, on the grid, in order, with the given columns. Raises DataError for the first cell
    that is absent.
    """
    times = fitted.grid.after(np.array([end]), horizon)[0]
    values = np.full((horizon, len(fitted.names)), np.nan)
    place = np.searchsorted(later.times, times)
    found: Indices = np.flatnonzero((place < len(later)) & (np.append(later.times, 0)[place] == times))
    index = known.index(fitted)
    values[np.ix_(found, index)] = later.select(known.given)[place[found]]
    empty = np.argwhere(np.isnan(values[:, index]))
    if len(empty):
        step, column = empty[0].tolist()
        how = "" if len(found) else ": in a table of their own, or as rows after the history whose targets are empty"
        raise DataError(
            f"{name}: '{known.given[column]}' is absent for {fitted.grid.shown(times[step])}, step {step + 1} of"
            f" {horizon}; the model '{model}' needs {', '.join(known.given)} for each row to forecast{how}",
            code="future-absent",
            file=name,
            column=known.given[column],
            time=fitted.grid.shown(times[step]),
            step=step + 1,
            expected=list(known.given),
        )
    return Rows(times, values, fitted.names)
