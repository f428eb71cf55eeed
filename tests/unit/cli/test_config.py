"""`flts config`: what the rows make of an experiment, and how an older file is upgraded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import Flts

from flts.preprocess.source import RawFile


def shown(flts: Flts, *words: str) -> Mapping[str, Mapping[str, Any]]:
    """The rows of `flts config show` by key."""
    return {row["key"]: row for row in json.loads(flts("config", "show", *words, "--json").out)}


def test_show_says_what_the_rows_make_of_the_values(flts: Flts) -> None:
    rows = shown(flts, "--set", "sample.train_rows=9999", "--set", "sample.seed=7")
    values = {key: (row["value"], row["resolved"]) for key, row in rows.items()}
    assert values["dataset.step"] == ("infer", "1h")
    assert values["task.seasons"] == ("infer", [24])
    assert values["sample.train_rows"] == (9999, 0)
    assert values["sample.seed"] == (7, 42)
    assert values["evaluate.windows"] == (500, 0)
    words = flts("config", "show").out.partition("resolved from the rows")[2]
    assert [line.split(maxsplit=1) for line in words.splitlines()[1:]] == [
        ["rows", "240 for train, 60 for test"],
        ["step", "1h"],
        ["seasons", "24 steps"],
        ["calendar", "minute of day"],
        ["windows", "all 58 test origins"],
    ]


@pytest.mark.usefixtures("ran")
def test_show_reads_no_rows_that_the_store_knows(flts: Flts, monkeypatch: pytest.MonkeyPatch) -> None:
    before = flts("config", "show").out
    monkeypatch.setattr(RawFile, "loaded", lambda self: pytest.fail("a file is read"))
    assert flts("config", "show").out == before


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--source", "elsewhere"), "there is no load.csv"),
        (("--source", "s3://bucket/rows"), "not on this machine"),
        (("--set", "dataset.name="), "names no data"),
        (("--set", "dataset.step=1min"), "hours"),
    ],
)
def test_show_works_where_the_rows_cannot_be_used_and_says_why(
    flts: Flts, folder: Path, words: tuple[str, ...], reason: str
) -> None:
    (folder / "load_test.csv").write_text("time,load\n2018-02-19 22:00:07,1\n2018-02-20 22:00:07,1\nhours,1\n")
    done = flts("config", "show", *words)
    assert done.code == 0
    assert reason in done.out.partition("not resolved from the rows: ")[2]
    assert {row["resolved"] for row in shown(flts, *words).values()} == {None}


def test_diff_compares_what_the_rows_make_of_two_files(flts: Flts, folder: Path) -> None:
    text = (folder / "flts.toml").read_text()
    (folder / "other.toml").write_text(text + "[evaluate]\nwindows = 58\n[sample]\nseed = 1\n")
    same = flts("config", "diff", "flts.toml", "other.toml")
    assert (same.code, same.out.strip()) == (0, "no difference")
    (folder / "load.csv").unlink()
    differing = json.loads(flts("config", "diff", "flts.toml", "other.toml", "--json").out)
    assert {row["key"] for row in differing} == {"evaluate.windows", "sample.seed"}


def test_square_brackets_in_a_name_are_shown_as_they_are(flts: Flts, folder: Path) -> None:
    text = (folder / "flts.toml").read_text()
    (folder / "[other].toml").write_text(text.replace('["load"]', '["[/bold]", "[red]x"]'))
    done = flts("config", "diff", "flts.toml", "[other].toml")
    assert done.code == 1
    assert '["[/bold]", "[red]x"]' in done.out
    assert "[other].toml" in done.out


def test_diff_compares_a_stored_configuration_of_version_1_as_it_is_written(flts: Flts, folder: Path) -> None:
    config = json.loads(flts("run", "--json").out)["config_hash"]
    specs = folder / ".flts/objects/specs"
    stored = json.loads((specs / f"{config}.json").read_text())
    assert stored["dataset"]["step"] == "1h"
    stored = {**stored, "v": 1, "dataset": {**stored["dataset"], "step": "infer"}, "task": {"horizon": 3}}
    (specs / f"{'0' * 64}.json").write_text(json.dumps(stored))
    differing = json.loads(flts("config", "diff", "0" * 10, "flts.toml", "--json").out)
    assert {row["key"]: (row["a"], row["b"]) for row in differing if row["moves"]} == {
        "task.input_length": (10, 12),
        "evaluate.windows": (0, 500),
    }


def test_upgrade_rewrites_the_file_in_place_once(flts: Flts, folder: Path) -> None:
    file = folder / "flts.toml"
    old = file.read_text().replace("v = 2", "# mine\nv = 1 # first") + '[preprocess]\nresample = "mean"\n'
    file.write_text(old)
    file.chmod(0o640)
    refused = flts("run")
    assert refused.error is not None
    assert (refused.code, refused.error.code) == (2, "spec-version")
    done = flts("config", "upgrade")
    assert (done.code, file.read_text()) == (0, old.replace("v = 1 ", "v = 2 "))
    assert "preprocess.resample" in done.out
    assert file.stat().st_mode & 0o777 == 0o640
    assert "already" in flts("config", "upgrade").out
    assert file.read_text() == old.replace("v = 1 ", "v = 2 ")
    assert flts("run").code == 0
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".flts.toml")]


def test_upgrade_follows_a_link(flts: Flts, folder: Path) -> None:
    (folder / "real.toml").write_text("v = 1\n")
    (folder / "link.toml").symlink_to("real.toml")
    assert flts("config", "upgrade", "link.toml").code == 0
    assert (folder / "link.toml").is_symlink()
    assert (folder / "real.toml").read_text() == "v = 2\n"


@pytest.mark.parametrize(
    ("text", "code"), [("v = 3\n", "spec-version"), ("v = ", "not-toml"), ("v = 1\n[tsak]\n", "key-unknown")]
)
def test_a_file_that_cannot_be_upgraded_stays_as_it_is(flts: Flts, folder: Path, text: str, code: str) -> None:
    file = folder / "flts.toml"
    file.write_text(text)
    done = flts("config", "upgrade")
    assert done.error is not None
    assert (done.code, done.error.code) == (2, code)
    assert file.read_text() == text


def test_a_file_that_is_not_there_is_named(flts: Flts) -> None:
    done = flts("config", "upgrade", "no.toml")
    assert done.error is not None
    assert (done.code, done.error.code, done.error.data["file"]) == (2, "file-missing", "no.toml")
