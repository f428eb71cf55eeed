"""A first experiment from an inspection, with a reason for every value.

Nothing here reads the test rows; they are only counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flts.contracts.errors import DataError, MissingExtra, UsageError
from flts.explore.findings import HEAVY
from flts.explore.findings_of_time import clock_changes, why_merged
from flts.explore.horizon import natural_horizon
from flts.explore.lookback import LONGEST, candidates, try_lengths
from flts.explore.rehearse import UNNAMED, rehearse
from flts.explore.report import FAR, Inspection
from flts.models.recurrent import planned
from flts.models.registry import require
from flts.preprocess.grid import Grid
from flts.preprocess.infer import infer_seasons
from flts.preprocess.marks import looks_like
from flts.preprocess.source import RawInput
from flts.preprocess.stage import ProcessedDataset
from flts.spec.fields import Missing, Spec, Task, Train
from flts.spec.installed import installed_families
from flts.spec.models import DEFAULT_MODELS, ENSEMBLE, FEWEST_MEMBERS, RecurrentParameters
from flts.spec.sources import validate
from flts.train.experiment import Experiment, plan_experiment
from flts.train.windows import outages

MOST_ORIGINS = 5_000
"""Test origins up to which all are judged: it takes seconds, and the fewer there are the more each one tells."""
SLOW = frozenset({"automfles"})
"""Families that are fitted again for each forecast: 50 ms each, where others need 2 ms at most."""
TOO_MUCH = 50_000_000
"""Rows in all windows above which a network is left out."""
READ = {
    "encoding": "the first bytes are those of such text, or not of UTF-8",
    "separator": "gives the lines the same number of cells",
    "decimal": "every number fits this mark",
    "thousands": "what sets thousands apart",
    "time_format": "all times are written so",
    "clock_column": "holds the time of day beside the date",
}
"""Why a file is read in another way than plain CSV, by the key that says so."""
RATE = 300_000
"""Rows of windows that one core of a server passes over in a second, to fit a network of the default size."""
WEAK = 0.2
"""Strength below which a trend or season is no reason to suggest a model."""


@dataclass(frozen=True)
class SuggestedValue:
    """One value of the Spec and why."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Section:
    """One table of flts.toml; left out, it is written as a comment."""

    name: str
    entries: Sequence[SuggestedValue] = ()
    reason: str = ""
    left_out: bool = False


@dataclass(frozen=True)
class Suggestion:
    """All tables of an experiment."""

    sections: Sequence[Section]

    def spec(self) -> Spec:
        """The Spec these sections describe."""
        return validate(_values(self.sections))


@dataclass(frozen=True)
class _Draft:
    """The tables decided so far."""

    sections: list[Section] = field(default_factory=list)

    def add(self, name: str, entries: Sequence[SuggestedValue]) -> None:
        if entries:
            self.sections.append(Section(name, entries))


def suggest(
    inspection: Inspection, raw: RawInput, where: Sequence[SuggestedValue], test_fraction: float, horizon: int | None
) -> Suggestion:
    """An experiment that is ready to run.

    raw: the rows as read; where: the entries of [dataset] that locate them.

    Raises DataError when no value of the Spec makes the rows usable.
    """
    if inspection.target is None:
        raise _nothing_to_forecast(inspection)
    _refuse_unusable(inspection)
    draft = _Draft()
    resampled = list(_resample(inspection))
    of_step = list(_step(inspection.placed.grid, resampled=bool(resampled)))
    draft.add("dataset", [*where, *_dataset(inspection, inspection.target, test_fraction), *of_step])
    draft.add("preprocess", resampled)
    draft.add("preprocess.missing", list(_missing(inspection, inspection.target)))
    draft.add("preprocess.outliers", list(_outliers(inspection)))
    ahead = _horizon(inspection, horizon)
    measured = list(_min_measured(inspection, inspection.target))
    one = Section("task", [SuggestedValue("input_length", 1, ""), ahead, *measured])
    shortest = rehearse(validate(_values([*draft.sections, one])), raw)
    dataset = shortest.dataset
    length = _input_length(inspection, shortest, inspection.target)
    draft.add("task", [length, ahead, *measured, *_seasons(inspection)])
    models = [*_models(inspection, dataset, length.value), *_models_of_packages()]
    draft.sections.extend([*models, _ensemble(models)])
    every = Section("evaluate", [SuggestedValue("windows", 0, "")])
    experiment = plan_experiment(Suggestion([*draft.sections, every]).spec(), UNNAMED, dataset)
    draft.add("evaluate", list(_windows(experiment)))
    return Suggestion(draft.sections)


