"""A first experiment from what an inspection found: every value with the figure that speaks for it.

Nothing here looks at the test rows but to count them.
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
from flts.spec.fields import DEFAULT_MODELS, Missing, Spec, Train
from flts.spec.installed import installed_families
from flts.spec.sources import validate
from flts.train.experiment import plan_experiment

UNITS = {"minute": DAY // 1440, "hour": DAY // 24, "day": DAY, "week": 7 * DAY, "four weeks": 28 * DAY}
LONGEST_HORIZON = 48
LOST = 0.1
"""Share of the windows that gaps may cost before a grid without gaps is better."""
SMALLER, TOO_MUCH = 1_000_000, 50_000_000
"""Rows of all windows of an epoch from which a network is made smaller, and left out."""
SMALL_NETWORK = {"hidden_size": 32, "num_layers": 1}
RESTS = 0.2
"""A season explains too little below this strength to be a reason for anything."""


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
    """A whole experiment."""

    sections: Sequence[Section]

    def spec(self) -> Spec:
        """The Spec these sections describe."""
        return validate(_values(self.sections))


@dataclass(frozen=True)
class _Draft:
    """What is settled so far."""

    sections: list[Section] = field(default_factory=list)

    def add(self, name: str, entries: Sequence[SuggestedValue]) -> None:
        if entries:
            self.sections.append(Section(name, entries))


def suggest(
    seen: Inspection, raw: RawInput, where: Sequence[SuggestedValue], test_fraction: float, horizon: int | None
) -> Suggestion:
    """An experiment that a run takes as it is.

    raw: the rows as they are; where: the entries of [dataset] that say where they lie.

    Raises DataError when no value of the Spec makes the rows usable.
    """
    if seen.target is None:
        raise _nothing_to_forecast(seen)
    _refuse_what_no_spec_mends(seen)
    draft = _Draft()
    resampled = list(_resample(seen))
    draft.add("dataset", [*where, *_dataset(seen, seen.target, test_fraction), *_step(seen, resampled)])
    draft.add("preprocess", resampled)
    draft.add("preprocess.missing", list(_missing(seen, seen.target, on_grid=bool(resampled))))
    draft.add("preprocess.outliers", list(_outliers(seen)))
    ahead = _horizon(seen, horizon)
    shortest = _values([*draft.sections, Section("task", [SuggestedValue("input_length", 1, ""), ahead])])
    dataset = rehearse(validate(shortest), raw).dataset
    length = _input_length(seen, dataset, seen.target, ahead.value)
    task = [length, ahead, *_seasons(seen)]
    draft.add("task", task)
    draft.sections.extend([*_models(seen, dataset, length.value), *_models_of_packages()])
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


def _nothing_to_forecast(seen: Inspection) -> DataError:
    text = "".join(f"; '{c.name}' holds {c.cell!r} in row {c.row}, and numbers else" for c in seen.train.nearly)
    return DataError(
        f"{seen.train.name}: {seen.why_target}, so there is nothing to forecast{text}",
        code="nothing-to-forecast",
        file=seen.train.name,
    )


def _refuse_what_no_spec_mends(seen: Inspection) -> None:
    """Several series in one table, and months."""
    name, repeats = seen.train.name, seen.train.repeats
    if repeats is not None and repeats.series is not None:
        raise DataError(
            f"{name}: '{repeats.series}' tells rows of one time apart: {repeats.kinds} series, one below the other;"
            " make one file per series, or one column per series (a pivot)",
            code="several-series",
            file=name,
            column=repeats.series,
        )
    if seen.timeline.months:
        raise DataError(
            f"{name}: the rows are a month apart, and months differ in length; a fixed step is needed, such as a week",
            code="months",
            file=name,
        )


def _dataset(seen: Inspection, target: str, test_fraction: float) -> Iterator[SuggestedValue]:
    if seen.time_column != "time":
        yield SuggestedValue("time_column", seen.time_column, "the first column that holds times")
    if seen.train.zoned:
        zone = "the times carry their zone; days and weeks are those of this one"
    else:
        zone = "the times carry no zone; this is how they are read, and whose days and weeks count"
    yield SuggestedValue("timezone", seen.timezone, zone)
    others = len(seen.columns) - 1
    covariates = {0: "", 1: "; the other numeric column is a covariate"}.get(
        others, f"; the other {others} numeric columns are covariates"
    )
    yield SuggestedValue(
        "targets", [target], f"{seen.why_target}{covariates}{', known up to the origin' if others else ''}"
    )
    if seen.test is None:
        count = len(seen.test_rows)
        yield SuggestedValue(
            "test_fraction", test_fraction, f"the last {count:,} rows, which no model sees before it is judged"
        )


def _resample(seen: Inspection) -> Iterator[SuggestedValue]:
    """Whether the rows need a grid, and why."""
    time, repeats = seen.timeline, seen.train.repeats or (seen.test.repeats if seen.test else None)
    worst = min(time.regular, time.test_regular or 1.0)
    lost = time.gap_count * LONGEST_HORIZON / len(seen.train_rows)
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


def _step(seen: Inspection, resampled: Sequence[SuggestedValue]) -> Iterator[SuggestedValue]:
    if not resampled:
        return
    step = seen.timeline.suggested or step_text(seen.timeline.step)
    if step is None:
        raise DataError(
            f"{seen.train.name}: rows {seen.timeline.step} ns apart are too close for a step of the Spec",
            code="step-too-short",
            file=seen.train.name,
            found=seen.timeline.step,
        )
    why = "the most common step" if seen.timeline.suggested is None else "the shortest plain step with few empty cells"
    yield SuggestedValue("step", step, why)


def _missing(seen: Inspection, target: str, *, on_grid: bool) -> Iterator[SuggestedValue]:
    """on_grid: missing rows become empty cells."""
    defaults, column = Missing(), seen.column(target)
    runs = [c.longest_missing for c in seen.columns if c.missing <= defaults.drop_columns_above * c.cells]
    longest, bound = max(runs, default=0), max(2 * defaults.max_gap, min(seen.grid.seasons.values(), default=0) // 2)
    if defaults.max_gap < longest <= bound:
        yield SuggestedValue(
            "max_gap", longest, f"the longest run of empty cells is {longest} rows; the last value bridges it"
        )
    share = float(np.isnan(seen.grid.column(target)).mean()) if on_grid else column.missing / column.cells
    if share > defaults.drop_columns_above:
        kept = min(1.0, math.ceil(share * 20.0) / 20.0)
        yield SuggestedValue(
            "drop_columns_above", kept, f"the target is empty in {share:.0%} of the train rows and must be kept"
        )


def _outliers(seen: Inspection) -> Iterator[SuggestedValue]:
    lone = [c for c in seen.columns if c.far and c.outliers <= HEAVY * c.cells]
    if not lone:
        return
    shown = ", ".join(f"'{c.name}' ({c.far:,})" for c in lone[:4]) + (", …" if len(lone) > 4 else "")
    reason = f"single cells more than {FAR:g} quartile distances off, unlike their neighbours: {shown}"
    yield SuggestedValue("enabled", True, reason)
    yield SuggestedValue("factor", FAR, "clips those and leaves peaks alone; the truth of test is never clipped")


def _horizon(seen: Inspection, given: int | None) -> SuggestedValue:
    if given is not None:
        return SuggestedValue("horizon", given, "as asked")
    step = seen.grid.step
    most = max(1, min(LONGEST_HORIZON, len(seen.test_rows) // 4, len(seen.train_rows) // 12))
    found = [(size // step, unit) for unit, size in UNITS.items() if size % step == 0 and 2 <= size // step <= most]
    if not found:
        return SuggestedValue("horizon", 1, "rows ahead; the data cannot say how far you need to see: set it")
    rows, unit = max(found)
    length = unit if unit.startswith("four") else f"one {unit}"
    return SuggestedValue(
        "horizon", rows, f"rows ahead: {length}; the data cannot say how far you need to see, so set it"
    )


def _input_length(seen: Inspection, dataset: ProcessedDataset, target: str, horizon: int) -> SuggestedValue:
    """The history that pays, by ridge on the validation tail; or the longest that fits where that cannot be asked."""
    train, test = len(dataset.train), len(dataset.test)
    lengths = candidates(train, test, len(dataset.fitted.names), horizon, dataset.meta.seasons)
    tried = None
    while lengths and tried is None:
        tried = try_lengths(dataset, lengths, horizon, Train().validation_fraction)
        if tried is None:
            lengths = lengths[:-1]
    if tried is None:
        return SuggestedValue("input_length", 1, f"{train:,} train rows are too few to ask for more")
    shown = " ".join(f"{length}={error:.4g}" for length, error in tried.errors.items())
    reason = (
        f"rows of history: the shortest whose error is within 1 % of the best. Measured: RMSE of '{target}' over"
        f" {tried.windows:,} windows of the validation tail of train (not test), by ridge on the target's own past."
        f" {shown}"
    )
    return SuggestedValue("input_length", tried.chosen, reason)


def _seasons(seen: Inspection) -> Iterator[SuggestedValue]:
    cycle = seen.memory.cycle if seen.memory else None
    known = [length for name, length in seen.grid.seasons.items() if name != "year"]
    if cycle is not None and cycle >= 2 and not known and 2 * cycle <= len(seen.train_rows):
        yield SuggestedValue(
            "seasons", [cycle], f"rows: the autocorrelation of the target peaks every {cycle}; no day or week fits"
        )


def _models(seen: Inspection, dataset: ProcessedDataset, input_length: int) -> Iterator[Section]:
    work = len(dataset.train) * input_length
    target = seen.column(seen.target or "")
    seasons: Mapping[str, float] = {
        name: strength for name, strength in target.seasons.items() if strength is not None and strength >= RESTS
    }
    strong = ", ".join(f"{name} {strength:.2f}" for name, strength in seasons.items())
    for name in ("ridge", *(model for model in DEFAULT_MODELS if model != "ridge")):
        section = _model(name, seen, work, strong, target.trend)
        try:
            require([name])
        except MissingExtra as error:
            section = Section(f"models.{name}", section.entries, f"not installed: {error}", left_out=True)
        yield section


def _models_of_packages() -> Iterator[Section]:
    """Families of other distributions that can be used here; `flts doctor` says why one cannot."""
    for name, family in installed_families().items():
        try:
            require([name])
        except UsageError:
            continue
        yield Section(f"models.{name}", (), f"installed with {family.package} {family.version}")


def _model(name: str, seen: Inspection, work: int, strong: str, trend: float | None) -> Section:
    table = f"models.{name}"
    if name == "ridge":
        return Section(table, (), "a linear map of the window: done in seconds, and hard to beat")
    if name in {"gru", "lstm"}:
        if work > TOO_MUCH:
            reason = f"left out: {work:,} rows of windows per epoch take hours; sample.train_rows makes it fewer"
            return Section(table, (), reason, left_out=True)
        if work > SMALLER:
            entries = [SuggestedValue(key, value, "") for key, value in SMALL_NETWORK.items()]
            return Section(table, entries, f"a small network: {work:,} rows of windows per epoch")
        return Section(table, (), f"a network for what is not linear: {work:,} rows of windows per epoch are few")
    if name == "prophet":
        if strong or (trend or 0.0) >= RESTS:
            shown = ", ".join(part for part in (strong, f"trend {trend:.2f}" if trend is not None else "") if part)
            return Section(table, (), f"trend and seasons by date; strengths here, 0 to 1: {shown}")
        return Section(table, (), "left out: it has trend and seasons only, and train shows neither", left_out=True)
    if strong or (seen.memory is not None and seen.memory.cycle is not None):
        return Section(table, (), f"trend and seasons, fitted anew for each forecast{f': {strong}' if strong else ''}")
    return Section(table, (), "left out: it lives on seasons, and train shows none of any strength", left_out=True)
