"""A mistake of the user is one clear message and exit code 2 or 4: no traceback, nothing half written."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from tests.support.experiments import RIDGE
from tests.unit.cli.conftest import Flts

from flts.home import locked, open_home

MISTAKES = {
    "no such experiment": (["run", "absent.toml"], 2, ["absent.toml", "no such file"]),
    "unknown key": (["run", "--set", "sample.train_row=5"], 2, ["train_row", "did you mean 'train_rows'"]),
    "unknown table": (["run", "--set", "smaple.train_rows=5"], 2, ["smaple", "did you mean 'sample'"]),
    "wrong type": (["run", "--set", "task.horizon=soon"], 2, ["--set task.horizon", "soon"]),
    "value out of range": (["run", "--set", "task.horizon=0"], 2, ["task.horizon", "greater than or equal to 1"]),
    "no equals sign": (["run", "--set", "task.horizon"], 2, ["key=value"]),
    "unknown model": (["run", "--models", "rigde"], 2, ["rigde", "did you mean 'ridge'"]),
    "no model": (["run", "--models", ""], 2, ["--models", "at least one"]),
    "an ensemble of nothing": (["run", "--models", "ensemble"], 2, ["ensemble", "name two or more"]),
    "a trainer of the ensemble": (["worker", "train", "--model", "ensemble"], 2, ["ensemble", "no trainer"]),
    "unknown option": (["run", "--recalculate"], 2, ["--recalculate"]),
    "weights that sum to zero": (
        ["run", "--set", "evaluate.weights={rmse=0,mae=0,mse=0}"],
        2,
        ["evaluate.weights", "sum to zero"],
    ),
    "unknown future": (["run", "--set", 'dataset.known_future=["prize"]'], 4, ["known_future", "'prize'"]),
    "unknown holidays": (["run", "--set", 'dataset.holidays="XX"'], 2, ["dataset.holidays", "'XX'"]),
    "target known ahead": (["run", "--set", 'dataset.known_future=["load"]'], 2, ["known_future", "a target"]),
    "no target": (["run", "--set", "dataset.targets=[]"], 2, ["dataset.targets"]),
    "no data named": (["run", "--set", 'dataset.name=""'], 2, ["dataset.name"]),
    "wrong setting": (["run", "--tracking", "sometimes"], 2, ["tracking", "sometimes"]),
    "missing file": (["run", "--set", "dataset.name=weather"], 4, ["weather.csv", "--source"]),
    "missing folder": (["run", "--source", "nowhere"], 4, ["nowhere", "load.csv"]),
    "missing time column": (["run", "--set", "dataset.time_column=when"], 4, ["load.csv", "when"]),
    "unknown target": (["run", "--set", 'dataset.targets=["laod"]'], 4, ["laod", "did you mean 'load'"]),
    "too few test rows": (["run", "--set", "sample.test_rows=2"], 4, ["2 rows", "at least 3"]),
    "too few train rows": (["run", "--set", "sample.train_rows=14"], 4, ["train", "too few"]),
    "nothing run yet": (["runs", "list"], 2, [".flts", "flts run"]),
    "nothing to forecast with": (["forecast", "--input", "load_test.csv"], 2, [".flts", "flts run"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_message_and_an_exit_code(flts: Flts, folder: Path, name: str) -> None:
    arguments, code, said = MISTAKES[name]
    done = flts(*arguments)
    assert done.code == code, done
    assert "Traceback" not in done.err + done.out
    for part in said:
        assert part in done.err
    promoted = folder / ".flts/objects/model-promotion"
    assert not promoted.exists()


def test_invalid_toml_is_named_with_its_line(flts: Flts, folder: Path) -> None:
    (folder / "flts.toml").write_text(RIDGE + "\n[task\n")
    done = flts("run")
    assert done.code == 2
    assert "flts.toml" in done.err
    assert "line" in done.err


def test_a_missing_extra_is_one_line_that_says_what_to_install(flts: Flts, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def without_prophet(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "prophet" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without_prophet)
    done = flts("run", "--models", "ridge,prophet")
    assert done.code == 2
    errors = [line for line in done.err.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert "pip install" in errors[0]
    assert "flts[prophet]" in errors[0]


def test_a_second_run_in_the_same_folder_names_the_holder(flts: Flts, folder: Path) -> None:
    with locked(open_home(folder / ".flts")):
        done = flts("run")
    assert done.code == 2
    assert "is in use by process" in done.err
    assert "--wait" in done.err


def test_a_folder_of_a_newer_version_is_left_alone(flts: Flts, folder: Path) -> None:
    (folder / ".flts").mkdir()
    (folder / ".flts/VERSION").write_text("2\n")
    done = flts("run")
    assert done.code == 2
    assert "newer format '2'" in done.err
    assert sorted(p.name for p in (folder / ".flts").iterdir()) == ["VERSION"]


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize(
    ("column", "said"),
    [("time", "has no time column"), ("load", "lacks the numeric columns load")],
)
def test_a_history_without_a_column_is_refused_by_name(flts: Flts, folder: Path, column: str, said: str) -> None:
    import polars as pl

    pl.read_csv(folder / "load_test.csv").drop(column).write_csv(folder / "history.csv")
    done = flts("forecast", "--input", "history.csv")
    assert done.code == 4
    assert said in done.err


@pytest.mark.usefixtures("ran")
def test_a_misspelt_column_of_a_history_is_named_beside_the_one_that_is_meant(flts: Flts, folder: Path) -> None:
    import polars as pl

    pl.read_csv(folder / "load_test.csv").rename({"load": "Loads"}).write_csv(folder / "history.csv")
    done = flts("forecast", "--input", "history.csv")
    assert done.err.splitlines()[-1].endswith("the model needs load; 'Loads' is nearly 'load'")


@pytest.mark.usefixtures("ran")
def test_a_level_without_offsets_is_refused(flts: Flts) -> None:
    done = flts("forecast", "--input", "load_test.csv", "--level", "0.7")
    assert done.code == 2
    assert "0.5, 0.8, 0.9, 0.95" in done.err


WRONG_COMMANDS = {
    "unknown option": (["run", "--recalculate"], ["no such option: --recalculate", "--recompute", "`flts run --help`"]),
    "unknown command": (["rnu"], ["no such command 'rnu'", "did you mean 'run'", "`flts --help`"]),
    "unknown command of a group": (["runs", "lst"], ["'lst'", "`flts runs --help`"]),
    "missing option": (["forecast"], ["missing option '--input'", "`flts forecast --help`"]),
    "no value of an option": (["forecast", "--input"], ["--input", "argument"]),
    "one argument too many": (["run", "flts.toml", "two.toml"], ["two.toml", "`flts run --help`"]),
    "no number": (["promotions", "show", "newest"], ["number", "integer", "`flts promotions show --help`"]),
}


@pytest.mark.parametrize("name", WRONG_COMMANDS)
def test_a_wrong_command_is_one_line_that_names_its_help(flts: Flts, name: str) -> None:
    arguments, said = WRONG_COMMANDS[name]
    done = flts(*arguments)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith("error: ")
    for part in said:
        assert part.lower() in line.lower()


def test_a_group_without_a_command_shows_its_help(flts: Flts) -> None:
    done = flts("runs")
    assert done.code == 2
    assert done.err.startswith("Usage: flts runs")
    assert "error" not in done.err.splitlines()[0]


@pytest.mark.parametrize("arguments", [["--version"], ["run", "--help"]])
def test_what_is_no_mistake_ends_with_zero(flts: Flts, arguments: list[str]) -> None:
    done = flts(*arguments)
    assert done.code == 0
    assert "flts" in done.out


@pytest.mark.parametrize(
    ("name", "make", "code", "exit_code"),
    [
        ("pipe.csv", os.mkfifo, "not-a-file", 2),
        ("folder.csv", os.mkdir, "not-a-file", 2),
        ("laod_test.csv", lambda _: None, "file-missing", 4),
    ],
)
def test_a_history_that_is_no_file_is_refused_before_the_champion_is_loaded(
    flts: Flts, folder: Path, name: str, make: Callable[[Path], None], code: str, exit_code: int
) -> None:
    make(folder / name)
    done = flts("forecast", "--input", name)
    assert done.error is not None
    assert (done.code, done.error.code) == (exit_code, code)
    assert name in done.err


def test_a_scope_without_a_promotion_is_told_from_one_with(flts: Flts) -> None:
    flts("run", "--set", "dataset.identifier=north")
    listed = flts("promotions", "list")
    assert (listed.code, listed.out.count("\n")) == (0, 1)
    assert "scope 'global'" in listed.out
    assert "scopes with one: north" in listed.out
    assert flts("promotions", "list", "--json").out.strip() == "[]"