def _values(sections: Sequence[Section]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for section in sections:
        if section.left_out:
            continue
        table = values
        for part in section.name.split("."):
            table = table.setdefault(part, {})
        table.update({entry.key: entry.value for entry in section.entries})
    return values


def _nothing_to_forecast(inspection: Inspection) -> DataError:
    if inspection.refusals:
        raise DataError(inspection.refusals[0], code="nothing-to-forecast", file=inspection.train.name)
    text = "".join(
        f"; '{c.name}' holds {c.cell!r} in row {c.row}, {looks_like(c.cell) or 'and numbers otherwise'}"
        for c in inspection.train.nearly_numeric
    )
    return DataError(
        f"{inspection.train.name}: {inspection.why_target}, so there is nothing to forecast{text}",
        code="nothing-to-forecast",
        file=inspection.train.name,
    )


def _refuse_unusable(inspection: Inspection) -> None:
    """Raise DataError for what no Spec can repair: several series in one table."""
    name, repeats = inspection.train.name, inspection.train.repeats
    if repeats is not None and repeats.series is not None:
        raise DataError(
            f"{name}: '{repeats.series}' distinguishes rows of the same time: {repeats.kinds} series in one table;"
            " make one file per series, or one column per series (a pivot); where it is the hour or the period of a"
            " day, write its start into the column of times",
            code="several-series",
            file=name,
            column=repeats.series,
        )


def _dataset(inspection: Inspection, target: str, test_fraction: float) -> Iterator[SuggestedValue]:
    if inspection.time_column != "time":
        yield SuggestedValue("time_column", inspection.time_column, "the first column that holds times")
    clock = inspection.clock
    if inspection.keeps is not None and inspection.keeps == inspection.timezone:
        zone = "the rows keep this clock when it changes, as they do in other zones; name yours"
    elif inspection.train.zoned:
        zone = "the times have their own zone; this one defines days and weeks"
    elif clock is not None and clock.zone == inspection.timezone:
        zone = f"the times have no zone and {clock_changes(clock)}, as clocks do here and in other zones; name yours"
    else:
        zone = "the times have no zone and are read in this one, which also defines days and weeks"
    yield SuggestedValue("timezone", inspection.timezone, zone)
    for key, value in inspection.dialect.odd.items():
        yield SuggestedValue(key, value, READ[key])
    others = len(inspection.columns) - 1
    covariates = {0: "", 1: "; the other numeric column is a covariate"}.get(
        others, f"; the other {others} numeric columns are covariates"
    )
    yield SuggestedValue(
        "targets", [target], f"{inspection.why_target}{covariates}{', known up to the origin' if others else ''}"
    )
    if inspection.test is None:
        count = len(inspection.test_rows)
        yield SuggestedValue(
            "test_fraction", test_fraction, f"the last {count:,} rows, which models never see in training"
        )


def _resample(inspection: Inspection) -> Iterator[SuggestedValue]:
    """The rule that makes one row of several, if rows share a step or lie off the grid, and why."""
    repeats = inspection.train.repeats or (inspection.test.repeats if inspection.test else None)
    if repeats is None and not inspection.placed.merged:
        return
    why = [f"{repeats.rows:,} rows repeat the time of another"] if repeats is not None else []
    why += [why_merged(inspection.placed)] if inspection.placed.merged else []
    yield SuggestedValue("resample", "mean", "; ".join(why) + '; "sum" is right for amounts per row, "last" for states')


def _step(grid: Grid, *, resampled: bool) -> Iterator[SuggestedValue]:
    """Named where rows are merged, and where it is one of the calendar: a later row must not make it another."""
    if resampled:
        yield SuggestedValue("step", str(grid.step), "of the rows after preprocess.resample")
    elif not grid.step.fixed:
        clock = f"the local time of {grid.timezone}" if grid.local else "UTC"
        yield SuggestedValue("step", str(grid.step), f"a step of the calendar, in {clock}")


def _missing(inspection: Inspection, target: str) -> Iterator[SuggestedValue]:
    defaults, column = Missing(), inspection.column(target)
    runs = [c.longest_missing for c in inspection.columns if c.missing <= defaults.drop_columns_above * c.cells]
    longest, bound = (
        max(runs, default=0),
        max(2 * defaults.max_gap, min(inspection.seasons.values(), default=0) // 2),
    )
    if defaults.max_gap < longest <= bound:
        yield SuggestedValue(
            "max_gap", longest, f"the longest run of empty cells is {longest} rows; the last value bridges it"
        )
    share = column.missing / column.cells
    if share > defaults.drop_columns_above:
        kept = min(1.0, math.ceil(share * 20.0) / 20.0)
        yield SuggestedValue(
            "drop_columns_above", kept, f"the target is empty in {share:.0%} of the train rows and must be kept"
        )


def _outliers(inspection: Inspection) -> Iterator[SuggestedValue]:
    lone = [c for c in inspection.columns if c.far and c.outliers <= HEAVY * c.cells]
    if not lone:
        return
    shown = ", ".join(f"'{c.name}' ({c.far:,})" for c in lone[:4]) + (", …" if len(lone) > 4 else "")
    reason = f"single cells more than {FAR:g} interquartile ranges off, unlike their neighbours: {shown}"
    yield SuggestedValue("enabled", True, reason)
    yield SuggestedValue("factor", FAR, "clips those and spares peaks; the truth is never clipped")


def _horizon(inspection: Inspection, requested: int | None) -> SuggestedValue:
    if requested is not None:
        return SuggestedValue("horizon", requested, "as requested")
    most = min(len(inspection.test_rows) // 2, len(inspection.train_rows) // 8)
    rows, unit = natural_horizon(inspection.placed.grid.step, most)
    said = f"rows ahead: {unit}" if unit else "rows ahead"
    return SuggestedValue("horizon", rows, f"{said}; only you know how far ahead you need to forecast, so set it")


def _min_measured(inspection: Inspection, target: str) -> Iterator[SuggestedValue]:
    """Less than the default where empty cells lie among the others, such as nights, so that most windows count."""
    column = inspection.train_rows.values[:, inspection.train_rows.columns.index(target)]
    length = max([10, *inspection.seasons.values()])
    held = np.cumsum([0, *~np.isnan(column)])
    shares = (held[length:] - held[:-length]) / length
    usual = float(np.median(shares)) if len(shares) else 1.0
    if 0.0 < usual < Task().min_measured:
        share = max(1, math.ceil(usual * 20.0) - 2) / 20.0
        yield SuggestedValue(
            "min_measured", share, f"the target is measured in {usual:.0%} of the rows of a usual window of {length:,}"
        )


def _input_length(inspection: Inspection, shortest: Experiment, target: str) -> SuggestedValue:
    """The history that pays, measured with ridge on the validation windows; 1 where train is too short to measure.

    shortest: the experiment with one row of history.
    """
    dataset, horizon = shortest.dataset, shortest.task.horizon
    train = len(dataset.train)
    # the histories of test windows reach into train only if test follows it
    most = LONGEST if dataset.contiguous else len(dataset.test) // 2 - horizon
    lengths = candidates(train, most, len(dataset.fitted.names), horizon, dataset.meta.seasons)
    tried = None
    while lengths and tried is None:
        tried = try_lengths(dataset, lengths, shortest.task, Train().validation_fraction)
        if tried is None:
            lengths = lengths[:-1]
    if tried is None:
        return SuggestedValue("input_length", 1, f"{train:,} train rows are too few for more")
    shown = " ".join(f"{length}={error:.4g}" for length, error in tried.errors.items())
    reason = (
        f"rows of history: the shortest whose error is within 1 % of the best. Measured: RMSE of '{target}' over"
        f" {tried.windows:,} validation windows of train (not test), by ridge on the target's own past."
        f" {shown}"
    )
    return SuggestedValue("input_length", tried.chosen, reason)


def _seasons(inspection: Inspection) -> Iterator[SuggestedValue]:
    cycle = inspection.memory.cycle if inspection.memory else None
    rows = len(inspection.train_rows)
    if cycle is not None and cycle >= 2 and 2 * cycle <= rows and not infer_seasons(inspection.placed.grid, rows):
        yield SuggestedValue(
            "seasons",
            [cycle],
            f"rows: the autocorrelation of the target peaks every {cycle}, and no day, week or year fits",
        )


def _windows(experiment: Experiment) -> Iterator[SuggestedValue]:
    """All origins, where that is quick. experiment: with all of them."""
    count = len(experiment.windows.indices)
    slow = [name for name in experiment.spec.expected if name in SLOW or name in installed_families()]
    if count > MOST_ORIGINS or slow:
        return
    lost = experiment.windows.left_out
    rows = experiment.dataset.train, experiment.dataset.test
    long = sum(len(outages(part, experiment.task)) for part in rows)
    left_out = f"; {lost:,} more do not count, because too few of their rows hold the target" if lost else ""
    if long:
        left_out += f" ({long:,} outage{'s' if long > 1 else ''}: the target is empty for longer than a window)"
    yield SuggestedValue(
        "windows", 0, f"all {count:,} test origins: none of the models is fitted again for each{left_out}"
    )


def _models(inspection: Inspection, dataset: ProcessedDataset, input_length: int) -> Iterator[Section]:
    work = len(dataset.train) * input_length
    target = inspection.column(inspection.target or "")
    seasons: Mapping[str, float] = {
        name: strength for name, strength in target.seasons.items() if strength is not None and strength >= WEAK
    }
    strong = ", ".join(f"{name} {strength:.2f}" for name, strength in seasons.items())
    for name in ("ridge", *(model for model in DEFAULT_MODELS if model not in {"ridge", ENSEMBLE})):
        section = _model(name, inspection, work, len(dataset.train), strong, target.trend)
        try:
            require([name])
        except MissingExtra as error:
            section = Section(f"models.{name}", section.entries, f"not installed: {error}", left_out=True)
        yield section


def _models_of_packages() -> Iterator[Section]:
    """Families of other distributions that can be used; for the others `flts doctor` gives the reason."""
    for name, family in installed_families().items():
        try:
            require([name])
        except UsageError:
            continue
        yield Section(f"models.{name}", (), f"installed with {family.package} {family.version}")


def _ensemble(models: Sequence[Section]) -> Section:
    """The mean of the models that are written; models: the sections of all others."""
    if sum(not section.left_out for section in models) < FEWEST_MEMBERS:
        return Section(
            f"models.{ENSEMBLE}", (), f"left out: it is a mean of {FEWEST_MEMBERS} models or more", left_out=True
        )
    return Section(f"models.{ENSEMBLE}", (), "the weighted mean of the models above: it takes no fit")


def _model(name: str, inspection: Inspection, work: int, windows: int, strong: str, trend: float | None) -> Section:
    table = f"models.{name}"
    if name == "ridge":
        return Section(table, (), "a linear map of the window: done in seconds, and hard to beat")
    if name == "gbm":
        return Section(table, (), "trees on lags, season and calendar, for what is not linear: done in seconds")
    if name in {"gru", "lstm"}:
        takes = _lasting(work, windows)
        if work > TOO_MUCH:
            reason = (
                f"left out: {work:,} rows in all windows take {takes} on one core; sample.train_rows makes them fewer"
            )
            return Section(table, (), reason, left_out=True)
        reason = f"a network for what is not linear: {work:,} rows in all windows, {takes} on one core"
        return Section(table, (), reason)
    if name == "prophet":
        if strong or (trend or 0.0) >= WEAK:
            shown = ", ".join(part for part in (strong, f"trend {trend:.2f}" if trend is not None else "") if part)
            return Section(table, (), f"trend and seasons by date; strengths here, 0 to 1: {shown}")
        return Section(table, (), "left out: it models trend and seasons only, and train shows neither", left_out=True)
    if strong or (inspection.memory is not None and inspection.memory.cycle is not None):
        return Section(table, (), f"trend and seasons, fitted again for each forecast{f': {strong}' if strong else ''}")
    return Section(table, (), "left out: it needs seasons, and train shows no strong one", left_out=True)


def _lasting(work: int, windows: int) -> str:
    """How long a network takes at most, in words. work: rows in all windows, which it passes over several times."""
    epochs, passes = planned(windows, RecurrentParameters())
    minutes = work * epochs * passes / RATE / 60.0
    if minutes < 1.5:
        return "a minute at most"
    return f"up to {minutes:,.0f} minutes" if minutes < 90.0 else f"up to {minutes / 60.0:,.0f} hours"
