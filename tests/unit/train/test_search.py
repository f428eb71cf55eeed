"""A grid is fitted whole, and the validation windows choose."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import TypeAdapter
from tests.support.experiments import small_experiment, small_spec
from tests.support.families import has_libraries, task_on
from tests.support.series import hourly

from flts.contracts import layout
from flts.contracts.errors import NotApplicable, TrainingFailed
from flts.contracts.ports import Progress, Silent
from flts.contracts.records.base import parse_record, require_record
from flts.contracts.records.model import ModelResult
from flts.models.base import Block, Files, Fit, ForecastTask, History, Predictor, Recipe, Window
from flts.preprocess.rows import Values
from flts.spec.search import MAY_BE_GRID
from flts.spec.sources import validate
from flts.spec.table import Table
from flts.train.fitting import FittedModel, fit_model
from flts.train.stage import fitted_bundle, model_spec, train

TARGETS = ("wind", "load")


class Answer(Table):
    value: float = 0.5
    """What is forecast everywhere; above 1 it cannot be fitted."""
    refused: int = 0
    """Above 0 it is not applicable; other values change nothing."""


@dataclass
class Constant:
    value: float
    task: ForecastTask

    def predict(self, window: Window) -> Values:
        return np.full((len(window.times), self.task.horizon, self.task.targets), self.value)


class Answers:
    """Forecasts the value of its table everywhere; refitted, it counts the refits in its file."""

    name, parameters, version, extra, libraries, cost = "answers", Answer, 1, None, (), 0

    def history(self, task: ForecastTask) -> History:
        return History(task.input_length, task.input_length)

    def fit(self, block: Block, validation: Block, task: ForecastTask, recipe: Recipe[Any], progress: Progress) -> Fit:
        if recipe.parameters.refused > 0:
            raise NotApplicable("refuses these rows", code="refused")
        if recipe.parameters.value > 1:
            raise TrainingFailed("the loss is not finite", code="loss")
        return Fit(self.refit(block, task, recipe, {}), {"how": "by its table"})

    def refit(self, block: Block, task: ForecastTask, recipe: Recipe[Any], chosen: Mapping[str, Any]) -> Files:
        return {"value.json": json.dumps(recipe.parameters.value).encode()}

    def load(self, files: Files, task: ForecastTask) -> Predictor:
        return Constant(json.loads(files["value.json"]), task)


class Phases(Silent):
    def __init__(self) -> None:
        self.names: list[str] = []

    def phase(self, name: str) -> None:
        self.names.append(name)


def fitted(progress: Progress | None = None, **values: Any) -> FittedModel:
    table = TypeAdapter(Annotated[Answer, MAY_BE_GRID]).validate_python(values)
    rows = hourly(200)
    return fit_model(Answers(), rows, task_on(rows, TARGETS), Recipe(table, 3, 42), 0.1, progress or Silent())


def test_the_combination_with_the_lowest_error_on_the_tail_is_kept_and_refitted() -> None:
    told = Phases()
    model = fitted(told, value=[0.0, 0.6, 1.0])
    assert model.files["value.json"] == b"0.6"
    assert told.names == ["fit 1 of 3", "validate", "fit 2 of 3", "validate", "fit 3 of 3", "validate", "refit"]
    assert model.fit.chosen == {"how": "by its table", "parameters": {"value": 0.6}} == model.manifest.chosen
    assert model.tries is not None
    assert [one.parameters for one in model.tries] == [{"value": 0.0}, {"value": 0.6}, {"value": 1.0}]
    errors = [one.validation_mse for one in model.tries]
    assert min(filter(None, errors)) == errors[1] == pytest.approx(_mean_squared_error(0.6))


def _mean_squared_error(value: float) -> float:
    """Of a constant scaled forecast, in plain Python."""
    rows = hourly(200)
    task = task_on(rows, TARGETS)
    low, width = task.fitted.target_range
    truth = rows.select(TARGETS)
    squares = []
    origins = [int(np.flatnonzero(rows.times == time)[0]) + 1 for time in fitted(value=value).validation_origins]
    for origin in origins:
        for step in range(task.horizon):
            for target in range(2):
                scaled = (truth[origin + step, target] - low[target]) / width[target]
                squares.append(float(scaled - value) ** 2)
    return sum(squares) / len(squares)


def test_of_equal_errors_the_first_combination_wins() -> None:
    model = fitted(value=[0.4, 0.8], refused=[0, -1])
    assert model.tries is not None
    errors = [one.validation_mse for one in model.tries]
    assert errors[0] == errors[1] != errors[2] == errors[3]
    assert model.fit.chosen["parameters"] == model.tries[errors.index(min(filter(None, errors)))].parameters
    assert model.fit.chosen["parameters"]["refused"] == 0


def test_a_combination_that_cannot_be_fitted_is_recorded_with_its_reason_and_left_out() -> None:
    model = fitted(value=[2.0, 0.5])
    assert model.tries is not None
    assert model.tries[0].model_dump() == {
        "parameters": {"value": 2.0},
        "validation_mse": None,
        "error": "the loss is not finite",
    }
    assert model.fit.chosen["parameters"] == {"value": 0.5}


def test_where_no_combination_can_be_fitted_the_first_reason_is_the_error() -> None:
    with pytest.raises(TrainingFailed, match="the loss is not finite"):
        fitted(value=[2.0, 3.0])
    with pytest.raises(NotApplicable, match="refuses these rows"):
        fitted(value=[0.5, 2.0], refused=1)


def test_without_a_list_nothing_is_recorded() -> None:
    model = fitted(value=0.5)
    assert model.tries is None
    assert model.fit.chosen == {"how": "by its table"}


@pytest.mark.skipif(not has_libraries("gbm"), reason="needs the extra 'gbm'")
def test_the_stored_result_names_every_combination_and_the_bundle_the_chosen_one() -> None:
    table = {"rounds": [1, 20], "leaves": 4}
    spec = validate({**small_spec().identity(), "models": {"gbm": table}})
    experiment, store = small_experiment(spec)
    trained = train(
        experiment.dataset, model_spec(experiment.spec, experiment.identity, "gbm"), experiment.windows, store
    )
    result = require_record(store, layout.model_result(trained.model_hash), ModelResult)
    assert result.tries is not None
    errors = [one.validation_mse for one in result.tries]
    assert [one.parameters for one in result.tries] == [{"rounds": 1}, {"rounds": 20}]
    assert errors[1] is not None
    assert errors == sorted(filter(None, errors), reverse=True)
    assert result.chosen["parameters"] == {"rounds": 20} == fitted_bundle(store, result)[0].chosen["parameters"]


def test_a_result_without_a_grid_has_no_list_of_tries() -> None:
    experiment, store = small_experiment(small_spec())
    spec = model_spec(experiment.spec, experiment.identity, "ridge")
    trained = train(experiment.dataset, spec, experiment.windows, store)
    stored = store.get(layout.model_result(trained.model_hash))
    assert stored is not None
    assert b"tries" not in stored
    assert parse_record(ModelResult, stored, "result.json").tries is None
