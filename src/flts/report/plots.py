"""Pictures of a judged experiment, from what the store holds: one to compare its models, others to look at each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from flts.contracts.ports import Store
from flts.contracts.records.decision import Coverage, DecisionRecord, StepErrors
from flts.contracts.records.model import Manifest
from flts.drawing import errors as drawn_errors
from flts.drawing.errors import StepLine
from flts.drawing.figure import Picture, named, short
from flts.drawing.models import models
from flts.drawing.training import loss_curve
from flts.drawing.windows import ShownWindows, WindowForecasts, windows
from flts.evaluate import coverage
from flts.evaluate.metrics import Yardstick
from flts.evaluate.significance import overlap
from flts.forecasting.answers import Interval, StoredIntervals
from flts.forecasting.bundle import load_bundle, read_bundle
from flts.models.base import Indices
from flts.preprocess.read import Reading
from flts.preprocess.rows import Values
from flts.promotion.judge import yardstick
from flts.serve.ahead import Later
from flts.serve.answer import answer_rows, usable_rows
from flts.serve.picture import SHOWN_LEVELS, drawn, named_target
from flts.train.experiment import Experiment
from flts.train.stage import Trained, stored_result

SHOWN_STEPS = 240
"""Rows of test that a picture of windows shows at most, or one window."""
PARTS = 24
"""Parts of a season, such as the hours of a day, that forecasts should fall in."""
LONGEST_NAME = 40
"""Characters of a target in the name of a file."""
Pictures = Mapping[str, Callable[[], Picture]]
"""By the name of a file; each is drawn when it is called."""


@dataclass(frozen=True)
class RunPlots:
    """A stored experiment with its decision; None where it was not judged."""

    store: Store
    experiment: Experiment
    decision: DecisionRecord | None

    @property
    def models(self) -> list[str]:
        """The models with a forecast, best first; by name where nobody judged them."""
        if self.decision is not None:
            return [row.model for row in self.decision.ranked]
        return [name for name in sorted(self.experiment.identity.model_hashes) if self._trained(name)]

    def of_all(self, target: str | None = None) -> Pictures:
        """Which model is best, how well each forecasts a target, what comes next, and the error of each step ahead.

        target: by default the first. Raises UsageError for another one.
        """
        chosen = named_target(self.experiment.task.fitted.targets, target)
        pictures: dict[str, Callable[[], Picture]] = {"forecast": partial(self.forecast, chosen)}
        if self.decision is None:
            return pictures
        pictures = {"models": partial(models, self.decision), **pictures}
        if self.decision.winner is not None:
            pictures["next"] = partial(self.ahead, chosen)
        if self.experiment.task.horizon > 1:
            pictures["error_per_step"] = self.error_per_step
        return pictures

    def of_each(self) -> Pictures:
        """The forecasts of each further target, and the pictures of each model."""
        targets = self.experiment.task.fitted.targets
        pictures: dict[str, Callable[[], Picture]] = {
            f"forecast{_ending(targets, at)}": partial(self.forecast, targets[at]) for at in range(1, len(targets))
        }
        for name in self.models:
            trained, values, manifest = self._stored(name)
            for kind, draw in _of_model(self.experiment, name, values, trained.curve, manifest).items():
                pictures[f"{name}-{kind}"] = draw
        return pictures

    def forecast(self, target: str) -> Picture:
        """The newest test windows that do not overlap, as each model forecast them."""
        return forecast_windows(self.experiment, {name: self._stored(name)[1] for name in self.models}, target)

    def ahead(self, target: str) -> Picture:
        """What the best model forecasts after the last test row. Raises DataError where too little was measured.

        A model that has to be told of the rows to forecast starts one horizon earlier: nobody knows what follows test.
        """
        assert self.decision is not None
        row = self.decision.row(self.decision.winner)
        assert row is not None
        bundle = load_bundle(self.store, row.bundle_sha256)
        context = self.experiment.windows.histories(self.experiment.dataset).context
        every, end = np.arange(len(context), dtype=np.int64), "the end of test"
        reading, later = Reading(context, [], every), None
        if bundle.given:
            later = Later(end, reading)
            until = len(context) - bundle.model.task.horizon
            reading = Reading(context[:until], [], every[:until])
        rows, warnings = usable_rows(bundle, reading, end, later)
        return drawn(bundle, answer_rows(bundle, rows, SHOWN_LEVELS, None, warnings), target)

    def error_per_step(self) -> Picture:
        """The error of every model at each step, beside that of the best baseline."""
        assert self.decision is not None
        best = self.decision.ranked_baselines[:1]
        lines = [(row.model, row.profile.step, False) for row in self.decision.ranked]
        lines += [(f"{row.model} (baseline)", row.profile.step, True) for row in best]
        return _error_per_step(self.experiment, lines)

    def _trained(self, name: str) -> Trained | None:
        identity = self.experiment.identity
        row = None if self.decision is None else self.decision.row(name)
        # the hash of an ensemble depends on its members, so the decision alone knows it
        model_hash = identity.model_hashes[name] if row is None else row.model_hash
        return stored_result(self.store, name, model_hash, identity.windows_hash)

    def _stored(self, name: str) -> tuple[Trained, Mapping[str, Values], Manifest]:
        trained = self._trained(name)
        assert trained is not None
        values = self.experiment.forecasts(self.store, trained.model_hash, trained.forecasts_sha256)
        return trained, values, read_bundle(self.store, trained.bundle_sha256)[0]


def kept_of(
    experiment: Experiment, name: str, values: Mapping[str, Values], curve: Sequence[Sequence[float]]
) -> dict[str, Picture]:
    """The pictures that the tracker keeps of a candidate: its forecasts of the first target, and the loss curve where
    it has epochs. The others are drawn when somebody asks for them.

    values: the stored columns [origins, horizon, targets]. Raises MissingExtra without matplotlib.
    """
    pictures = {"forecast": forecast_windows(experiment, {name: values}, experiment.task.fitted.targets[0])}
    return pictures | {kind: draw() for kind, draw in _learning(experiment, name, curve).items()}


def _of_model(
    experiment: Experiment,
    name: str,
    values: Mapping[str, Values],
    curve: Sequence[Sequence[float]],
    manifest: Manifest,
) -> Pictures:
    """What the pictures of all models do not show of one; manifest: of the bundle that made the values."""
    targets = experiment.task.fitted.targets
    pictures: dict[str, Callable[[], Picture]] = {
        f"residuals{_ending(targets, at)}": partial(_residuals, experiment, name, values, at)
        for at in range(len(targets))
    }
    if manifest.intervals.offsets:
        pictures["calibration"] = partial(_calibration, experiment, name, values, manifest)
    return {**pictures, **_learning(experiment, name, curve)}


def _learning(experiment: Experiment, name: str, curve: Sequence[Sequence[float]]) -> Pictures:
    """The loss per epoch, of a model that has epochs."""
    if not curve:
        return {}
    title = f"{name}: loss while learning {named(experiment.task.fitted.targets)}"
    return {"loss_curve": partial(loss_curve, curve, title=title, caption="the untrained model has no point")}


def _ending(targets: Sequence[str], at: int) -> str:
    """What the name of a file says of a target: nothing of the first; a name may hold what a path may not."""
    name = re.sub(r"[^\w-]+", "_", targets[at])[:LONGEST_NAME]
    return "" if at == 0 else f"-{at + 1}-{name}"


def forecast_windows(experiment: Experiment, models: Mapping[str, Mapping[str, Values]], target: str) -> Picture:
    """The newest test windows that do not overlap; models: the stored columns [origins, horizon, targets] by name."""
    horizon, fitted = experiment.task.horizon, experiment.task.fitted
    at, indices = fitted.targets.index(target), experiment.windows.indices
    chosen = _apart(indices, horizon, max(SHOWN_STEPS, horizon))
    context = experiment.windows.histories(experiment.dataset).context
    series = context.select((target,))[:, 0]
    times = fitted.grid.after(experiment.origins[chosen], horizon)
    first, last = np.searchsorted(context.times, [experiment.origins[chosen[0]], times[-1, -1]])
    before = series[np.searchsorted(context.times, experiment.origins[chosen])]
    ahead = "the next step" if horizon == 1 else f"{horizon} steps at once"
    count = "the last one" if len(chosen) == 1 else f"the last {len(chosen)} that do not overlap"
    return windows(
        ShownWindows(
            experiment.origins[chosen], times, before, context.times[first : last + 1], series[first : last + 1]
        ),
        [
            WindowForecasts(name, *(_cells(values, column, at)[chosen] for column in ("y_hat", "lower", "upper")))
            for name, values in models.items()
        ],
        target=target,
        title=f"{short(target)}: forecast and truth",
        caption=f"{count} of {len(indices):,} test windows, {fitted.grid.shown(times[0, 0])[:10]} to"
        f" {fitted.grid.shown(times[-1, -1])[:10]}; each origin forecasts {ahead}",
        timezone=fitted.grid.timezone,
    )


def _cells(values: Mapping[str, Values], column: str, at: int) -> Values:
    """A column of one target [origins, horizon], NaN where a model has none."""
    found = values.get(column)
    return np.full(values["y_hat"].shape[:2], np.nan) if found is None else found[..., at]


def _residuals(experiment: Experiment, name: str, values: Mapping[str, Values], at: int) -> Picture:
    truth = experiment.windows.truth(experiment.dataset, experiment.task.horizon).values
    target = experiment.task.fitted.targets[at]
    return drawn_errors.residuals(
        experiment.origins,
        values["y_hat"][..., at] - truth[..., at],
        target=target,
        title=f"{name}: errors of {short(target)} over time",
        caption=f"{len(truth):,} test windows by their origin, all steps together; above 0 the forecast was too high",
        timezone=experiment.task.fitted.grid.timezone,
    )


def _error_per_step(experiment: Experiment, lines: Sequence[tuple[str, Sequence[StepErrors], bool]]) -> Picture:
    """RMSE of one target in its own unit, of several in shares of their range over train."""
    fitted = experiment.task.fitted
    targets, single = fitted.targets, len(fitted.targets) == 1
    width = float(fitted.target_range[1][0]) if single else 1.0
    return drawn_errors.error_per_step(
        [
            StepLine(name, [at.step for at in steps], [at.rmse * width for at in steps], baseline)
            for name, steps, baseline in lines
        ],
        unit=f"RMSE of {short(targets[0])}" if single else "RMSE, 1 = range over train",
        title=f"{named(targets)}: error of each step ahead",
        caption=f"{len(experiment.windows.indices):,} test windows; {_hours_seen(experiment)}",
    )


def _hours_seen(experiment: Experiment) -> str:
    """How much of a season the forecasts of one step fall on: an error per step may be that of a few hours alone."""
    if not experiment.task.seasons:
        return "train shows no season"
    season = experiment.task.seasons[0]
    parts = min(season, PARTS)
    places = experiment.task.fitted.grid.positions(experiment.origins) % season
    seen = len(np.unique(places * parts // season))
    whole = "" if seen == parts else ": the season is part of the error of a step"
    return f"each step falls in {seen} of {parts} parts of a season of {season} rows{whole}"


def _calibration(experiment: Experiment, name: str, values: Mapping[str, Values], manifest: Manifest) -> Picture:
    truth = experiment.windows.truth(experiment.dataset, experiment.task.horizon)
    shared = overlap(experiment.task.horizon, truth.spacing)
    intervals = StoredIntervals.of(values, manifest).by_level
    covered = _covered(truth.values, intervals, yardstick(experiment.dataset, experiment.task), shared)
    cells = next(iter(covered.values())).cells if covered else 0
    return drawn_errors.calibration(
        covered,
        title=f"{name}: do its intervals of {named(experiment.task.fitted.targets)} hold?",
        caption=f"{cells:,} test cells, all steps together; below the line intervals are too narrow; bars: 95 %",
    )


def _covered(truth: Values, intervals: Mapping[str, Interval], measure: Yardstick, shared: int) -> dict[str, Coverage]:
    results = {
        level: coverage.measured(truth, lower, upper, measure, shared) for level, (lower, upper) in intervals.items()
    }
    return {level: measured for level, measured in results.items() if measured is not None}


def _apart(indices: Indices, horizon: int, rows: int) -> Indices:
    """Positions of the windows that do not overlap and lie within this many rows of the end of the last, oldest first.

    indices: the first row of each window.
    """
    chosen, end = [len(indices) - 1], indices[-1] + horizon
    for position in range(len(indices) - 2, -1, -1):
        if end - indices[position] > rows:
            break
        if indices[chosen[-1]] - indices[position] >= horizon:
            chosen.append(position)
    return np.array(chosen[::-1])
