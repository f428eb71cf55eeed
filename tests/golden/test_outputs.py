"""The outputs of a stage belong to its code version: another output needs another version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.golden import outputs
from tests.golden.cases import evaluate

import flts.evaluate
from flts.evaluate import look
from flts.preprocess import infer
from flts.train import search
from flts.train.determinism import made_on


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the golden files that a test may change."""
    shutil.copytree(outputs.FOLDER, tmp_path / "outputs")
    monkeypatch.setattr(outputs, "FOLDER", tmp_path / "outputs")
    return tmp_path / "outputs"


@pytest.mark.parametrize(
    "stage",
    [*outputs.STAGES, *(pytest.param(name, marks=pytest.mark.slow) for name in outputs.FAMILIES)],
)
def test_the_outputs_are_those_of_the_version(stage: str) -> None:
    reason = outputs.skipped(stage)
    if reason is not None:
        pytest.skip(reason)
    message = outputs.fault(stage)
    assert message is None, message


def test_the_golden_decision_depends_on_the_significance_level() -> None:
    decision = evaluate.not_significant()
    assert decision["outcome"] == "keep"
    numbers = decision["gates"]["champion"]["numbers"]
    assert numbers["level"] == 0.025
    assert 0.025 < numbers["adjusted_p"] < 0.25


@pytest.mark.parametrize(
    ("stage", "changes", "named"),
    [
        ("preprocess", [(infer, "DAY", 43_200 * 10**9)], "summary.seasons"),
        ("train", [(search, "MOST_VALIDATION_ORIGINS", 199)], "fit.validated"),
        ("evaluate", [(look, "ALPHA", 0.5)], "outcome: 'keep' → 'promote'"),
        ("evaluate", [(evaluate, "ERRORS", (("good", 2.0 + 1e-6, 3), *evaluate.ERRORS[1:]))], "mae"),
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
    raised = flts.evaluate.CODE_VERSION + 1
    monkeypatch.setattr(flts.evaluate, "CODE_VERSION", raised)
    monkeypatch.setattr(outputs, "EVERY", outputs.STAGES)
    message = outputs.fault("evaluate")
    assert message is not None
    assert "write them again: python -m tests.golden.outputs" in message
    outputs.main()
    assert outputs.fault("evaluate") is None
    assert json.loads((folder / "evaluate.json").read_bytes())["versions"] == {"evaluate": raised}
    after = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert {name for name in after if before[name] != after[name]} == {"evaluate.json", "judge.json"}


def test_the_command_adds_a_new_case_under_the_same_version_and_keeps_the_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "EVERY", {"evaluate": outputs.STAGES["evaluate"]})
    file = folder / "evaluate.json"
    before = file.read_bytes()
    fewer = json.loads(before)
    del fewer["outputs"]["ties"]
    file.write_text(json.dumps(fewer))
    message = outputs.fault("evaluate")
    assert message is not None
    assert "cases without a golden output" in message
    outputs.main()
    assert file.read_bytes() == before


def test_a_case_that_is_gone_is_reported(folder: Path) -> None:
    file = folder / "evaluate.json"
    stored = json.loads(file.read_bytes())
    stored["outputs"]["another"] = 1
    file.write_text(json.dumps(stored))
    assert "another: gone" in str(outputs.fault("evaluate"))


@pytest.mark.slow
def test_a_family_is_compared_by_its_forecasts_on_another_processor_and_not_with_other_libraries(folder: Path) -> None:
    file = folder / "family-ridge.json"
    stored = json.loads(file.read_bytes())
    stored["made_on"] = made_on(()).model_dump(mode="json") | {"processor": "another"}
    stored["outputs"]["digests"] = {}
    file.write_text(json.dumps(stored))
    assert outputs.skipped("family-ridge") is None
    assert outputs.fault("family-ridge") is None
    stored["outputs"]["forecasts"][0][0][0] *= 1.01
    file.write_text(json.dumps(stored))
    assert "raise the version of ridge in src/flts/models/ridge.py" in str(outputs.fault("family-ridge"))
    stored["made_on"]["libraries"]["numpy"] = "0"
    file.write_text(json.dumps(stored))
    assert "'numpy': '0'" in str(outputs.skipped("family-ridge"))


def test_the_command_refuses_another_output_under_the_same_version(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "evaluate.json").read_bytes()
    monkeypatch.setattr(look, "ALPHA", 0.5)
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
