"""A value that nobody means ends in one line with an exit code: no traceback, and no message that fills the screen."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.conftest import Flts, Outcome

pytestmark = pytest.mark.slow

LONG = "n" * 5000
SET: dict[str, tuple[str, int, str]] = {
    "a horizon of 1e40": ("task.horizon=1e40", 2, "value-invalid"),
    "a horizon of 41 digits": (f"task.horizon=1{'0' * 40}", 2, "value-invalid"),
    "a horizon of 6,000 digits": (f"task.horizon=1{'0' * 6000}", 2, "value-invalid"),
    "the largest horizon": (f"task.horizon={10**9}", 4, "train-too-short"),
    "an input length of 10^18": (f"task.input_length={10**18}", 2, "value-invalid"),
    "a long name": (f"dataset.name={LONG}", 2, ""),
    "a long column": (f"dataset.targets=['{LONG}']", 4, "column-missing"),
    "a long key": (f"{LONG}=1", 2, "key-unknown"),
    "a key of 20,000 parts": ("a." * 20_000 + "a=1", 2, "nested-too-deep"),
    "a value 20,000 deep": ("x=" + "[" * 20_000, 2, "nested-too-deep"),
    "a file on another host": ("dataset.source='file://host/path'", 2, "host-in-file-url"),
}
FILES = {
    "a list 20,000 deep": ("x = " + "[" * 20_000 + "]" * 20_000, "nested-too-deep"),
    "a key of 20,000 parts": (".".join(["a"] * 20_000) + " = 1", "nested-too-deep"),
    "a number of 6,000 digits": (f"x = 1{'0' * 6000}", "not-toml"),
    "5,000 unknown keys": ("".join(f"key{number} = 1\n" for number in range(5000)), "key-unknown"),
}


def is_short(ended: Outcome, code: int, name: str) -> None:
    lines = [line for line in ended.err.splitlines() if not line.startswith("{")]
    assert ended.code == code, ended
    assert all(line.startswith("error: ") for line in lines)
    assert 0 < sum(len(line.encode()) for line in lines) <= 4096
    assert name in {"", ended.error.code if ended.error else ""}


@pytest.mark.parametrize("kind", SET)
def test_an_odd_value_is_a_short_message(flts: Flts, kind: str) -> None:
    value, code, name = SET[kind]
    is_short(flts("run", "--set", value), code, name)


@pytest.mark.parametrize("kind", FILES)
def test_an_odd_file_is_a_short_message(flts: Flts, folder: Path, kind: str) -> None:
    text, name = FILES[kind]
    (folder / "odd.toml").write_text(text)
    is_short(flts("run", "odd.toml"), 2, name)


def test_many_windows_are_as_many_as_there_are(flts: Flts) -> None:
    assert flts("run", "--set", f"evaluate.windows={10**18}").code == 0


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize(
    "command",
    [("forecast", "--input", LONG), ("run", LONG), ("data", "inspect", LONG), ("runs", "show", LONG)],
    ids=lambda command: command[0],
)
def test_a_long_name_is_a_short_message(flts: Flts, command: tuple[str, ...]) -> None:
    is_short(flts(*command), 2, "")


def test_a_long_setting_is_a_short_message(flts: Flts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLTS_JOBS", LONG)
    is_short(flts("run"), 2, "setting-invalid")


def test_a_first_experiment_with_a_huge_horizon_is_refused(flts: Flts) -> None:
    ended = flts("init", "load.csv", "--output", "other.toml", "--horizon", str(10**21))
    assert ended.code == 2
    assert "Traceback" not in ended.err
