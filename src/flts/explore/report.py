"""One inspection: the rows, their times, every column, and its relation to the target.

Figures are of the train rows only, so that no choice made after reading them depends on test; only the shift compares
train with test. Everything is deterministic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from flts.explore import statistics
from flts.explore.clocks import LocalClock, find_clock
from flts.explore.grid import Placed, Timeline, holds_value, on_grid, seasons_of, timeline
from flts.explore.repair import Repaired, find_time_column, read_repaired, tidied
from flts.explore.statistics import Parts
from flts.explore.target import guess_target
from flts.preprocess import fit as fitting
from flts.preprocess.dialect import Dialect
from flts.preprocess.infer import infer_grid
from flts.preprocess.read import split
from flts.preprocess.rows import Rows, Values
from flts.preprocess.source import RawInput
from flts.preprocess.times import zone_of
from flts.preprocess.zones import kept_zone
from flts.spec.dataset import Dataset
from flts.spec.fields import Outliers, Preprocess

FAR = 10.0
"""Interquartile ranges beyond the quartiles from which a lone cell counts as a mistake rather than a peak."""
CLIPPED = Preprocess(outliers=Outliers(enabled=True))
"""The rules whose limits define an outlier."""
MOST_LAG = 10_000
PEAK = 0.3
"""Autocorrelation from which a peak counts as a cycle."""
PROBED = (1, 2, 3, 6, 12, 24, 48)
"""Lags, besides the seasons, at which the autocorrelation of the target is reported."""


@dataclass(frozen=True)
class Sentinel:
    """A number that seems to stand for a missing value, such as -999."""

    value: float
    cells: int


@dataclass(frozen=True)
class Shift:
    """How one column differs between train and test."""

    distance: float
    """Kolmogorov-Smirnov, 0 to 1."""
    usual: float | None
    """The largest such distance of a block of train, as long as test, from the rest of train."""
    mean: float | None
    """Mean of test less mean of train, in standard deviations of train."""
    outside: float
    """Share of the test cells outside the range of train."""


@dataclass(frozen=True)
class Relation:
    """How one column is correlated with the target."""

    same_row: float | None
    """Pearson's r in the same row."""
    lag: int
    """Rows by which the column is ahead of the target where the two are most correlated, without trend and seasons;
    negative: it is behind."""
    at_lag: float | None
    """Pearson's r at that lag, without trend and seasons."""
    without_lag: float | None
    """Pearson's r in the same row, without trend and seasons."""
    own: float | None
    """Autocorrelation of the target at that lag, without trend and seasons."""


@dataclass(frozen=True)
class ColumnReport:
    """One numeric column of train."""

    name: str
    cells: int
    """Rows that hold a value in some column."""
    missing: int
    """How many of them hold none in this one."""
    longest_missing: int
    """Consecutive rows of the grid without a value in this column."""
    test_missing: int
    """Rows of test on the grid without a value in this column."""
    minimum: float | None
    median: float | None
    maximum: float | None
    mean: float | None
    deviation: float | None
    constant: bool
    outliers: int
    """Cells more than 1.5 interquartile ranges beyond the quartiles."""
    far: int
    """Lone cells more than 10 interquartile ranges beyond the quartiles."""
    sentinel: Sentinel | None
    trend: float | None
    seasons: Mapping[str, float | None]
    kpss: float | None
    kpss_rows: int
    """Number of values in the test: means over the shortest season, or rows where there is none."""
    shift: Shift | None
    relation: Relation | None


@dataclass(frozen=True)
class Memory:
    """The autocorrelation of the target."""

    autocorrelation: Mapping[int, float]
    """By lag, in rows."""
    half: int | None
    """The first lag at which it is below 0.5."""
    cycle: int | None
    """The lag of its highest peak after it fell below 0, without trend, if that is at least 0.3."""
    zeros: float
    """Share of the train cells that are 0."""


@dataclass(frozen=True)
class Inspection:
    """Everything that an inspection measures."""

    train: Repaired
    test: Repaired | None
    train_rows: Rows
    """On the grid; empty cells are NaN."""
    test_rows: Rows
    time_column: str
    timezone: str
    clock: LocalClock | None
    """The clock that times without a zone follow."""
    keeps: str | None
    """The zone whose clock the rows keep although their times are in UTC."""
    dialect: Dialect
    """How train is written."""
    placed: Placed
    timeline: Timeline
    seasons: Mapping[str, int]
    """Day, week and year in rows, where train holds enough of them to measure them."""
    target: str | None
    why_target: str
    columns: tuple[ColumnReport, ...]
    memory: Memory | None

    @property
    def refusals(self) -> tuple[str, ...]:
        """The messages with which the reader refuses rows."""
        return self.train.refusals + (self.test.refusals if self.test else ())

    def repaired(self) -> RawInput:
        """The rows without what the reader refuses, to find what would be refused next."""
        return RawInput(self.train.table(), self.test.table() if self.test else None)

    def column(self, name: str) -> ColumnReport:
        """One column by name."""
        return next(column for column in self.columns if column.name == name)


