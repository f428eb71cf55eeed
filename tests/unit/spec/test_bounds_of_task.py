"""The bounds of forecasts in a Spec: words, or two finite numbers in order."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.raising import raises

from flts.contracts.errors import SpecError
from flts.spec.sources import validate


@pytest.mark.parametrize("bounds", ["auto", "off", [0.0, 1.0], [-3, 4]])
def test_words_and_a_range_are_valid(bounds: Any) -> None:
    assert validate({"task": {"bounds": bounds}}).task.bounds == bounds


@pytest.mark.parametrize(
    "bounds", ["on", [], [1.0], [1.0, 1.0], [2.0, 1.0], [0.0, 1.0, 2.0], [0.0, float("inf")], [float("nan"), 1.0], 3.0]
)
def test_anything_else_is_refused(bounds: Any) -> None:
    with raises(SpecError, code="value-invalid"):
        validate({"task": {"bounds": bounds}})


def test_without_a_word_the_bounds_are_what_train_shows() -> None:
    assert validate({}).task.bounds == "auto"
