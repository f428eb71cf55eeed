"""What a family sees while it is fitted: no validation window before it has chosen, and no test row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from tests.support.families import recipe, task_on
from tests.support.raising import raises
from tests.support.series import hourly

from flts.contracts.errors import DataError, NotApplicable, TrainingFailed
from flts.contracts.ports import Progress, Silent
from flts.forecasting.bundle import SCORES, read_scores
from flts.forecasting.histories import one_per_stratum
from flts.forecasting.intervals import conformal_offsets
from flts.models.base import Block, Files, Fit, ForecastTask, History, Predictor, Recipe, Refits, Window
from flts.preprocess.rows import Rows, Values
from flts.spec.table import Table
from flts.train.fitting import fit_model
from flts.train.residuals import ENOUGH, FOLDS
from flts.train.search import MOST_VALIDATION_ORIGINS
from flts.train.windows import split_validation, train_origins

TARGETS = ("wind", "load")


@dataclass
class Constant:
    """Forecasts one scaled value everywhere, and records its windows."""

    value: float
    task: ForecastTask
    written_by: bytes
    windows_seen: list[tuple[bytes, Window]]

    def predict(self, window: Window) -> Values:
        self.windows_seen.append((self.written_by, window))
        return np.full((len(window.times), self.task.horizon, self.task.targets), self.value)


@dataclass
class Recording:
    """A family that learns nothing and records its arguments; its file names the fit that wrote it."""

    answer: float = 0.25
    wanted: int = 12
    fit_blocks: list[Block] = field(default_factory=list)
    validations: list[Block] = field(default_factory=list)
    refit_blocks: list[Block] = field(default_factory=list)
    windows_seen: list[tuple[bytes, Window]] = field(default_factory=list)
    chosen_at_refit: list[Mapping[str, Any]] = field(default_factory=list)
    name: str = "recording"
    parameters: type[Table] = Table
    version: int = 3
    extra: str | None = None
    libraries: Sequence[str] = ()
    cost: int = 0

    def history(self, task: ForecastTask) -> History:
        return History(self.wanted, self.wanted)

    def fit(
        self, block: Block, validation: Block, task: ForecastTask, recipe: Recipe[Table], progress: Progress
    ) -> Fit:
        self.fit_blocks.append(block)
        self.validations.append(validation)
        return Fit({"m": b"before the validation windows"}, {"chosen": "on the validation windows"}, ((2.0, 1.0),))

    def load(self, files: Files, task: ForecastTask) -> Predictor:
        value = self.answer if files["m"] == b"before the validation windows" else self.answer + 0.5
        return Constant(value, task, files["m"], self.windows_seen)


class Refitting(Recording):
    """The same, with a refit on all of train."""

    def refit(self, block: Block, task: ForecastTask, recipe: Recipe[Table], chosen: Mapping[str, Any]) -> Files:
        self.refit_blocks.append(block)
        self.chosen_at_refit.append(chosen)
        return {"m": b"on all of train"}


class Phases(Silent):
    def __init__(self) -> None:
        self.names: list[str] = []

    def phase(self, name: str) -> None:
        self.names.append(name)


def fitted(family: Recording, rows: Rows, fraction: float = 0.1, **task: Any) -> Any:
    task_of_fit = task_on(rows, TARGETS, **task)
    return task_of_fit, fit_model(family, rows, task_of_fit, recipe("ridge"), fraction, Silent())


def split_of(rows: Rows, task: ForecastTask, fraction: float = 0.1) -> tuple[list[int], list[int]]:
    origins = train_origins(rows, task)
    fit, validation = split_validation(origins, task.horizon, fraction)
    return fit.tolist(), validation.tolist()


@pytest.mark.parametrize("task", [{}, {"horizon": 6}, {"lags": [5]}], ids=["plain", "long horizon", "lags"])
@pytest.mark.parametrize("fraction", [0.1, 0.4])
def test_a_model_learns_only_from_rows_before_the_validation_windows(fraction: float, task: dict[str, Any]) -> None:
    rows, family = hourly(200), Refitting(wanted=20)
    task_of_fit, _ = fitted(family, rows, fraction, **task)
    block = family.fit_blocks[0]
    expected, validation = split_of(rows, task_of_fit, fraction)
    assert block.origins.tolist() == expected
    assert block.times.tolist() == rows.times[: validation[0]].tolist()
    assert len(block.features) == len(block.targets) == validation[0]
    assert int(block.origins.max()) + task_of_fit.horizon <= len(block.targets)


def test_the_validation_windows_are_the_last_windows_of_train() -> None:
    rows, family = hourly(200), Refitting()
    task_of_fit, _ = fitted(family, rows)
    validation = family.validations[0]
    assert validation.origins.tolist() == split_of(rows, task_of_fit)[1]
    assert validation.times[-1] == rows.times[-1]
    assert len(validation.targets) == len(rows)


def test_blocks_hold_features_as_transformed_and_targets_scaled_to_their_range() -> None:
    rows, family = hourly(200), Refitting()
    task_of_fit, _ = fitted(family, rows)
    validation = family.validations[0]
    raw = rows.select(TARGETS)
    np.testing.assert_allclose(validation.targets, (raw - raw.min(axis=0)) / np.ptp(raw, axis=0))
    assert validation.features.shape == (200, len(task_of_fit.fitted.features))
    windows, answers = validation.windows(task_of_fit)
    assert windows.shape == (len(validation.origins), task_of_fit.input_length, len(task_of_fit.fitted.features))
    for i, origin in enumerate(validation.origins):
        np.testing.assert_array_equal(windows[i], validation.features[origin - task_of_fit.input_length : origin])
        np.testing.assert_array_equal(answers[i], validation.targets[origin : origin + task_of_fit.horizon])


def test_a_refit_learns_from_every_train_window_with_what_was_chosen() -> None:
    rows, family = hourly(200), Refitting()
    task_of_fit, _ = fitted(family, rows)
    block = family.refit_blocks[-1]
    assert len(block.targets) == len(rows)
    assert block.origins.tolist() == list(range(task_of_fit.lookback, 200 - task_of_fit.horizon + 1))
    assert family.chosen_at_refit[-1] == {"chosen": "on the validation windows"}


@pytest.mark.parametrize(
    ("family", "kept", "phases"),
    [
        (Refitting(), b"on all of train", ["fit", "validate", "refit"]),
        (Recording(), b"before the validation windows", ["fit", "validate"]),
    ],
)
def test_the_bundle_holds_the_refit_if_there_is_one(family: Recording, kept: bytes, phases: list[str]) -> None:
    rows, told = hourly(200), Phases()
    model = fit_model(family, rows, task_on(rows, TARGETS), recipe("ridge"), 0.1, told)
    assert {*model.files} == {"m", SCORES}
    assert model.files["m"] == kept
    assert told.names == phases
    written_by = model.manifest.self_test.mean[0]
    low, width = task_on(rows, TARGETS).fitted.target_range
    np.testing.assert_allclose(written_by, (0.75 if isinstance(family, Refits) else 0.25) * width + low)


def test_the_validation_windows_are_forecast_by_the_fit_that_has_not_seen_them() -> None:
    rows, family = hourly(200), Refitting()
    task_of_fit, model = fitted(family, rows)
    _, validation = split_of(rows, task_of_fit)
    low, width = task_of_fit.fitted.target_range
    np.testing.assert_allclose(model.validation_forecasts, np.broadcast_to(0.25 * width + low, (len(validation), 3, 2)))
    assert model.validation_origins.tolist() == rows.times[np.array(validation) - 1].tolist()
    windows = [window for written_by, window in family.windows_seen if written_by == b"before the validation windows"]
    ends = [int(time) for window in windows for time in window.times[:, -1]]
    assert ends[: len(validation)] == model.validation_origins.tolist()


def scores_of(rows: Rows, task: ForecastTask, origins: list[int], mean: Values) -> Values:
    """Errors in shares of the range of train, the scale that the last rows of these series choose."""
    raw = rows.select(TARGETS)
    truth = np.array([raw[o : o + task.horizon] for o in origins])
    return np.asarray(np.abs(truth - mean) / task.fitted.target_range[1])


def test_the_offsets_come_from_the_residuals_of_sixty_or_more_validation_windows() -> None:
    rows, family = hourly(900), Refitting()
    task_of_fit, model = fitted(family, rows, 0.07)
    _, validation = split_of(rows, task_of_fit, 0.07)
    assert len(family.fit_blocks) == 1
    assert len(validation) >= ENOUGH
    scores = scores_of(rows, task_of_fit, validation, model.validation_forecasts)
    np.testing.assert_allclose(read_scores(model.files[SCORES]), scores, rtol=1e-12)
    assert model.manifest.intervals.scale == "constant"
    assert model.manifest.intervals.offsets == conformal_offsets(read_scores(model.files[SCORES]))


def test_truth_counts_as_it_is_neither_filled_nor_clipped() -> None:
    rows = hourly(900)
    rows.values[-30:-20, 0] = np.nan
    rows.values[-10, 1] = 1e4
    task_of_fit, model = fitted(Refitting(), rows, 0.07, outliers={"enabled": True})
    origins = (np.searchsorted(rows.times, model.validation_origins) + 1).tolist()
    scores = scores_of(rows, task_of_fit, origins, model.validation_forecasts)
    assert np.isnan(scores).any()
    found, spread = read_scores(model.files[SCORES]), model.manifest.intervals.scale
    assert (np.isnan(found) == np.isnan(scores)).all()
    assert spread != "constant" or np.nanmax(found[..., 0]) == pytest.approx(np.nanmax(scores[..., 0]))


def test_a_short_tail_is_joined_by_folds_that_are_forecast_by_fits_on_the_windows_before_them() -> None:
    rows, family = hourly(200), Refitting()
    task_of_fit, model = fitted(family, rows)
    _, validation = split_of(rows, task_of_fit)
    whole = [*range(task_of_fit.lookback, 200 - task_of_fit.horizon + 1)]
    earlier = [origin for origin in whole if origin < validation[0]]
    folds = np.array_split(earlier[-(len(earlier) // 2) :], FOLDS)
    assert len(validation) < ENOUGH
    assert len(family.fit_blocks) == 1 + FOLDS
    for block, chosen_on, refit, fold in zip(
        family.fit_blocks[1:], family.validations[1:], family.refit_blocks, folds, strict=False
    ):
        assert len(refit.targets) == len(chosen_on.targets) == fold[0]
        assert int(refit.origins[-1]) + task_of_fit.horizon == fold[0]
        assert int(chosen_on.origins[-1]) == int(refit.origins[-1])
        assert int(block.origins[-1]) + task_of_fit.horizon <= int(chosen_on.origins[0])
    low, width = task_of_fit.fitted.target_range
    of_folds = np.broadcast_to(0.75 * width + low, (len(earlier) // 2, 3, 2))
    mean = np.concatenate([of_folds, model.validation_forecasts])
    expected = scores_of(rows, task_of_fit, [*np.concatenate(folds).tolist(), *validation], mean)
    found = read_scores(model.files[SCORES])
    assert found.shape == expected.shape
    if model.manifest.intervals.scale == "constant":
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_family_that_is_fitted_to_every_history_has_static_intervals() -> None:
    class EachTime(Refitting):
        def history(self, task: ForecastTask) -> History:
            return History(self.wanted, self.wanted, refitted=True)

    _, model = fitted(EachTime(), hourly(900))
    assert model.manifest.intervals.offsets is not None
    assert model.manifest.intervals.scores is None
    assert {*model.files} == {"m"}


def test_too_few_validation_windows_give_no_offsets_and_a_reason() -> None:
    _, model = fitted(Refitting(), hourly(30))
    assert len(model.validation_origins) < 20
    intervals = model.manifest.intervals
    assert (intervals.offsets, intervals.reason) == (None, "fewer than 20 validation windows")


def test_of_two_hundred_equal_parts_of_the_validation_windows_one_each_is_forecast() -> None:
    rows, family = hourly(900), Refitting()
    task_of_fit, model = fitted(family, rows, 0.5)
    _, validation = split_of(rows, task_of_fit, 0.5)
    assert len(validation) > MOST_VALIDATION_ORIGINS == len(model.validation_origins) == len(model.validation_forecasts)
    assert family.validations[0].origins.tolist() == validation, "choices are made on all validation windows"
    rows_forecast = np.searchsorted(rows.times, model.validation_origins) + 1
    assert rows_forecast.tolist() == one_per_stratum(np.array(validation), MOST_VALIDATION_ORIGINS).tolist()


def test_the_manifest_describes_the_fit() -> None:
    rows = hourly(200)
    task_of_fit, model = fitted(Refitting(wanted=15), rows)
    expected = {
        "v": 2,
        "model": "recording",
        "model_type": "RECORDING",
        "code_version": 3,
        "columns": ["load", "wind"],
        "targets": ["wind", "load"],
        "features": list(task_of_fit.fitted.features),
        "input_length": 12,
        "horizon": 3,
        "seasons": [24],
        "bounds": [[None, None], [None, None]],
        "history_rows": 15,
        "min_history_rows": 15,
        "uses_history": True,
        "trained_until": int(rows.times[-1]),
        "chosen": {"chosen": "on the validation windows"},
        "fitted": task_of_fit.fitted.record().model_dump(mode="json"),
        "time_column": "time",
    }
    stored = json.loads(model.manifest.to_bytes())
    assert {name: stored[name] for name in expected} == expected
    assert model.fit.curve == ((2.0, 1.0),)


def test_validation_forecasts_that_are_not_finite_fail_the_model() -> None:
    with raises(TrainingFailed, code="forecasts-not-finite"):
        fitted(Refitting(answer=float("nan")), hourly(200))


def test_a_model_that_needs_more_rows_than_come_before_validation_is_not_applicable() -> None:
    with raises(NotApplicable, code="history-too-short", expected=190):
        fitted(Refitting(wanted=190), hourly(200))


def test_too_few_train_rows_to_validate_are_refused_before_a_fit() -> None:
    family = Refitting()
    with raises(DataError, code="train-too-short"):
        fitted(family, hourly(16))
    assert family.fit_blocks == []
