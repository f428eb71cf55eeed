"""A small file that decodes to a large table ends each command with exit code 4 and the sizes, before it is decoded."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest
from tests.unit.cli.conftest import Flts

pytestmark = pytest.mark.slow


def bomb(folder: Path) -> Path:
    """20 million cells in some kilobytes of Parquet."""
    file = folder / "bomb.parquet"
    column = pl.repeat(0, 10**7, eager=True)
    pl.DataFrame({"time": column, "load": column}).write_parquet(file)
    assert file.stat().st_size < 200_000
    return file


def test_each_command_refuses_a_table_above_the_limits(
    flts: Flts, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert flts("run").code == 0
    file = str(bomb(folder))
    monkeypatch.setenv("FLTS_MAX_CELLS", "10000000")
    commands = [
        ("run", "--set", "dataset.train_file=bomb.parquet"),
        ("forecast", "--input", file),
        ("data", "inspect", file),
        ("init", file, "--output", "other.toml"),
    ]
    for command in commands:
        ended = flts(*command)
        assert ended.code == 4, (command, ended)
        assert ended.error is not None
        assert ended.error.code == "table-too-large"
        assert (ended.error.data["rows"], ended.error.data["cells"]) == (10**7, 2 * 10**7)
        said = [line for line in ended.err.splitlines() if not line.startswith(("{", "scope: "))]
        assert said == [f"error: {ended.error}"]


@pytest.mark.parametrize("command", ["inspect", "init"])
def test_a_named_pipe_is_refused_and_not_waited_for(flts: Flts, folder: Path, command: str) -> None:
    os.mkfifo(folder / "pipe.csv")
    ended = flts(*{"inspect": ("data", "inspect"), "init": ("init", "--output", "other.toml")}[command], "pipe.csv")
    assert ended.error is not None
    assert ended.error.code == "not-a-file"