def inspect(
    raw: RawInput,
    *,
    target: str | None = None,
    time: str | None = None,
    timezone: str | None = None,
    test_fraction: float,
) -> Inspection:
    """Measure everything. Raises DataError where no row can be used.

    timezone: of times without one, and of days and weeks; None takes the zone that the column of times names in its
    type, or that of the clock that they follow or keep, or UTC.
    """
    tables = [part.loaded() for part in (raw.train, raw.test) if part is not None]
    time = time or find_time_column(tables[0].table)
    tables = tidied(tables, time)
    clock = find_clock(tables, time) if timezone in {None, "UTC"} else None
    named = zone_of(tables[0].table[time]) if time in tables[0].table.columns else None
    zone = timezone or (clock.zone if clock else named or "UTC")
    dataset = Dataset(time_column=time, timezone=zone, targets=[target] if target else [])
    train, *later = (read_repaired(table, dataset) for table in tables)
    dialect = tables[0].dialect
    del tables
    test = later[0] if later else None
    times = np.concatenate([part.rows.times for part in (train, *later)])
    keeps = kept_zone(times, infer_grid(train.rows.times, "infer", zone, "off", train.name))
    if timezone is None and keeps and train.zoned:  # read alike in every zone
        zone = keeps
    placed = on_grid(train.rows, _same_columns(test.rows, train.rows.columns) if test else None, zone, name=train.name)
    rows = (placed.train, placed.test) if placed.test else split(placed.train, test_fraction, train.name)
    name, why = (target, "named") if target else guess_target(rows[0])
    seasons = seasons_of(placed.grid, len(rows[0]))
    return Inspection(
        train,
        test,
        *rows,
        time,
        zone,
        clock,
        keeps,
        dialect,
        placed,
        timeline(*rows),
        seasons,
        name,
        why,
        _columns(*rows, seasons, name),
        _memory(_series(rows[0], name), _parts(rows[0], seasons, name), seasons) if name else None,
    )


def _same_columns(rows: Rows, columns: tuple[str, ...]) -> Rows:
    """The rows with the columns of train, empty where they lack one."""
    values = np.full((len(rows), len(columns)), np.nan)
    for i, name in enumerate(columns):
        if name in rows.columns:
            values[:, i] = rows.values[:, rows.columns.index(name)]
    return Rows(rows.times, values, columns)


def _columns(train: Rows, test: Rows, seasons: Mapping[str, int], target: str | None) -> tuple[ColumnReport, ...]:
    held, values = int(holds_value(train).sum()), np.asfortranarray(train.values)  # a column is one piece of memory
    target_parts = _parts(train, seasons, target) if target else None
    other = _series(train, target) if target else None
    reports = []
    for i, name in enumerate(train.columns):
        column = values[:, i]
        parts = target_parts if name == target and target_parts else _parts_of(column, seasons)
        relation = None
        if target_parts and other is not None and name != target:
            relation = _relation(column, parts, other, target_parts)
        reports.append(_column(name, column, held, test.values[:, i], seasons, parts, relation))
    return tuple(reports)


def _column(
    name: str,
    column: Values,
    held: int,
    test: Values,
    seasons: Mapping[str, int],
    parts: Parts | None,
    relation: Relation | None,
) -> ColumnReport:
    missing = np.isnan(column)
    values = column[~missing]
    numbers = dict.fromkeys(("minimum", "median", "maximum", "mean", "deviation"))
    constant, outliers, far, sentinel = False, 0, 0, None
    if len(values):
        stats = (values.min(), np.median(values), values.max(), values.mean(), values.std())
        numbers = dict(zip(numbers, map(float, stats), strict=True))
        constant = bool(np.ptp(values) <= fitting.ROUNDING * np.abs(values).max())
    if len(values) and not constant:
        low, high = (float(limit[0]) for limit in fitting.outlier_limits(values[:, None], CLIPPED))
        outliers = int(((values < low) | (values > high)).sum())
        far = _lone(column, low, high)
        sentinel = _sentinel(values, low, high)
    usable = parts if parts is not None and not constant else None
    level = _level(column, min(seasons.values(), default=1)) if usable is not None else None
    return ColumnReport(
        name,
        held,
        held - len(values),
        int(statistics.runs(missing).max(initial=0)),
        int(np.isnan(test).sum()),
        **numbers,
        constant=constant,
        outliers=outliers,
        far=far,
        sentinel=sentinel,
        trend=statistics.trend_strength(usable) if usable else None,
        seasons={
            season: statistics.season_strength(usable, length) if usable else None for season, length in seasons.items()
        },
        kpss=level[0] if level else None,
        kpss_rows=level[1] if level else 0,
        shift=_shift(column, test) if len(values) else None,
        relation=relation,
    )


def _series(rows: Rows, name: str) -> Values:
    """One column [rows]."""
    return rows.values[:, rows.columns.index(name)]


def _parts(rows: Rows, seasons: Mapping[str, int], name: str) -> Parts | None:
    return _parts_of(_series(rows, name), seasons)


