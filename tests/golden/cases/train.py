"""Windows, validation, intervals and manifests: every rule of training that no family decides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

import numpy as np
from tests.support.experiments import small_experiment, small_spec
from tests.support.families import recipe, task_on
from tests.support.series import HOUR, hourly

from flts.contracts.errors import DamagedObject, DataError
from flts.contracts.ports import Progress, Silent
from flts.contracts.records.model import Scale
from flts.forecasting.adaptive import reach, rolling_offsets
from flts.forecasting.bounds import resolve
from flts.forecasting.bundle import SCORES, Bundle, assemble, read_scores
from flts.forecasting.intervals import conformal_offsets
from flts.forecasting.model import Model, unmeasurable
from flts.forecasting.scale import choose, offered
from flts.models.base import Block, Fit, ForecastTask, Recipe
from flts.models.registry import CANDIDATES
from flts.models.ridge import Ridge
from flts.preprocess.rows import Rows, Values
from flts.spec.models import RidgeParameters
from flts.train.fitting import fit_model
from flts.train.windows import plan_windows, split_validation, train_origins

Outputs = Mapping[str, Any]


def cases() -> Outputs:
    """The outputs of every case by name."""
    return {
        "ridge": ridge(),
        "test windows": windows(),
        "split": split(),
        "fit": fit(),
        "intervals": intervals(),
        "short": short(),
        "reach": {str(horizon): reach(horizon) for horizon in (1, 3, 24, 413, 414, 1000)},
    }


def with_gap(rows: int = 260, at: int = 230) -> Rows:
    """Rows of which one is gone, and a run of later ones has no target."""
    whole = hourly(rows, seed=6)
    whole.values[at + 6 : at + 16, 0] = math.nan
    kept = np.delete(np.arange(rows), at)
    return Rows(whole.times[kept], whole.values[kept], whole.columns)


def ridge() -> Outputs:
    """Test windows around a gap, the validation split, interval offsets and the manifest of a ridge model."""
    spec = small_spec(dataset={"targets": ["wind", "load"]}, evaluate={"windows": 20})
    experiment, _ = small_experiment(spec, with_gap())
    task, train_rows, fraction = experiment.task, experiment.dataset.train, spec.train.validation_fraction
    origins = train_origins(train_rows, task)
    fit, validation = split_validation(origins, task.horizon, fraction)
    made = fit_model(CANDIDATES["ridge"], train_rows, task, recipe("ridge"), fraction, Silent())
    manifest = made.manifest.model_dump(mode="json")
    # the digest of the coefficients depends on the processor, because their last bits do
    manifest["files"] = {name: file["size"] for name, file in manifest["files"].items()}
    return {
        "windows": {"indices": experiment.windows.indices.tolist(), "left_out": experiment.windows.left_out},
        "fit": [int(fit[0]), int(fit[-1]), len(fit)],
        "validation": validation.tolist(),
        "validation_forecasts": made.validation_forecasts.tolist(),
        "manifest": manifest,
    }


def windows() -> Outputs:
    """Test origins with and without a step and lags, around a gap, and where test does not follow train."""
    found: dict[str, Any] = {}
    for name, lags, gone in (("whole", [], 100), ("gap", [], 230), ("lags", [24], 230), ("apart", [], 200)):
        experiment, _ = small_experiment(small_spec(preprocess={"lags": lags}), with_gap(at=gone))
        for count, step in ((0, 0), (7, 0), (0, 5), (4, 5), (20, 2)):
            key = f"{name}, {count} windows, step {step}"
            try:
                planned = plan_windows(experiment.dataset, "a hash", experiment.task, count, step)
            except DataError:
                found[key] = None
                continue
            truth = planned.truth(experiment.dataset, 3)
            found[key] = {
                "indices": planned.indices.tolist(),
                "left_out": planned.left_out,
                "spacing": truth.spacing,
                "origins": (truth.origins // 10**9).tolist()[:3],
                "first": plain(truth.values[0]),
            }
    return found


def split() -> Outputs:
    """First and number of the windows to fit on and of those to validate on; None where there are too few."""

    def parts(count: int, fraction: float) -> list[list[int]] | None:
        try:
            both = split_validation(np.arange(12, 12 + count, dtype=np.int64), 3, fraction)
        except DataError:
            return None
        return [[int(part[0]), int(part[-1]), len(part)] for part in both]

    pairs = (
        (100, 0.07),
        (400, 0.07),
        (1000, 0.1),
        (1001, 0.1),
        (300, 0.29),
        (80, 0.1),
        (79, 0.1),
        (40, 0.3),
        (3, 0.5),
    )
    return {f"{count} · {fraction}": parts(count, fraction) for count, fraction in (*pairs, (4, 0.1), (8, 0.1))}


class Watched(Ridge):
    """Ridge that notes what it is fitted on."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}

    def fit(
        self, block: Block, validation: Block, task: ForecastTask, recipe: Recipe[RidgeParameters], progress: Progress
    ) -> Fit:
        for name, part in (("fit", block), ("validation", validation)):
            rows = [len(part.times), len(part.features), len(part.targets)]
            self.seen[name] = [*rows, int(part.origins[0]), int(part.origins[-1]), len(part.origins)]
        return super().fit(block, validation, task, recipe, progress)


