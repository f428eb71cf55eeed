"""What the judge gathers for a decision: scale, local time, baselines, and whether a champion can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from tests.support.experiments import small_experiment, small_spec
from tests.support.families import recipe
from tests.support.judging import known, success
from tests.support.series import hourly
from tests.support.stored import copy, fit, gathered, promoted, put_forecasts

from flts.contracts import layout
from flts.contracts.ports import Silent
from flts.contracts.records.base import require_record
from flts.contracts.records.decision import Preview
from flts.contracts.records.model import WindowsResult
from flts.models.registry import CANDIDATES
from flts.preprocess.rows import Rows
from flts.promotion.judge import _comparable, _not_comparable, baselines, judge, wall_clock, yardstick
from flts.train.experiment import Experiment
from flts.train.fitting import fit_model

Outputs = Mapping[str, Any]


def cases() -> Outputs:
    """The outputs of every case by name."""
    return {
        "cases": {name: case(experiment) for name, experiment in experiments().items()},
        "comparable": comparable(),
        "gathered": gathered_and_rival(),
        "preview": preview(),
    }


def experiments() -> Mapping[str, Experiment]:
    """Two targets, other seasons, and a target whose seasonal naive forecast makes no error."""
    dataset = {"targets": ["wind", "load"], "timezone": "Europe/Madrid"}
    rows = hourly(300)
    rounded = Rows(rows.times, np.round(rows.values, 3), rows.columns)
    wave = Rows(rows.times, np.round(hourly(24).values, 3)[np.arange(300) % 24], rows.columns)
    return {
        name: small_experiment(small_spec(dataset=dataset, evaluate={"windows": 6}, task=task), series)[0]
        for name, series, task in (
            ("inferred", rounded, {}),
            ("seasons", rounded, {"seasons": [7, 24]}),
            ("no season", rounded, {"seasons": []}),
            ("too long", rounded, {"seasons": [121]}),
            ("no error", wave, {}),
        )
    }


def case(experiment: Experiment) -> Outputs:
    """The parts of a case that follow from an experiment."""
    scale, clock = yardstick(experiment.dataset, experiment.task), wall_clock(experiment)
    return {
        "width": scale.width.tolist(),
        "season_error": None if scale.season_error is None else scale.season_error.tolist(),
        "no_mase": scale.no_mase is not None,
        "hour": clock.hour.tolist(),
        "weekday": clock.weekday.tolist(),
        "baselines": {b.name: None if b.forecast is None else b.forecast.tolist() for b in baselines(experiment)},
    }


def comparable() -> Outputs:
    """Which champions are compared: the same targets, step and horizon, known columns, trained before the windows."""
    experiment, _ = small_experiment(small_spec(evaluate={"windows": 6}))
    manifest = fit_model(
        CANDIDATES["ridge"], experiment.dataset.train, experiment.task, recipe("ridge"), 0.1, Silent()
    ).manifest
    first = int(experiment.origins[0])
    half_hours = manifest.fitted.grid.model_copy(update={"step": "30min"})
    changes: Mapping[str, dict[str, Any]] = {
        "same": {},
        "other targets": {"targets": ["wind"]},
        "other horizon": {"horizon": 2},
        "longer horizon": {"horizon": 4},
        "other step": {"fitted": manifest.fitted.model_copy(update={"grid": half_hours})},
        "fewer columns": {"columns": ["load"]},
        "unknown column": {"columns": ["load", "sun"]},
        "trained until the first origin": {"trained_until": first},
        "trained for longer": {"trained_until": first + 1},
    }
    return {
        name: _not_comparable(manifest.model_copy(update=change), experiment) is None
        for name, change in changes.items()
    }


def gathered_and_rival() -> Outputs:
    """A fitted candidate as the judge sees it, and that model as the champion of rows with one more column."""
    experiment, store = small_experiment(small_spec(evaluate={"windows": 6}))
    trained = fit(store, experiment)
    (candidate,) = gathered(store, experiment)
    rows = hourly(300, columns=("sun", "wind", "load"))
    later, fresh = small_experiment(small_spec(evaluate={"windows": 6}), rows)
    copy(fresh, store)
    champion = _comparable(store, later, promoted("old", bundle_sha256=trained.bundle_sha256))
    return {
        "forecast": known(candidate.forecast).tolist(),
        "bounds": {level: [end[:2].tolist() for end in ends] for level, ends in candidate.bounds.items()},
        "static bounds": [end[:2].tolist() for end in candidate.static_bounds["0.8"]],
        "adaptive": candidate.adaptive,
        "latency": candidate.latency_ms,
        "champion": known(champion.forecast).tolist(),
    }


def preview() -> Outputs:
    """The last 300 scored origins of a winner: an origin without truth at its first step is left out."""
    rows = hourly(650)
    rows.values[640, 0] = np.nan
    experiment, store = small_experiment(small_spec(evaluate={"windows": 0}), rows, test=350)
    truth = experiment.windows.truth(experiment.dataset, 3).values
    forecast = np.round(np.nan_to_num(truth, nan=50.0) + 1.5, 3)
    put_forecasts(store, experiment, "ridge", forecast)
    model_hash, windows_hash = experiment.identity.model_hashes["ridge"], experiment.identity.windows_hash
    committed = require_record(store, layout.windows_result(model_hash, windows_hash), WindowsResult)
    winner = replace(success("ridge", forecast), model_hash=model_hash, forecasts_sha256=committed.forecasts_sha256)
    decision = judge(store, experiment, [winner], "global", ())
    made = require_record(store, layout.preview("global", decision.decision_id), Preview)
    ends = slice(None, None, len(made.time) - 1)
    return {
        "windows": decision.record.windows.model_dump(mode="json", exclude={"windows_hash"}),
        "origins": len(made.time),
        "ends": [made.time[ends], made.truth[ends], made.y_hat[ends], made.lower[ends], made.upper[ends]],
    }
