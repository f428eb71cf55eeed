"""`flts compare` as a person calls it: what is printed, the exit code, and mistakes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.golden.store import unpack
from tests.unit.cli.conftest import Flts

SEVERAL, RIDGE = "21c7a2fa79ba", "54c2954f163c"


@pytest.fixture
def home(folder: Path) -> Path:
    """The working directory holds the folder of earlier runs, and a copy of it."""
    unpack("store-2.zip", folder)
    shutil.copytree(folder / ".flts", folder / "other")
    return folder


def test_runs_of_two_stores_are_compared_by_their_names(flts: Flts, home: Path) -> None:
    done = flts("compare", SEVERAL, f"other#{RIDGE}:1")
    assert (done.code, done.error) == (1, None)
    assert done.out.startswith("A and B: different Spec: ")
    assert f"B: other#{RIDGE}:1" in done.out
    assert "task.input_length" in done.out
    as_folder = flts("compare", SEVERAL, f"other/objects#{RIDGE}:1", "--json")
    found = json.loads(as_folder.out)
    assert (as_folder.code, found["verdicts"][0]["kind"], found["v"]) == (1, "different-spec", 1)
    page = flts("compare", SEVERAL, f"{(home / 'other/objects').as_uri()}#{RIDGE}", "--markdown")
    assert page.out.startswith("# Comparison\n")
    assert page.code == 1


def test_a_copy_of_a_store_is_no_proof_and_a_second_fit_is(flts: Flts, home: Path) -> None:
    done = flts("compare", RIDGE, f"other#{RIDGE}", "--json")
    assert (done.code, json.loads(done.out)["verdicts"][0]["kind"]) == (1, "not-computed-twice")
    folder = next((home / "other/objects/runs").glob(f"{RIDGE}*"))
    again = json.loads((folder / "0001/train-ridge.json").read_text())
    again |= {"started": "2027-01-01T00:00:00+00:00", "ended": "2027-01-01T00:00:01+00:00"}
    (folder / "0001/train-ridge.json").write_text(json.dumps(again))
    done = flts("compare", RIDGE, f"other#{RIDGE}")
    assert (done.code, done.out.partition("\n")[0]) == (
        0,
        "A and B: same result: ridge computed by A and by B, equal to the byte",
    )


def test_a_manifest_is_compared_with_its_store(flts: Flts, home: Path) -> None:
    (home / "run.json").write_text(flts("runs", "show", SEVERAL, "--json").out)
    done = flts("compare", "run.json", SEVERAL, RIDGE, "--json")
    found = json.loads(done.out)
    assert [verdict["kind"] for verdict in found["verdicts"]] == ["not-computed-twice", "different-spec"]
    assert [run["label"] for run in found["runs"]] == ["A", "B", "C"]


def test_a_damaged_part_is_said_and_the_rest_compared(flts: Flts, home: Path) -> None:
    decisions = home / "other/objects/model-promotion/global/decisions"
    for file in decisions.glob("*.json"):
        file.write_text("{}")
    done = flts("compare", RIDGE, f"other#{RIDGE}")
    assert (done.code, done.error) == (1, None)
    assert "is damaged" in done.out
    assert "B: the decision cannot be read" in done.out


MISTAKES = {
    "one run": (SEVERAL, "runs-to-compare"),
    "no run": ("", "command-invalid"),
    "no such configuration": (f"{SEVERAL} 0000", "config-unknown"),
    "no such run": (f"{SEVERAL} {SEVERAL}:9", "run-unknown"),
    "no number": (f"{SEVERAL} {SEVERAL}:newest", "run-invalid"),
    "a folder without runs": (f"{SEVERAL} .", "no-store"),
    "no such folder": (f"{SEVERAL} nowhere#{SEVERAL}", "no-store"),
    "no manifest": (f"{SEVERAL} flts.toml", "not-a-manifest"),
    "no such file": (f"{SEVERAL} nowhere.json", "file-unreadable"),
    "two formats": (f"{SEVERAL} {RIDGE} --json --markdown", "format-twice"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_has_a_code(flts: Flts, home: Path, name: str) -> None:
    words, code = MISTAKES[name]
    done = flts("compare", *words.split())
    assert done.error is not None
    assert (done.error.code, done.code) == (code, 2), done
    assert done.err == "".join(f"error: {line}\n" for line in str(done.error).splitlines())
