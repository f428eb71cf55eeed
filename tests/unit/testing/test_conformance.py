"""Each promise that a family breaks fails the conformance test with its name."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from flts.contracts.ports import Progress
from flts.models.base import Block, Files, Fit, ForecastTask, History, Predictor, Recipe, Window
from flts.preprocess.rows import Values
from flts.spec.table import Table
from flts.testing import ModelConformance

Answer = Callable[[Values], Values]


class _Last:
    def __init__(self, task: ForecastTask, answer: Answer) -> None:
        self._horizon, self._answer = task.horizon, answer

    def predict(self, window: Window) -> Values:
        return self._answer(np.repeat(window.targets[:, -1:], self._horizon, axis=1))


class Last:
    """Forecasts the last value; each argument can break one promise."""

    name = "last"
    parameters = Table
    version = 1
    extra = None
    libraries: Sequence[str] = ()
    cost = 0

    def __init__(
        self,
        *,
        answer: Answer = lambda forecast: forecast,
        wanted: History = History(1, 1),  # noqa: B008 - frozen
        files: Files | None = None,
        chosen: Mapping[str, Any] | None = None,
    ) -> None:
        self._answer, self._wanted, self._files, self._chosen = answer, wanted, files or {"last.json": b"{}"}, chosen

    def history(self, task: ForecastTask) -> History:
        return self._wanted

    def fit(
        self, block: Block, validation: Block, task: ForecastTask, recipe: Recipe[Table], progress: Progress
    ) -> Fit:
        return Fit(self._files, self._chosen or {})

    def load(self, files: Files, task: ForecastTask) -> Predictor:
        return _Last(task, self._answer)


class _LastOfAll(_Last):
    targets_alone = True

    def predict(self, window: Window) -> Values:
        return super().predict(window) + window.cleaned[:, -1:, -1:]


class LastOfAll(Last):
    """Adds the last covariate, and says that it looks at the targets alone."""

    def load(self, files: Files, task: ForecastTask) -> Predictor:
        return _LastOfAll(task, self._answer)


class Mean(Last):
    """Forecasts the mean of the targets, and forgets that some are empty."""

    def fit(
        self, block: Block, validation: Block, task: ForecastTask, recipe: Recipe[Table], progress: Progress
    ) -> Fit:
        return Fit({"mean.json": json.dumps(block.targets.mean(axis=0).tolist()).encode()}, {})

    def load(self, files: Files, task: ForecastTask) -> Predictor:
        mean = np.array(json.loads(files["mean.json"]))
        return _Last(task, lambda forecast: np.broadcast_to(mean, forecast.shape))


def conformance(family: Last) -> ModelConformance:
    """The conformance tests of this family."""
    tests: ModelConformance = type("TestLast", (ModelConformance,), {"family": family})()
    return tests


def noise(forecast: Values) -> Values:
    """The forecast with noise that differs each time."""
    return forecast + np.random.default_rng().normal(0.0, 0.01, forecast.shape)


BROKEN: Mapping[str, Last] = {
    "each_target_is_forecast_in_its_own_column": Last(answer=lambda forecast: forecast[..., ::-1]),
    "a_batch_is_forecast_as_its_windows_one_by_one": Last(answer=lambda forecast: forecast - forecast.mean(axis=0)),
    "the_last_row_matters_exactly_when_the_history_is_used": Last(wanted=History(1, 1, used=False)),
    "what_looks_at_the_targets_alone_forecasts_the_same_without_covariates": LastOfAll(),
    "loading_the_files_again_gives_the_same_predictor": Last(answer=noise),
    "history_needs_at_least_one_row_and_uses_at_least_what_it_needs": Last(wanted=History(1, 2)),
    "no_file_is_a_pickle_or_an_archive_of_pickles": Last(files={"last.bin": pickle.dumps({"a": 1})}),
    "what_it_chose_is_plain_json": Last(chosen={"season": (1, 2)}),
    "it_learns_from_a_series_with_empty_cells_and_forecasts_from_one": Mean(),
    "it_is_registered_under_its_name": Last(),
}


@pytest.mark.parametrize("promise", BROKEN)
def test_a_broken_promise_fails_its_test(promise: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(conformance(BROKEN[promise]), f"test_{promise}")()


@pytest.mark.parametrize("promise", [name for name in BROKEN if name != "it_is_registered_under_its_name"])
def test_a_family_that_keeps_it_passes(promise: str) -> None:
    getattr(conformance(Last()), f"test_{promise}")()
