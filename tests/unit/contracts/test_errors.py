"""Every error has what a program needs: a code, the values behind its message, an exit code."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Iterator

import pytest
from tests.support.raising import raises

from flts.contracts import errors
from flts.contracts.errors import (
    DataError,
    FltsError,
    MissingExtra,
    NoChampion,
    SpecError,
    Terminal,
    Transient,
    UsageError,
    near_misses,
    nearest,
)


def _tree(error: type[FltsError]) -> Iterator[type[FltsError]]:
    yield error
    for below in error.__subclasses__():
        yield from _tree(below)


def test_code_data_and_message() -> None:
    error = DataError("a.csv: no column 'down'", code="column-missing", file="a.csv", column="down")
    assert str(error) == "a.csv: no column 'down'"
    assert (error.code, error.data, error.exit_code) == ("column-missing", {"file": "a.csv", "column": "down"}, 4)
    with pytest.raises(TypeError):
        error.data["file"] = "b.csv"  # type: ignore[index]


def test_an_error_without_a_code_has_the_name_of_its_class_as_its_code() -> None:
    assert (DataError("x").code, NoChampion("x").code, Terminal("x").code) == ("data-error", "no-champion", "terminal")


def test_an_extra_is_named_in_the_message_and_in_the_data() -> None:
    error = MissingExtra("the model 'gru'", "torch")
    assert (error.code, error.data) == ("missing-extra", {"what": "the model 'gru'", "extra": "torch"})
    assert "'flts[torch]'" in str(error)
    assert "the extras 'torch', 'stats': " in str(MissingExtra("`flts run`", "torch", "stats"))


@pytest.mark.parametrize(
    "error", [DataError("x", code="some-code", row=3), MissingExtra("a bus on Kafka", "kafka", "dev")]
)
@pytest.mark.parametrize("again", [copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])  # noqa: S301
def test_an_error_reaches_another_process_with_code_and_data(error: FltsError, again: object) -> None:
    assert callable(again)
    other = again(error)
    assert (type(other), str(other), other.code, other.data) == (type(error), str(error), error.code, error.data)


def test_the_docstring_draws_the_actual_tree() -> None:
    drawn = dict(re.findall(r"[├└]── (\w+) +(\d+) ", errors.__doc__ or ""))
    ours = [error for error in _tree(FltsError) if error.__module__ == errors.__name__]
    assert {name: int(code) for name, code in drawn.items()} == {
        error.__name__: error.exit_code for error in ours if error not in {FltsError, Terminal, Transient}
    }


@pytest.mark.parametrize(
    "wrong",
    [DataError("x", code="b", row=1), SpecError("x", code="a", row=1), DataError("x", code="a", row=2)],
    ids=["code", "class", "value"],
)
def test_raises_fails_for_another_class_code_or_value(wrong: FltsError) -> None:
    expected = UsageError if isinstance(wrong, UsageError) else DataError
    with pytest.raises(AssertionError), raises(expected, code="a", row=1):
        raise wrong


def test_raises_hands_over_the_error() -> None:
    with raises(DataError, code="a", row=1) as caught:
        raise DataError("x", code="a", row=1, column="y")
    assert str(caught.value) == "x"


@pytest.mark.parametrize("text", ["n" * 10**6, "ü€" * 10**5, "\udc80" * 10**5])
def test_no_message_is_longer_than_a_person_reads(text: str) -> None:
    shown = str(FltsError(f"start {text} end"))
    assert shown.startswith("start ")
    assert shown.endswith(" end")
    assert len(shown.encode()) < 4000
    assert str(FltsError("as it is ü")) == "as it is ü"


def test_a_hint_never_offers_the_name_that_was_not_found() -> None:
    assert nearest("load", ["load", "loads"]) == "did you mean 'loads'? (valid: loads)"
    assert near_misses(["load", "wind"], ["Lod", "rain"]) == "; 'Lod' is nearly 'load'"
    assert near_misses(["wind"], ["rain"]) == ""
