"""A list in place of a number is a grid, checked when the Spec is read."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flts.contracts.errors import SpecError
from flts.spec.fields import Spec
from flts.spec.models import GruParameters
from flts.spec.search import ParameterGrid, combinations, searched_values
from flts.spec.sources import json_schema, load_spec, validate


def spec(**models: Any) -> Spec:
    return validate({"dataset": {"targets": ["y"]}, "models": models})


def test_a_grid_is_every_combination_in_the_order_of_the_fields_whatever_the_order_of_the_file() -> None:
    table = spec(gru={"learning_rate": [1e-2, 1e-3], "hidden_size": [8, 4]}).expected["gru"]
    tried = combinations(table)
    assert all(type(one) is GruParameters for one in tried)
    values = [(one.hidden_size, one.learning_rate) for one in tried if isinstance(one, GruParameters)]
    assert values == [(8, 1e-2), (8, 1e-3), (4, 1e-2), (4, 1e-3)]
    assert searched_values(table, tried[1]) == {"hidden_size": 8, "learning_rate": 1e-3}


def test_a_table_without_a_list_is_its_only_combination() -> None:
    table = spec(ridge={"alphas": [2.0, 1.0]}).expected["ridge"]
    assert not isinstance(table, ParameterGrid)
    assert combinations(table) == [table]
    assert searched_values(table, table) == {}


def test_a_list_of_one_number_is_that_number() -> None:
    listed, plain = (spec(gbm={"learning_rate": value}) for value in ([0.05], 0.05))
    assert listed == plain
    assert listed.identity() == plain.identity()


def test_a_grid_is_hashed_as_its_lists_and_read_again_from_what_is_stored() -> None:
    searched = spec(gbm={"learning_rate": [1, 0.05]}, ridge={})
    stored = searched.identity()
    assert stored["models"]["gbm"]["learning_rate"] == [1.0, 0.05]
    assert validate(stored) == searched
    assert searched.model_dump(mode="json")["models"]["gbm"] == stored["models"]["gbm"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": []}, "models.gru: learning_rate is an empty list; give one number, or several"),
        ({"hidden_size": [4, 4]}, "models.gru: hidden_size = [4, 4] holds a number twice"),
        ({"learning_rate": [1, 1.0]}, "learning_rate = [1, 1.0] holds a number twice"),
        ({"learning_rate": [0.1, -1.0]}, "models.gru.learning_rate: Input should be greater than 0 (found -1.0)"),
        ({"learning_rate": [0.1, "fast"]}, "models.gru.learning_rate: Input should be a valid number"),
        ({"learning_rate": [True, 0.1]}, "models.gru.learning_rate: expected a number, not true"),
        ({"learning_rate": [[0.1, 0.2]]}, "models.gru.learning_rate: Input should be a valid number"),
        ({"hidden_size": [4, 8], "layers": 2}, "unknown key 'models.gru.layers'"),
        (
            {"hidden_size": list(range(1, 14)), "epochs": [1, 2, 3, 4, 5]},
            "models.gru: 13 of hidden_size × 5 of epochs are 65 combinations, and at most 64 are tried",
        ),
    ],
)
def test_a_grid_that_does_not_fit_is_refused_with_its_table_and_key(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        spec(gru=values)


def test_what_is_no_number_has_no_grid() -> None:
    with pytest.raises(SpecError, match=r"models\.prophet\.seasonality_mode: Input should be 'additive' or"):
        spec(prophet={"seasonality_mode": ["additive", "multiplicative"]})


def test_a_flag_may_give_a_grid() -> None:
    loaded = load_spec(overrides=["dataset.targets=['y']", "models.gru.learning_rate=[1e-3, 1e-2]"])
    assert len(combinations(loaded.spec.expected["gru"])) == 2


def test_the_schema_allows_a_number_or_a_list_of_numbers() -> None:
    one, several = json_schema()["$defs"]["GbmParameters"]["properties"]["learning_rate"]["anyOf"]
    assert several["items"] == one == {"type": "number", "exclusiveMinimum": 0.0, "maximum": 1.0}
    assert several["maxItems"] == 64
