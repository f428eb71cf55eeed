"""Live error: logged forecasts beside the truth that came later, by the rules of the scoreboard.

Rows of truth are read as the newest champion reads a history, and errors are scaled by its range over train, whichever
model made a forecast: one scale for all. The baseline is forecast from the rows of truth up to each origin, by the same
code as on the scoreboard; an origin without a season of rows before it has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from flts.contracts import layout
from flts.contracts.errors import UsageError
from flts.contracts.ports import Store, point_at
from flts.contracts.records.decision import WeightsRecord
from flts.contracts.records.live import (
    Live,
    LiveCoverage,
    LiveErrors,
    LiveModel,
    LiveSkill,
    LiveStep,
    LiveTarget,
    LiveTruth,
)
from flts.contracts.records.log import LogEntry
from flts.contracts.records.model import Manifest
from flts.evaluate.metrics import Yardstick, measure
from flts.evaluate.score import composite, skill
from flts.forecasting.answers import bounds_of
from flts.forecasting.bundle import read_bundle
from flts.forecasting.histories import Histories
from flts.forecasting.model import Model
from flts.models.base import ForecastTask
from flts.models.registry import BASELINES
from flts.preprocess.history import read_history
from flts.preprocess.rows import Rows, Times, Values
from flts.preprocess.source import RawFile
from flts.preprocess.transform import FittedPreprocess
from flts.promotion.log import scopes, served
from flts.report.predictions import EVER, Logged, LoggedModel, Period, read_logged
from flts.serve.batch import truth_at
from flts.spec.fields import Weights
from flts.version import __version__

OTHER_GRID = "time that is not on the grid of the champion"


@dataclass(frozen=True)
class _Joined:
    """Logged forecasts beside their truth, one row per model and origin.

    model [rows]: which of the logged models; origins [rows]: UTC ns; mean, truth and baseline [rows, steps, targets],
    NaN where there is none; bounds: lower and upper [2, rows, steps, targets] by level.
    """

    model: NDArray[np.int64]
    origins: Times
    mean: Values
    bounds: Mapping[str, Values]
    truth: Values
    baseline: Values

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which cells have a forecast and truth."""
        return ~np.isnan(self.mean) & ~np.isnan(self.truth)


def join(store: Store, scope: str, file: RawFile, now: datetime, period: Period = EVER) -> Live:
    """The live error of a scope by the truth in a file. now: for the record; period: of the forecasts that count.

    Raises UsageError for a scope without a champion or without logged forecasts, DataError for a file that cannot be
    read as a history of the champion.
    """
    entry, manifest = _champion(store, scope)
    fitted = FittedPreprocess.of(manifest.fitted)
    targets = tuple(manifest.targets)
    only = replace(fitted, columns=tuple(c for c in fitted.columns if c.name in targets), lags=(), calendar=())
    logged = read_logged(store, scope, targets, period)
    if not logged.requests:
        raise UsageError(
            f"no forecast of scope '{scope}' is logged in {store.url}{_within(period)}: `flts serve` stores its answers"
            " within a minute, unless prediction_log is off",
            code="no-predictions",
            scope=scope,
            store=store.url,
        )
    rows = read_history(file, only, manifest.time_column).rows
    horizon = max(
        (len(origin.times) for model in logged.models.values() for origin in model.origins.values()), default=1
    )
    task = ForecastTask(
        manifest.input_length, horizon, tuple(manifest.seasons), only, manifest.min_measured, bounds_of(manifest)
    )
    cells = _cells(logged, rows, task)
    yardstick = Yardstick(targets, only.target_range[1], None, "not asked")
    weights = Weights(**entry.champion.weights)
    known = cells.origins[cells.scored.any(axis=(1, 2))]
    shown = only.grid.shown
    return Live(
        scope=scope,
        flts=__version__,
        made=now.isoformat(),
        promotion=entry.number,
        bundle_sha256=entry.champion.bundle_sha256,
        weights=WeightsRecord(**weights.model_dump()),
        truth=LiveTruth(
            file=PurePath(file.name).name,
            sha256=file.digest(),
            rows=len(rows),
            first=shown(rows.times[0]),
            last=shown(rows.times[-1]),
        ),
        days=logged.days,
        requests=logged.requests,
        first_origin=shown(known.min()) if len(known) else None,
        last_origin=shown(known.max()) if len(known) else None,
        awaiting=int((~np.isnan(cells.mean)).sum() - cells.scored.sum()),
        left_out={reason: count for reason, count in sorted(logged.left_out.items()) if count},
        errors=_errors(cells, yardstick),
        steps=_steps(cells, yardstick),
        coverage=_coverage(cells, yardstick),
        skill=_skill(cells, yardstick, weights, task),
        models=_models(logged, cells, yardstick, weights, task),
    )


