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
from flts.explore.grid import step_text
from flts.explore.lookback import candidates, try_lengths
from flts.explore.rehearse import UNNAMED, rehearse
from flts.explore.report import FAR, Inspection
from flts.models.registry import require
from flts.preprocess.fit import DAY, WELL_REGULAR, format_step
from flts.preprocess.source import RawInput
from flts.preprocess.stage import ProcessedDataset
from flts.spec.fields import Missing, Spec, Train
from flts.spec.installed import installed_families
from flts.spec.models import DEFAULT_MODELS
from flts.spec.sources import validate
from flts.train.experiment import plan_experiment

UNITS = {"minute": DAY // 1440, "hour": DAY // 24, "day": DAY, "week": 7 * DAY, "four weeks": 28 * DAY}
LONGEST_HORIZON = 48
LOST = 0.1
"""Share of the windows lost to gaps above which resampling to a grid is suggested."""
SMALLER, TOO_MUCH = 1_000_000, 50_000_000
"""Rows in all windows of an epoch above which a network is made smaller, and left out."""
SMALL_NETWORK = {"hidden_size": 32, "num_layers": 1}
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
    draft.add(
        "dataset", [*where, *_dataset(inspection, inspection.target, test_fraction), *_step(inspection, resampled)]
    )
    draft.add("preprocess", resampled)
    draft.add("preprocess.missing", list(_missing(inspection, inspection.target, on_grid=bool(resampled))))
    draft.add("preprocess.outliers", list(_outliers(inspection)))
    ahead = _horizon(inspection, horizon)
    shortest = _values([*draft.sections, Section("task", [SuggestedValue("input_length", 1, ""), ahead])])
    dataset = rehearse(validate(shortest), raw).dataset
    length = _input_length(inspection, dataset, inspection.target, ahead.value)
    task = [length, ahead, *_seasons(inspection)]
    draft.add("task", task)
    draft.sections.extend([*_models(inspection, dataset, length.value), *_models_of_packages()])
    suggestion = Suggestion(draft.sections)
    plan_experiment(suggestion.spec(), UNNAMED, dataset)
    return suggestion


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
    text = "".join(
        f"; '{c.name}' holds {c.cell!r} in row {c.row}, and numbers otherwise" for c in inspection.train.nearly_numeric
    )
    return DataError(
        f"{inspection.train.name}: {inspection.why_target}, so there is nothing to forecast{text}",
        code="nothing-to-forecast",
        file=inspection.train.name,
    )


def _refuse_unusable(inspection: Inspection) -> None:
    """Raise DataError for what no Spec can repair: several series in one table, and rows a month apart."""
    name, repeats = inspection.train.name, inspection.train.repeats
    if repeats is not None and repeats.series is not None:
        raise DataError(
            f"{name}: '{repeats.series}' distinguishes rows of the same time: {repeats.kinds} series in one table;"
            " make one file per series, or one column per series (a pivot)",
            code="several-series",
            file=name,
            column=repeats.series,
        )
    if inspection.timeline.months:
        raise DataError(
            f"{name}: the rows are a month apart, and months differ in length; use a fixed step, such as a week",
            code="months",
            file=name,
        )


def _dataset(inspection: Inspection, target: str, test_fraction: float) -> Iterator[SuggestedValue]:
    if inspection.time_column != "time":
        yield SuggestedValue("time_column", inspection.time_column, "the first column that holds times")
    if inspection.train.zoned:
        zone = "the times have their own zone; this one defines days and weeks"
    else:
        zone = "the times have no zone and are read in this one, which also defines days and weeks"
    yield SuggestedValue("timezone", inspection.timezone, zone)
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
    """The rule that puts rows on a grid, if they need one, and why."""
    time, repeats = (
        inspection.timeline,
        inspection.train.repeats or (inspection.test.repeats if inspection.test else None),
    )
    worst = min(time.regular, time.test_regular or 1.0)
    lost = time.gap_count * LONGEST_HORIZON / len(inspection.train_rows)
    if time.months or (repeats is None and worst >= WELL_REGULAR and lost <= LOST):
        return
    why = []
    if repeats is not None:
        why.append(f"{repeats.rows:,} rows repeat the time of another")
    if worst < WELL_REGULAR:
        why.append(f"only {worst:.1%} of the rows follow the one before by {format_step(time.step)}")
    elif time.gap_count:
        why.append(f"{time.missing_rows:,} rows are missing in {time.gap_count:,} gaps, each of which costs windows")
    yield SuggestedValue(
        "resample", "mean", " and ".join(why) + '; "sum" is right for amounts per row, "last" for states'
    )


def _step(inspection: Inspection, resampled: Sequence[SuggestedValue]) -> Iterator[SuggestedValue]:
    if not resampled:
        return
    step = inspection.timeline.suggested or step_text(inspection.timeline.step)
    if step is None:
        raise DataError(
            f"{inspection.train.name}: rows {inspection.timeline.step} ns apart are too close:"
            " dataset.step is at least 1ms",
            code="step-too-short",
            file=inspection.train.name,
            found=inspection.timeline.step,
        )
    why = (
        "the most common step"
        if inspection.timeline.suggested is None
        else "the shortest plain step with few empty cells"
    )
    yield SuggestedValue("step", step, why)


def _missing(inspection: Inspection, target: str, *, on_grid: bool) -> Iterator[SuggestedValue]:
    """on_grid: missing rows become empty cells."""
    defaults, column = Missing(), inspection.column(target)
    runs = [c.longest_missing for c in inspection.columns if c.missing <= defaults.drop_columns_above * c.cells]
    longest, bound = (
        max(runs, default=0),
        max(2 * defaults.max_gap, min(inspection.grid.seasons.values(), default=0) // 2),
    )
    if defaults.max_gap < longest <= bound:
        yield SuggestedValue(
            "max_gap", longest, f"the longest run of empty cells is {longest} rows; the last value bridges it"
        )
    share = float(np.isnan(inspection.grid.column(target)).mean()) if on_grid else column.missing / column.cells
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
    step = inspection.grid.step
    most = max(1, min(LONGEST_HORIZON, len(inspection.test_rows) // 4, len(inspection.train_rows) // 12))
    options = [(size // step, unit) for unit, size in UNITS.items() if size % step == 0 and 2 <= size // step <= most]
    if not options:
        return SuggestedValue("horizon", 1, "rows ahead; only you know how far ahead you need to forecast: set it")
    rows, unit = max(options)
    length = unit if unit.startswith("four") else f"one {unit}"
    return SuggestedValue(
        "horizon", rows, f"rows ahead: {length}; only you know how far ahead you need to forecast, so set it"
    )


def _input_length(inspection: Inspection, dataset: ProcessedDataset, target: str, horizon: int) -> SuggestedValue:
    """The history that pays, measured with ridge on the validation windows; 1 where train is too short to measure."""
    train, test = len(dataset.train), len(dataset.test)
    lengths = candidates(train, test, len(dataset.fitted.names), horizon, dataset.meta.seasons)
    tried = None
    while lengths and tried is None:
        tried = try_lengths(dataset, lengths, horizon, Train().validation_fraction)
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
    whole = [length for name, length in inspection.grid.seasons.items() if name != "year"]
    if cycle is not None and cycle >= 2 and not whole and 2 * cycle <= len(inspection.train_rows):
        yield SuggestedValue(
            "seasons",
            [cycle],
            f"rows: the autocorrelation of the target peaks every {cycle}, and neither a day nor a week fits",
        )


def _models(inspection: Inspection, dataset: ProcessedDataset, input_length: int) -> Iterator[Section]:
    work = len(dataset.train) * input_length
    target = inspection.column(inspection.target or "")
    seasons: Mapping[str, float] = {
        name: strength for name, strength in target.seasons.items() if strength is not None and strength >= WEAK
    }
    strong = ", ".join(f"{name} {strength:.2f}" for name, strength in seasons.items())
    for name in ("ridge", *(model for model in DEFAULT_MODELS if model != "ridge")):
        section = _model(name, inspection, work, strong, target.trend)
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


def _model(name: str, inspection: Inspection, work: int, strong: str, trend: float | None) -> Section:
    table = f"models.{name}"
    if name == "ridge":
        return Section(table, (), "a linear map of the window: done in seconds, and hard to beat")
    if name in {"gru", "lstm"}:
        if work > TOO_MUCH:
            reason = f"left out: {work:,} rows of windows per epoch take hours; sample.train_rows makes them fewer"
            return Section(table, (), reason, left_out=True)
        if work > SMALLER:
            entries = [SuggestedValue(key, value, "") for key, value in SMALL_NETWORK.items()]
            return Section(table, entries, f"a small network: {work:,} rows of windows per epoch")
        return Section(table, (), f"a network for what is not linear: {work:,} rows of windows per epoch are few")
    if name == "prophet":
        if strong or (trend or 0.0) >= WEAK:
            shown = ", ".join(part for part in (strong, f"trend {trend:.2f}" if trend is not None else "") if part)
            return Section(table, (), f"trend and seasons by date; strengths here, 0 to 1: {shown}")
        return Section(table, (), "left out: it models trend and seasons only, and train shows neither", left_out=True)
    if strong or (inspection.memory is not None and inspection.memory.cycle is not None):
        return Section(table, (), f"trend and seasons, fitted again for each forecast{f': {strong}' if strong else ''}")
    return Section(table, (), "left out: it needs seasons, and train shows no strong one", left_out=True)
