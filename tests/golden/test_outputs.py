"""The outputs of a stage belong to its code version: another output needs another version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.golden import outputs

import flts.evaluate
from flts.evaluate import gate, significance
from flts.preprocess import fit
from flts.train import fitting


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the golden files that a test may change."""
    shutil.copytree(outputs.FOLDER, tmp_path / "outputs")
    monkeypatch.setattr(outputs, "FOLDER", tmp_path / "outputs")
    return tmp_path / "outputs"


@pytest.mark.parametrize("stage", sorted(outputs.STAGES))
def test_the_outputs_are_those_of_the_version(stage: str) -> None:
    message = outputs.fault(stage)
    assert message is None, message


def test_the_golden_decision_depends_on_the_significance_level() -> None:
    decision = outputs.decided()
    assert decision["outcome"] == "keep"
    assert 0.05 < decision["gates"]["champion"]["numbers"]["p"] < 0.5


@pytest.mark.parametrize(
    ("stage", "changes", "named"),
    [
        ("preprocess", [(fit, "DAY", 43_200 * 10**9)], "summary.seasons"),
        ("train", [(fitting, "MOST_VALIDATION_ORIGINS", 5)], "validation_forecasts"),
        ("evaluate", [(significance, "ALPHA", 0.5), (gate, "ALPHA", 0.5)], "outcome: 'keep' → 'promote'"),
        ("evaluate", [(outputs, "ERRORS", (("good", 2.0 + 1e-6, 3), *outputs.ERRORS[1:]))], "mae"),
    ],
    ids=["another season", "fewer validation windows", "ALPHA 0.05 to 0.5", "the sixth digit"],
)
def test_another_output_under_the_same_version_is_reported_with_the_version_to_raise(
    stage: str, changes: list[tuple[Any, str, Any]], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, value in changes:
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(outputs, "MOST_SHOWN", 10_000)
    message = outputs.fault(stage)
    assert message is not None
    assert named in message
    assert f"raise CODE_VERSION in src/flts/{stage}/__init__.py" in message
    assert outputs.COMMAND in message


def test_a_raised_version_asks_for_new_files_and_the_command_writes_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    monkeypatch.setattr(flts.evaluate, "CODE_VERSION", 2)
    message = outputs.fault("evaluate")
    assert message is not None
    assert "write them again: python -m tests.golden.outputs" in message
    outputs.main()
    assert outputs.fault("evaluate") is None
    assert json.loads((folder / "evaluate.json").read_bytes())["versions"] == {"evaluate": 2}
    after = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert {name for name in after if before[name] != after[name]} == {"evaluate.json"}


def test_the_command_refuses_another_output_under_the_same_version(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "evaluate.json").read_bytes()
    monkeypatch.setattr(significance, "ALPHA", 0.5)
    with pytest.raises(SystemExit, match="raise CODE_VERSION in src/flts/evaluate"):
        outputs.main()
    assert (folder / "evaluate.json").read_bytes() == before


@pytest.mark.parametrize(
    ("golden", "found", "expected"),
    [
        ({"a": [1.0, 2.0]}, {"a": [1.0, 2.0 + 1e-10]}, []),
        ({"a": [1.0, 2.0]}, {"a": [1.0, 2.0 + 1e-8]}, ["a[1]: 2.0 → 2.00000001"]),
        ({"a": 1}, {"b": 1}, ["a: gone", "b: added"]),
        ({"a": 1}, {"a": 1.0}, ["a: 1 → 1.0"]),
        ({"a": True}, {"a": 1}, ["a: True → 1"]),
        ({"a": [1]}, {"a": [1, 2]}, ["a: [1] → [1, 2]"]),
        ({"a": None}, {"a": "x"}, ["a: None → 'x'"]),
    ],
)
def test_values_differ_by_more_than_the_last_bits(golden: Any, found: Any, expected: list[str]) -> None:
    assert list(outputs.differences(golden, found)) == expected