def _parts_of(column: Values, seasons: Mapping[str, int]) -> Parts | None:
    if (~np.isnan(column)).sum() < statistics.FEWEST:
        return None
    return statistics.decompose(column, tuple(seasons.values()))


def _level(column: Values, season: int) -> tuple[float, int] | None:
    """KPSS of the means over the shortest season, so that neither the season nor similar neighbours distort it."""
    whole = column[: len(column) // season * season].reshape(-1, season)
    counts = (~np.isnan(whole)).sum(axis=1)
    sums = np.nansum(whole, axis=1)
    means = sums[counts * 2 >= season] / counts[counts * 2 >= season]
    tested = statistics.kpss(means)
    return (tested[0], len(means)) if tested else None


def _lone(train: Values, low: float, high: float) -> int:
    """Cells far beyond the limits whose neighbours are not: a peak has slopes, a mistake stands alone."""
    iqr = (high - low) / 4.0  # the limits lie 1.5 interquartile ranges beyond the quartiles: 4 in all
    if iqr <= 0.0:
        return 0
    extra = (FAR - 1.5) * iqr
    far = (train < low - extra) | (train > high + extra)
    near = np.concatenate([[False], far[:-1]]) | np.concatenate([far[1:], [False]])
    return int((far & ~near).sum())


def _sentinel(values: Values, low: float, high: float) -> Sentinel | None:
    """The smallest or largest value, if it repeats and is far from the next one."""
    iqr = (high - low) / 4.0
    for end, others in ((values.min(), values[values > values.min()]), (values.max(), values[values < values.max()])):
        if not len(others) or iqr <= 0.0:
            continue
        nearest = others.min() if end < others.min() else others.max()
        cells = int((values == end).sum())
        if cells > 1 and abs(end - nearest) > FAR * iqr:
            return Sentinel(float(end), cells)
    return None


def _shift(train: Values, test: Values) -> Shift | None:
    measured, later = train[~np.isnan(train)], test[~np.isnan(test)]
    if not len(measured) or not len(later):
        return None
    thin_train, thin_test = statistics.thinned(train), test[:: max(1, -(-len(train) // statistics.KS_ROWS))]
    pair = [np.sort(part[~np.isnan(part)]) for part in (thin_train, thin_test)]
    if not len(pair[0]) or not len(pair[1]):
        return None
    deviation = float(measured.std())
    return Shift(
        statistics.distance(*pair),
        statistics.usual_distance(thin_train, len(thin_test)),
        float(later.mean() - measured.mean()) / deviation if deviation > 0.0 else None,
        float(((later < measured.min()) | (later > measured.max())).mean()),
    )


def _relation(column: Values, parts: Parts | None, other: Values, target_parts: Parts) -> Relation | None:
    """How a column is correlated with the target `other`."""
    if parts is None:
        return None
    mine, theirs = parts.remainder, target_parts.remainder
    if min((~np.isnan(part)).sum() for part in (mine, theirs)) < statistics.FEWEST:
        mine, theirs = column, other
    most = min(MOST_LAG, max(1, len(column) // 4))
    lag = statistics.best_lag(mine, theirs, most)
    same = statistics.correlation(mine, theirs)
    at_lag = statistics.correlation(mine, theirs, lag)
    if same is not None and at_lag is not None and 1.0 - at_lag**2 > 0.5 * (1.0 - same**2):
        lag, at_lag = 0, same  # neighbours in a smooth series are nearly as similar; only a clear gain is a lag
    own = statistics.correlation(theirs, theirs, lag) if lag else 1.0
    return Relation(statistics.correlation(column, other), lag, at_lag, same, own)


def _memory(column: Values, parts: Parts | None, seasons: Mapping[str, int]) -> Memory:
    most = max(1, min(len(column) // 3, MOST_LAG, max(2 * max(seasons.values(), default=0), 1000)))
    correlations = statistics.autocorrelation(column, most)
    probed = sorted({*PROBED, *seasons.values()})
    measured = column[~np.isnan(column)]
    half = np.flatnonzero(correlations < 0.5)
    return Memory(
        {lag: float(correlations[lag]) for lag in probed if lag <= most and np.isfinite(correlations[lag])},
        int(half[0]) if len(half) else None,
        _cycle(statistics.autocorrelation(column - parts.trend, most)) if parts else None,
        float((measured == 0.0).mean()) if len(measured) else 0.0,
    )


def _cycle(correlations: Values) -> int | None:
    """The lag of the first peak after the first negative value that is nearly the highest: later ones are multiples."""
    below = np.flatnonzero(correlations < 0.0)
    if not len(below) or below[0] + 3 > len(correlations):
        return None
    tail = np.nan_to_num(correlations[below[0] :], nan=-1.0)
    inner = tail[1:-1]
    peaks = (inner >= tail[:-2]) & (inner >= tail[2:]) & (inner >= max(PEAK, 0.9 * float(inner.max())))
    return int(below[0] + 1 + peaks.argmax()) if peaks.any() else None
