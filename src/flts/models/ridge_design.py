"""The designs of ridge: which columns a linear map of the past has, and by which measure it takes them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flts.models.base import Block, Floats, ForecastTask, Indices
from flts.models.past import BACK, Past, phased, rows_back, same_phase
from flts.preprocess.rows import Times, Values
from flts.preprocess.transform import calendar

CHUNK = 4096
"""Windows that are flattened at once; limits memory when train has millions of rows."""
CALM = 0.5
"""Share of the typical spread that the spread of a window gets at least."""
LONGER = 750
"""Rows of the longer window at most: two years of days, two weeks of half hours."""
ORDER = 6
"""Most Fourier terms per season."""
DAILY_ORDER = 2
"""Fourier terms of the first season that each known column is multiplied with."""
MOST_KNOWN = 1_500
"""Columns of what is known ahead above which there are no such products."""
LEVELS = ("spread", "last", "mean", "none")
"""How the past and the answers of a window are measured: less the last value and divided by the spread of the window,
less the last value, less the mean, or as they are. Only the last one knows the level of train."""


@dataclass(frozen=True)
class Design:
    """What a linear map sees of the rows before an origin.

    phases: rows of the phase of each forecast step, one and two of the longest season back; fourier: Fourier terms of
    the seasons; longer: two of the longest season, at most LONGER rows, instead of the window; covariates: the other
    columns of the window; known: the columns that are known ahead, of the rows to forecast and of those of their phase.
    """

    level: str = "spread"
    phases: bool = True
    fourier: bool = True
    longer: bool = False
    covariates: bool = False
    known: bool = False

    def stored(self) -> dict[str, Any]:
        """Its fields as a bundle holds them. Without known columns there is no word about them, as there never was."""
        fields = asdict(self)
        return fields if self.known else {name: value for name, value in fields.items() if name != "known"}

    def rows(self, task: ForecastTask) -> Indices:
        """The rows of the targets that are columns, counted from the origin, each once."""
        found = {row for lag in (0, *task.fitted.lags) for row in range(-task.input_length - lag, -lag)}
        if self.phases:
            for season, back in itertools.product(phased(task)[-1:], range(1, BACK + 1)):
                found |= {*same_phase(season, task.horizon, back).tolist()}
        if self.longer:
            found |= {*range(-min(rows_back(task), LONGER), 0)}
        return np.array(sorted(found))

    def measure(self, past: Past, typical: Values) -> tuple[Values, Values]:
        """What is subtracted, and what the rest is divided by: each [windows, targets].

        typical [targets]: the spread of a window of train. Without a share of it, calm windows before a jump would
        count more than all others.
        """
        if self.level == "spread":
            return past.last, np.hypot(past.spread, CALM * typical)
        ones = np.ones_like(past.last)
        level = {"last": past.last, "mean": past.mean, "none": 0.0 * ones}[self.level]
        return level, ones

    def parts(
        self, past: Past, measure: tuple[Values, Values], dates: Dates, features: Iterable[Floats], task: ForecastTask
    ) -> Iterator[Values]:
        """The columns [windows, columns] of windows, some at a time.

        features: those of each row of the window, [windows, features].
        """
        level, spread = measure
        values = past.mended[:, self.rows(task)]
        of_dates = [dates.calendar] if task.fitted.calendar else []
        if self.fourier and task.seasons:
            of_dates.append(dates.fourier)
        yield np.hstack([((values - level[:, None]) / spread[:, None]).reshape(len(values), -1), *of_dates])
        if self.known:
            yield known_ahead(past, dates.first, task)
        if self.covariates:
            others = [i for i in range(len(task.fitted.names)) if i not in task.fitted.target_index]
            for row in features:
                yield row[:, others].astype(np.float64)


@dataclass(frozen=True)
class Dates:
    """What the calendar says of the first times to forecast [windows], made once for all designs."""

    first: Times
    task: ForecastTask

    @cached_property
    def calendar(self) -> Values:
        """Its columns of a row: [windows, columns]."""
        return calendar(self.first, self.task.fitted)

    @cached_property
    def fourier(self) -> Values:
        """Fourier terms of the seasons: [windows, terms]."""
        return fourier(self.first, self.task)


@dataclass(frozen=True)
class Designed:
    """The windows of a block as a linear system: columns of a design, and answers by its measure."""

    block: Block
    design: Design
    task: ForecastTask
    typical: Values
    """Root mean square of the spread of the windows that are fitted: [targets]."""

    def __len__(self) -> int:
        return len(self.block.origins)

    @property
    def targets(self) -> int:
        """How many columns are forecast."""
        return self.task.targets

    @cached_property
    def past(self) -> Past:
        """The past of every window."""
        return Past.of_block(self.block, self.task)

    @cached_property
    def measure(self) -> tuple[Values, Values]:
        """Level and spread of every window, each [windows, targets]."""
        return self.design.measure(self.past, self.typical)

    @cached_property
    def dates(self) -> Dates:
        """The first time to forecast of every window."""
        return Dates(self.block.times[self.block.origins], self.task)

    def parts(self) -> Iterator[Values]:
        """The columns of all windows, some at a time."""
        block = self.block
        rows = range(-self.task.input_length, 0) if self.design.covariates else ()
        features = (block.features[block.origins + row] for row in rows)
        return self.design.parts(self.past, self.measure, self.dates, features, self.task)

    def answers(self) -> Values:
        """Answers [windows, outputs], NaN where nothing was measured."""
        level, spread = self.measure
        found = (self.block.answers(self.task) - level[:, None]) / spread[:, None]
        return found.reshape(len(self), -1)

    def measured(self) -> NDArray[np.bool_]:
        """Which answers were measured: [windows, outputs]."""
        rows, origins = ~np.isnan(self.block.targets), self.block.origins
        steps = [rows[origins + step] for step in range(self.task.horizon)]  # all at once take 64 times as much
        return np.stack(steps, axis=1).reshape(len(self), -1)

    def only(self, kept: NDArray[Any]) -> Designed:
        """Some of the windows."""
        return replace(self, block=replace(self.block, origins=self.block.origins[kept]))

    def chunks(self) -> Iterator[tuple[Values, Values]]:
        """Columns and answers, CHUNK windows at a time."""
        for part in self.split():
            yield part.whole

    @cached_property
    def whole(self) -> tuple[Values, Values]:
        """Columns and answers of all windows, for at most CHUNK of them: each penalty asks for them again."""
        return np.hstack([*self.parts()]), self.answers()

    def by(self, design: Design) -> Designed:
        """The same windows by another design; their past and what the calendar says of them are not made again."""
        other = replace(self, design=design)
        other.__dict__.update(past=self.past, dates=self.dates)
        return other

    def split(self) -> Iterator[Designed]:
        """The windows, CHUNK at a time."""
        if len(self) <= CHUNK:
            yield self
            return
        for start in range(0, len(self), CHUNK):
            yield self.only(np.arange(start, min(start + CHUNK, len(self))))

    def loss(self, weights: Values, intercept: Values) -> tuple[float, int]:
        """Sum of the squared scaled errors of a map over the measured answers, and how many these are."""
        squares, cells = 0.0, 0
        for part in self.split():
            _, spread = part.measure
            columns, answers = part.whole
            errors = columns @ weights + intercept - answers
            squares += float(np.nansum((errors.reshape(len(part), -1, self.targets) * spread[:, None]) ** 2))
            cells += int((~np.isnan(errors)).sum())
        return squares, cells


def known_ahead(past: Past, first: Times, task: ForecastTask) -> Values:
    """What is known of the rows to forecast, and of those of their phase: [windows, columns].

    The first season tells an effect at noon from one at night, as far as there are not too many columns.
    """
    steps = np.arange(task.horizon)
    ahead = past.known_at(steps)
    parts = [ahead]
    parts += [past.known_at(same_phase(season, task.horizon, 1)) for season in phased(task)[-1:]]
    for season in task.seasons[:1]:
        terms = [ahead * term[..., None] for term in _waves(first, steps, season, DAILY_ORDER, task)]
        if sum(part[0].size for part in (*parts, *terms)) <= MOST_KNOWN:
            parts += terms
    return np.hstack([part.reshape(len(ahead), -1) for part in parts])


def _waves(first: Times, steps: Indices, season: int, order: int, task: ForecastTask) -> Iterator[Values]:
    """Sines and cosines of a season at each step after the first times: [windows, steps]."""
    phase = 2.0 * np.pi * ((task.fitted.grid.positions(first)[:, None] + steps) % season) / season
    for multiple in range(1, min(order, season // 2) + 1):
        yield from (np.sin(multiple * phase), np.cos(multiple * phase))


def fourier(times: Times, task: ForecastTask) -> Values:
    """Fourier terms of each season by position on the grid: [windows, terms]."""
    now = np.zeros(1, dtype=np.int64)
    terms = [term[:, 0] for season in task.seasons for term in _waves(times, now, season, ORDER, task)]
    return np.stack(terms, axis=-1)
