"""Values as Helm reads and merges them. tests/chart compares the text with that of Helm."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import pytest
from tests.support.raising import raises

from flts.contracts.errors import SpecError, UsageError
from flts.deploy.values import experiment, read_values


def read(tmp_path: Path, *texts: str) -> dict[str, object]:
    files = []
    for at, text in enumerate(texts):
        files.append(tmp_path / f"{at}.yaml")
        files[-1].write_text(text)
    return read_values(files)


def test_later_files_win_table_by_table_and_null_removes(tmp_path: Path) -> None:
    merged = read(tmp_path, "a: {b: 1, c: [1, 2], d: 3}\ne: 4\n", "a: {b: 5, c: [6], d: null}\n", "")
    assert merged == {"a": {"b": 5, "c": [6]}, "e": 4}


def test_numbers_are_those_of_helm(tmp_path: Path) -> None:
    assert read(tmp_path, "a: 1e-3\nb: 1:30\nc: 2026-11-30\nd: 0x10\ne: .5\n") == {
        "a": 0.001,
        "b": "1:30",
        "c": "2026-11-30",
        "d": 16,
        "e": 0.5,
    }


@pytest.mark.parametrize("text", ["- 1\n", "just text\n"])
def test_a_file_without_a_table_is_refused(tmp_path: Path, text: str) -> None:
    with raises(UsageError, code="not-values"):
        read(tmp_path, text)


def test_a_file_that_is_no_yaml_or_absent_is_refused(tmp_path: Path) -> None:
    with raises(UsageError, code="not-yaml"):
        read(tmp_path, "a: [1\n")
    with raises(SpecError, code="file-missing"):
        read_values([tmp_path / "absent.yaml"])


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1_000_000.0, "1000000"),
        (64.0, "64"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (3.5e-12, "3.5e-12"),
        (0.1, "0.1"),
        (-2.5, "-2.5"),
        (2**53 - 1, "9007199254740991"),
        (100.5, "100.5"),
    ],
)
def test_a_number_is_written_exact(number: float, text: str) -> None:
    assert experiment({"spec": {"run": {"x": number}}}) == f"run.x = {text}\n"


@pytest.mark.parametrize("number", [2**53, -(2**53), 1e17, math.inf, math.nan])
def test_a_number_that_cannot_arrive_exact_is_refused(number: float) -> None:
    with raises(UsageError, code="number-not-exact", key="spec.run.x"):
        experiment({"spec": {"run": {"x": number}}})


def test_digits_of_the_first_system_become_numbers() -> None:
    values = {"preprocess": {"sampleTrainRows": "50", "sampleStrategy": "", "sampleSeed": None, "extraHashSalt": "1"}}
    assert experiment(values) == 'preprocess.hash_salt = "1"\nsample.train_rows = 50\n'


def test_null_in_a_list_is_refused() -> None:
    with raises(UsageError, code="value-null", key="spec.task.seasons[0]"):
        experiment({"spec": {"task": {"seasons": [None]}}})


def test_text_is_written_as_toml_takes_it() -> None:
    name = '<a> & "b" \\ \x7f \t \u2028 €'
    text = experiment({"spec": {"dataset": {"name": name}}})
    assert tomllib.loads(text) == {"dataset": {"name": name}}


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"spec": [1]}, "spec"),
        ({"preprocess": 3}, "preprocess"),
        ({"spec": {"sample": "head"}, "preprocess": {"sampleSeed": 1}}, "spec.sample"),
    ],
)
def test_what_is_no_table_is_named(values: dict[str, object], key: str) -> None:
    with raises(UsageError, code="not-a-table", key=key):
        experiment(values)


def test_every_key_is_text_as_in_helm(tmp_path: Path) -> None:
    assert read(tmp_path, "spec: {models: {1: {}, ridge: {true: 2}}}\n") == {
        "spec": {"models": {"1": {}, "ridge": {"true": 2}}}
    }


def test_values_without_end_are_refused(tmp_path: Path) -> None:
    with raises(UsageError, code="nested-too-deep"):
        read(tmp_path, "spec: &whole {task: *whole}\n")


def test_a_file_that_is_absent_is_named_with_the_option_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="--values names a file of values"):
        read_values([tmp_path / "absent.yaml"])
    with pytest.raises(SpecError, match=r"such as .*values\.yaml"):
        read_values([tmp_path])
