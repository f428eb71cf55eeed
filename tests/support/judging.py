"""Made-up truth and forecasts for the pure part of the judge."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from flts.contracts.canonical import digest
from flts.contracts.records.decision import WindowsSummary
from flts.evaluate.case import Baseline, Candidate, Case
from flts.evaluate.metrics import Yardstick
from flts.evaluate.profile import WallClock
from flts.preprocess.rows import Values
from flts.spec.fields import Evaluate

T = TypeVar("T")


def known(value: T | None) -> T:
    """A part of a record that must not be None."""
    assert value is not None
    return value


def truth_of(origins: int = 60, horizon: int = 2, targets: int = 1, seed: int = 1) -> Values:
    """Truth [origins, horizon, targets] around 50."""
    return np.random.default_rng(seed).normal(50.0, 5.0, (origins, horizon, targets))


def off_by(truth: Values, error: float, seed: int = 2) -> Values:
    """A forecast whose errors are normal with this standard deviation."""
    return truth + np.random.default_rng(seed).normal(0.0, error, truth.shape)


def yardstick_of(targets: int = 1, width: float = 40.0, season_error: float | None = 4.0) -> Yardstick:
    """Every target has the same range and the same in-sample error of the seasonal naive forecast."""
    names = tuple(f"y{i}" for i in range(targets))
    known = None if season_error is None else np.full(targets, season_error)
    return Yardstick(names, np.full(targets, width), known, "too short" if known is None else None)


def success(name: str, forecast: Values) -> Candidate:
    """A candidate with a forecast; its hashes are made from its name."""
    return Candidate(
        name, digest(name), "SUCCESS", None, digest([name, "bundle"]), digest([name, "forecasts"]), forecast
    )


def clock_of(truth: Values) -> WallClock:
    """Origins and steps one hour apart, from a Monday midnight on."""
    hours = np.arange(len(truth))[:, None] + np.arange(1, truth.shape[1] + 1)
    return WallClock(hours % 24, hours // 24 % 7)


def windows_of(truth: Values, dropped: int = 0) -> WindowsSummary:
    """Every origin of this truth, one row apart."""
    return WindowsSummary(
        windows_hash=digest("windows"),
        count=len(truth),
        first=0,
        last=len(truth) - 1,
        spacing=1.0,
        dropped=dropped,
        empty_cells=int(np.isnan(truth).sum()),
    )


def case_of(**changes: Any) -> Case:
    """Two candidates and two baselines on 60 windows without a champion; fields can be replaced."""
    truth: Values = changes.get("truth", truth_of())
    fields: dict[str, Any] = {
        "scope": "global",
        "config_hash": digest("config"),
        "candidates": [success("good", off_by(truth, 1.0, 3)), success("fair", off_by(truth, 3.0, 4))],
        "baselines": [Baseline("naive", off_by(truth, 6.0, 5)), Baseline("seasonal_naive", off_by(truth, 5.0, 6))],
        "champion": None,
        "truth": truth,
        "clock": clock_of(truth),
        "spacing": 1.0,
        "yardstick": yardstick_of(truth.shape[2]),
        "rules": Evaluate(),
        "windows": windows_of(truth),
        "seed": 42,
    }
    return Case(**{**fields, **changes})