def fit() -> Outputs:
    """What a family sees, which of 231 validation windows give the intervals, and when a bundle passes its test."""
    rows = hourly(474, seed=10)
    rows = Rows(rows.times, np.round(rows.values, 3), rows.columns)
    task, family = task_on(rows), Watched()
    made = fit_model(family, rows, task, recipe("ridge"), 0.5, Silent())
    bundle = assemble("a digest", made.manifest, made.files)

    def passes(shift: float) -> bool:
        _, width = task.fitted.target_range
        vector = made.manifest.self_test
        mean = (np.array(vector.mean) + shift * width).tolist()
        changed = made.manifest.model_copy(update={"self_test": vector.model_copy(update={"mean": mean})})
        try:
            Bundle("a digest", changed, bundle.model).self_test()
        except DamagedObject:
            return False
        return True

    return {
        "seen": family.seen,
        "validated": ((made.validation_origins - rows.times[0]) // HOUR).tolist(),
        "offsets": made.manifest.intervals.model_dump(mode="json")["offsets"],
        "passes": {f"{shift:g}": passes(shift) for shift in (0.0, 5e-7, 9.9e-7, 1.01e-6, -2e-6, 1e-5)},
    }


class Flat:
    """Forecasts the last scaled value."""

    def predict(self, window: Any) -> Any:
        return np.repeat(window.targets[:, -1:, :], 3, axis=1)


def intervals() -> Outputs:
    """Quantiles, offsets, scales and their choice, adaptive offsets, and bounds."""
    rng = np.random.default_rng(11)
    truth, forecast = (np.round(rng.normal(10.0, 2.0, (41, 3, 2)), 3) for _ in range(2))
    truth[3, 1, 0] = truth[17, 1, 0] = math.nan
    scores = np.abs(truth - forecast)
    rows = hourly(48, seed=12)
    task = task_on(rows)
    histories = np.stack([np.full((12, 2), level) for level in (-500.0, 0.0, 20.0, 50.0, 1000.0)])
    histories[3, :6] += 3.0
    histories[4, 5:8, 0] = math.nan
    times = np.repeat(rows.times[None, :12], 5, axis=0)
    model = Model(Flat(), task, replace(CANDIDATES["ridge"].history(task), wanted=6))
    large = np.full((1, 3, 1), 50.0)
    spreads: dict[Scale, Values] = {
        "constant": np.full((41, 2), 4.0),
        "change": np.round(rng.uniform(0.5, 1.5, (41, 2)), 3),
        "level": np.abs(forecast[:, 0]) + 1.0,
    }
    width = np.array([9.0, 8.0])
    sequence = np.abs(rng.normal(1.0, 0.5, (130, 3, 1))).round(3)
    ends = np.array([40, 41, 43, 120, 200, 260])
    adaptive, own = rolling_offsets(
        ends, ends, np.arange(130) + 40, sequence, scores[:, :, :1], np.full((4, 1, 3, 1), 9.0)
    )
    return {
        "offsets": conformal_offsets(scores),
        "windows": {str(n): conformal_offsets(scores[:n]) is None for n in (19, 20, 21, 22, 23)},
        "scales": {
            scale: replace(model, scale=scale).forecast(times, histories).spread.tolist() for scale in get_args(Scale)
        },
        "offered": [list(offered(np.array([[value, 1.0]]))) for value in (-1e-9, 0.0)],
        "chosen": {
            f"errors × {factor}": choose(
                forecast + factor * (truth - forecast), forecast, spreads, np.array([9.0, 8.0])
            )
            for factor in (0.1, 1.0)
        }
        | {by: choose(forecast + spreads[by][:, None, :], forecast, spreads, width) for by in spreads},
        "adaptive": {"offsets": adaptive.tolist(), "own": own.tolist()},
        "bounds": {
            f"{rule} of {low} to {high}": list(map(list, resolve(rule, np.array([[low], [math.nan], [high]]))))
            for rule in ("auto", "off", [2.0, 3.0])
            for low, high in ((-1.0, 5.0), (0.0, 5.0), (0.0, 1.0), (0.2, 0.7), (0.2, 1.1))
        },
        "bounded": replace(model, task=replace(task, bounds=((0.0, 40.0),))).forecast(times, histories).mean.tolist(),
        "mean": model.forecast(times, histories).mean.tolist(),
        "unmeasurable": [unmeasurable(large * factor, task.fitted) for factor in (1.0, 1e100, 1e160, np.inf)],
    }


def short() -> Outputs:
    """A tail of fewer than 60 windows: five folds over the later half of train give the residuals as well."""
    rows = hourly(140, seed=13)
    rows = Rows(rows.times, np.round(rows.values, 3), rows.columns)
    made = fit_model(Ridge(), rows, task_on(rows), recipe("ridge"), 0.1, Silent())
    intervals = made.manifest.intervals.model_dump(mode="json")
    scores = read_scores(made.files[SCORES])
    return {"intervals": intervals, "scores": list(scores.shape), "of the folds": scores[[0, -1]].tolist()}


def plain(values: Values) -> list[list[float | None]]:
    """Numbers [rows][columns], None for NaN."""
    return [[None if math.isnan(value) else value for value in row] for row in values.tolist()]