def _within(period: Period) -> str:
    """The period in words; nothing for all days."""
    since = f" since {period.first}" if period.first else ""
    return since + (f" until {period.last}" if period.last else "")


def write(store: Store, live: Live) -> None:
    """Store the live error of a scope in place of the one before."""
    point_at(store, layout.live(live.scope), live.to_bytes(), at="live.write")


def _champion(store: Store, scope: str) -> tuple[LogEntry, Manifest]:
    """The newest entry of the log and the manifest of its bundle."""
    entries = served(store, scope).entries
    if not entries:
        others = scopes(store)
        raise UsageError(
            f"scope '{scope}' of {store.url} has no champion; scopes with one: {', '.join(others) or 'none'}",
            code="no-champion",
            scope=scope,
            store=store.url,
            scopes=others,
        )
    manifest, _ = read_bundle(store, entries[-1].champion.bundle_sha256)
    return entries[-1], manifest


def _cells(logged: Logged, rows: Rows, task: ForecastTask) -> _Joined:
    """Every logged cell that lies on the grid, in the order of models and origins."""
    every = [
        (position, moment, model.origins[moment])
        for position, model in enumerate(logged.models.values())
        for moment in sorted(model.origins)
    ]
    for _, _, origin in every:
        origin.reach(task.horizon)
    shape = (len(every), task.horizon, task.targets)
    origins = np.array([moment for _, moment, _ in every], dtype=np.int64)
    times = task.fitted.grid.after(origins, task.horizon)
    mean = np.array([origin.mean for *_, origin in every]).reshape(shape)
    logged_times = np.array([origin.times for *_, origin in every], dtype=np.int64).reshape(shape[:2])
    elsewhere = (logged_times != times)[..., None] & ~np.isnan(mean)
    logged.left_out[OTHER_GRID] += int(elsewhere.sum())
    levels = sorted({level for *_, origin in every for level in origin.bounds})
    empty = np.full((2, *shape[1:]), np.nan)
    bounds = {
        level: np.array([origin.bounds.get(level, empty) for *_, origin in every]).reshape(shape[0], 2, *shape[1:])
        for level in levels
    }
    return _Joined(
        model=np.array([position for position, *_ in every], dtype=np.int64),
        origins=origins,
        mean=np.where(elsewhere, np.nan, mean),
        bounds={level: both.swapaxes(0, 1) for level, both in bounds.items()},
        truth=truth_at(rows, times, task.fitted.targets),
        baseline=_baseline(rows, origins, task),
    )


def _baseline(rows: Rows, origins: Times, task: ForecastTask) -> Values:
    """The baseline's forecasts [origins, steps, targets], NaN from an origin that the rows do not lead up to."""
    name = _baseline_name(task)
    model = Model(BASELINES[name].load({}, task), task, BASELINES[name].history(task))
    position = np.searchsorted(rows.times, origins)
    found = position < len(rows)
    found[found] = rows.times[position[found]] == origins[found]
    found &= position + 1 >= model.history.minimum
    forecast = np.full((len(origins), task.horizon, task.targets), np.nan)
    if found.any():
        forecast[found] = model.forecast_each(Histories(rows, position[found] + 1)).mean
    return forecast


def _baseline_name(task: ForecastTask) -> str:
    return "seasonal_naive" if task.seasons else "naive"


