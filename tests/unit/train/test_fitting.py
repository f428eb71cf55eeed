"""What a family is given while it is fitted: never a row of the tail before it chose, never a row of the test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from tests.support.families import recipe, task_on
from tests.support.series import hourly

from flts.contracts.errors import DataError, NotApplicable, TrainingFailed
from flts.contracts.ports import Progress, Silent
from flts.forecasting.intervals import conformal_offsets
from flts.models.base import Block, Files, Fit, ForecastTask, History, Predictor, Recipe, Refits, Window
from flts.preprocess.rows import Rows, Values
from flts.spec.fields import Table
from flts.train.fitting import MOST_TAIL_ORIGINS, fit_model
from flts.train.windows import split_tail, train_origins

TARGETS = ("wind", "load")


@dataclass
class Constant:
    """Answers one scaled value everywhere, and notes who was asked what."""

    value: float
    task: ForecastTask
    made_by: bytes
    asked: list[tuple[bytes, Window]]

    def predict(self, window: Window) -> Values:
        self.asked.append((self.made_by, window))
        return np.full((len(window.times), self.task.horizon, self.task.targets), self.value)


@dataclass
class Recording:
    """A family that learns nothing and remembers what it was given; its files say which fit made them."""

    answer: float = 0.25
    wanted: int = 12
    given: list[Block] = field(default_factory=list)
    tails: list[Block] = field(default_factory=list)
    whole: list[Block] = field(default_factory=list)
    asked: list[tuple[bytes, Window]] = field(default_factory=list)
    chosen_at_refit: list[Mapping[str, Any]] = field(default_factory=list)
    name: str = "recording"
    parameters: type[Table] = Table
    version: int = 3
    extra: str | None = None
    libraries: Sequence[str] = ()
    cost: int = 0

    def history(self, task: ForecastTask) -> History:
        return History(self.wanted, self.wanted)

    def fit(self, block: Block, tail: Block, task: ForecastTask, recipe: Recipe[Table], progress: Progress) -> Fit:
        self.given.append(block)
        self.tails.append(tail)
        return Fit({"m": b"before the tail"}, {"chosen": "on the tail"}, ((2.0, 1.0),))

    def load(self, files: Files, task: ForecastTask) -> Predictor:
        value = self.answer if files["m"] == b"before the tail" else self.answer + 0.5
        return Constant(value, task, files["m"], self.asked)


class Refitting(Recording):
    """The same, fitted again on all of train."""

    def refit(self, block: Block, task: ForecastTask, recipe: Recipe[Table], chosen: Mapping[str, Any]) -> Files:
        self.whole.append(block)
        self.chosen_at_refit.append(chosen)
        return {"m": b"on all of train"}


class Phases(Silent):
    def __init__(self) -> None:
        self.names: list[str] = []

    def phase(self, name: str) -> None:
        self.names.append(name)


def fitted(family: Recording, rows: Rows, fraction: float = 0.1, **task: Any) -> Any:
    made = task_on(rows, TARGETS, **task)
    return made, fit_model(family, rows, made, recipe("ridge"), fraction, Silent())


def split_of(rows: Rows, task: ForecastTask, fraction: float = 0.1) -> tuple[list[int], list[int]]:
    origins = train_origins(rows, task.lookback, task.horizon, task.fitted.step)
    fit, tail = split_tail(origins, task.horizon, fraction)
    return fit.tolist(), tail.tolist()


@pytest.mark.parametrize("task", [{}, {"horizon": 6}, {"lags": [5]}], ids=["plain", "long horizon", "lags"])
@pytest.mark.parametrize("fraction", [0.1, 0.4])
def test_no_row_of_the_tail_is_in_the_block_a_model_learns_from(fraction: float, task: dict[str, Any]) -> None:
    rows, family = hourly(200), Refitting(wanted=20)
    made, _ = fitted(family, rows, fraction, **task)
    (block,) = family.given
    expected, tail = split_of(rows, made, fraction)
    assert block.origins.tolist() == expected
    assert block.times.tolist() == rows.times[: tail[0]].tolist()
    assert len(block.features) == len(block.targets) == tail[0]
    assert int(block.origins.max()) + made.horizon <= len(block.targets)


def test_the_tail_is_the_last_windows_and_ends_with_train() -> None:
    rows, family = hourly(200), Refitting()
    made, _ = fitted(family, rows)
    (tail,) = family.tails
    assert tail.origins.tolist() == split_of(rows, made)[1]
    assert tail.times[-1] == rows.times[-1]
    assert len(tail.targets) == len(rows)


def test_blocks_hold_features_as_transformed_and_targets_scaled_to_their_range() -> None:
    rows, family = hourly(200), Refitting()
    made, _ = fitted(family, rows)
    (tail,) = family.tails
    raw = rows.select(TARGETS)
    np.testing.assert_allclose(tail.targets, (raw - raw.min(axis=0)) / np.ptp(raw, axis=0))
    assert tail.features.shape == (200, len(made.fitted.features))
    windows, answers = tail.windows(made)
    assert windows.shape == (len(tail.origins), made.input_length, len(made.fitted.features))
    for i, origin in enumerate(tail.origins):
        np.testing.assert_array_equal(windows[i], tail.features[origin - made.input_length : origin])
        np.testing.assert_array_equal(answers[i], tail.targets[origin : origin + made.horizon])


def test_a_refit_learns_from_every_train_window_with_what_was_chosen() -> None:
    rows, family = hourly(200), Refitting()
    made, _ = fitted(family, rows)
    (block,) = family.whole
    assert len(block.targets) == len(rows)
    assert block.origins.tolist() == list(range(made.lookback, 200 - made.horizon + 1))
    assert family.chosen_at_refit == [{"chosen": "on the tail"}]


@pytest.mark.parametrize(
    ("family", "kept", "phases"),
    [
        (Refitting(), b"on all of train", ["fit", "validate", "refit"]),
        (Recording(), b"before the tail", ["fit", "validate"]),
    ],
)
def test_what_is_kept_is_the_refit_where_there_is_one(family: Recording, kept: bytes, phases: list[str]) -> None:
    rows, told = hourly(200), Phases()
    found = fit_model(family, rows, task_on(rows, TARGETS), recipe("ridge"), 0.1, told)
    assert found.files == {"m": kept}
    assert len(family.whole) == int(isinstance(family, Refits))
    assert told.names == phases
    made_by = found.manifest.self_test.mean[0]
    low, width = task_on(rows, TARGETS).fitted.target_range
    np.testing.assert_allclose(made_by, (0.75 if isinstance(family, Refits) else 0.25) * width + low)


def test_the_tail_is_forecast_by_the_fit_that_has_not_seen_it_from_histories_before_each_origin() -> None:
    rows, family = hourly(200), Refitting()
    made, found = fitted(family, rows)
    _, tail = split_of(rows, made)
    low, width = made.fitted.target_range
    np.testing.assert_allclose(found.tail_forecasts, np.broadcast_to(0.25 * width + low, (len(tail), 3, 2)))
    assert found.tail_origins.tolist() == rows.times[np.array(tail) - 1].tolist()
    asked = [window for made_by, window in family.asked if made_by == b"before the tail"]
    ends = [int(time) for window in asked for time in window.times[:, -1]]
    assert ends == found.tail_origins.tolist()


def test_the_offsets_are_those_of_the_tail_residuals_of_the_fit_without_the_tail() -> None:
    rows, family = hourly(300), Refitting()
    made, found = fitted(family, rows)
    _, tail = split_of(rows, made)
    raw = rows.select(TARGETS)
    truth = np.array([raw[o : o + made.horizon] for o in tail])
    scaled = made.fitted.scale_targets(raw)
    level = np.array([scaled[o - made.input_length : o].mean(axis=0) for o in tail])
    spread = (np.maximum(level, 0.0) + 0.01) * made.fitted.target_range[1]
    expected = conformal_offsets(truth, found.tail_forecasts, spread)
    assert expected is not None
    assert found.manifest.intervals.offsets is not None
    for name, offsets in found.manifest.intervals.offsets.items():
        np.testing.assert_allclose(offsets, expected[name], rtol=1e-12)


def test_few_tail_windows_leave_the_bounds_empty_and_say_why() -> None:
    _, found = fitted(Refitting(), hourly(60))
    assert len(found.tail_origins) < 20
    intervals = found.manifest.intervals
    assert (intervals.offsets, intervals.reason) == (None, "fewer than 20 validation windows")


def test_at_most_two_hundred_evenly_spaced_tail_origins_are_forecast() -> None:
    rows, family = hourly(900), Refitting()
    made, found = fitted(family, rows, 0.5)
    _, tail = split_of(rows, made, 0.5)
    assert len(tail) > MOST_TAIL_ORIGINS == len(found.tail_origins) == len(found.tail_forecasts)
    assert family.tails[0].origins.tolist() == tail, "what is chosen on the tail is chosen on all of it"
    asked = np.searchsorted(rows.times, found.tail_origins) + 1
    assert (asked[0], asked[-1]) == (tail[0], tail[-1])
    assert {*asked.tolist()} <= {*tail}


def test_the_manifest_says_what_was_fitted() -> None:
    rows = hourly(200)
    made, found = fitted(Refitting(wanted=15), rows)
    expected = {
        "v": 1,
        "model": "recording",
        "model_type": "RECORDING",
        "code_version": 3,
        "columns": ["load", "wind"],
        "targets": ["wind", "load"],
        "features": list(made.fitted.features),
        "input_length": 12,
        "horizon": 3,
        "seasons": [24],
        "history_rows": 15,
        "min_history_rows": 15,
        "uses_history": True,
        "trained_until": int(rows.times[-1]),
        "chosen": {"chosen": "on the tail"},
        "fitted": made.fitted.record().model_dump(mode="json"),
        "time_column": "time",
    }
    stored = json.loads(found.manifest.to_bytes())
    assert {name: stored[name] for name in expected} == expected
    assert found.fit.curve == ((2.0, 1.0),)


def test_a_model_whose_tail_forecast_is_not_finite_has_failed() -> None:
    with pytest.raises(TrainingFailed, match="are not finite"):
        fitted(Refitting(answer=float("nan")), hourly(200))


def test_a_model_that_needs_more_rows_than_come_before_the_tail_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="needs 190 rows"):
        fitted(Refitting(wanted=190), hourly(200))


def test_train_rows_too_few_to_validate_are_refused_before_a_model_is_asked() -> None:
    family = Refitting()
    with pytest.raises(DataError, match="too few to fit and to validate"):
        fitted(family, hourly(16))
    assert family.given == []