def _errors(cells: _Joined, yardstick: Yardstick) -> LiveErrors | None:
    """Errors of the cells; None where none has truth."""
    scored = cells.scored
    if not scored.any():
        return None
    found = measure(np.where(scored, cells.truth, np.nan), cells.mean, yardstick)
    return LiveErrors(
        cells=found.cells,
        rmse=found.rmse,
        mae=found.mae,
        mse=found.mse,
        targets={
            target: _of_target(cells, yardstick, index)
            for index, target in enumerate(yardstick.targets)
            if scored[..., index].any()
        },
    )


def _of_target(cells: _Joined, yardstick: Yardstick, index: int) -> LiveTarget:
    one, target = [index], yardstick.targets[index]
    truth = np.where(cells.scored, cells.truth, np.nan)[..., one]
    found = measure(truth, cells.mean[..., one], Yardstick((target,), yardstick.width[one], None, "not asked"))
    units = found.units[target]
    return LiveTarget(
        cells=found.cells, rmse=units["rmse"], mae=units["mae"], scaled_rmse=found.rmse, scaled_mae=found.mae
    )


def _steps(cells: _Joined, yardstick: Yardstick) -> list[LiveStep]:
    every = range(cells.mean.shape[1])
    at_each = [(step + 1, _errors(_part(cells, slice(None), slice(step, step + 1)), yardstick)) for step in every]
    return [LiveStep(step=step, errors=errors) for step, errors in at_each if errors is not None]


def _coverage(cells: _Joined, yardstick: Yardstick) -> dict[str, LiveCoverage]:
    """By level, over the cells that have truth and an interval of this level."""
    found = {}
    for level, (lower, upper) in cells.bounds.items():
        counted = cells.scored & ~np.isnan(lower)
        if counted.any():
            inside = counted & (lower <= cells.truth) & (cells.truth <= upper)
            width = ((upper - lower) / yardstick.width)[counted]
            total = int(counted.sum())
            found[level] = LiveCoverage(cells=total, coverage=int(inside.sum()) / total, width=float(width.mean()))
    return found


def _skill(cells: _Joined, yardstick: Yardstick, weights: Weights, task: ForecastTask) -> LiveSkill:
    season = task.seasons[0] if task.seasons else 1
    both = np.where(cells.scored & ~np.isnan(cells.baseline), cells.truth, np.nan)
    counted, name = int((~np.isnan(both)).sum()), _baseline_name(task)
    if not counted:
        reason = f"the file of truth holds no {season} rows before any origin whose forecasts have truth"
        return LiveSkill(
            baseline=name, season=season, cells=0, score=None, baseline_score=None, skill=None, reason=reason
        )
    scores = []
    for forecast in (cells.mean, cells.baseline):
        found = measure(both, forecast, yardstick)
        scores.append(float(composite(found.rmse, found.mae, found.mse, weights)))
    removed = skill(*scores)
    return LiveSkill(
        baseline=name,
        season=season,
        cells=counted,
        score=scores[0],
        baseline_score=scores[1],
        skill=removed,
        reason="the baseline makes no error on these cells" if removed is None else None,
    )


def _models(
    logged: Logged, cells: _Joined, yardstick: Yardstick, weights: Weights, task: ForecastTask
) -> list[LiveModel]:
    """Every model that has a forecast with truth."""
    models: Sequence[LoggedModel] = list(logged.models.values())
    found = []
    for position, model in enumerate(models):
        own = _part(cells, cells.model == position, slice(None))
        errors = _errors(own, yardstick)
        if errors is not None:
            found.append(
                LiveModel(
                    model_hash=model.model_hash,
                    model_type=model.model_type,
                    promotions=sorted(model.promotions),
                    origins=int(own.scored.any(axis=(1, 2)).sum()),
                    errors=errors,
                    skill=_skill(own, yardstick, weights, task),
                )
            )
    return found


def _part(cells: _Joined, rows: NDArray[np.bool_] | slice, steps: slice) -> _Joined:
    """Some rows and steps of the cells."""
    return _Joined(
        cells.model[rows],
        cells.origins[rows],
        cells.mean[rows][:, steps],
        {level: both[:, rows][:, :, steps] for level, both in cells.bounds.items()},
        cells.truth[rows][:, steps],
        cells.baseline[rows][:, steps],
    )
