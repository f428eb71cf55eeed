"""`flts forecast`: which champion answered, files that other programs read, several levels, a picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from tests.unit.cli.conftest import Flts

READERS: dict[str, Callable[[Path], Any]] = {
    "out.csv": lambda file: pd.read_csv(file, parse_dates=["time"]),
    "out.json": lambda file: pd.read_json(file, convert_dates=["time"]),
    "out.parquet": lambda file: pd.DataFrame(pl.read_parquet(file).to_dict(as_series=False)),
}


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize("name", READERS)
def test_a_file_holds_every_level_and_times_that_pandas_reads(flts: Flts, folder: Path, name: str) -> None:
    asked = ("forecast", "--input", "load_test.csv", "--levels", "0.5,0.95")
    answer = json.loads(flts(*asked, "--json").out)
    done = flts(*asked, "--output", name)
    assert "champion: ridge, promotion 1 of 'global', " in done.err
    table = READERS[name](folder / name)
    bounds = ["lower_50", "upper_50", "lower_95", "upper_95"]
    assert list(table.columns)[:7] == ["time", "target", "mean", *bounds]
    for column in ("mean", *bounds):
        assert list(table[column]) == pytest.approx([row[column] for row in answer["forecasts"]])
    expected = [pd.Timestamp(row["time"]).tz_localize(None) for row in answer["forecasts"]]
    assert [time.tz_localize(None) for time in table["time"]] == expected
    assert list(table.get("utc_offset", [])) == ([] if name == "out.parquet" else ["+00:00"] * 3)


@pytest.mark.slow
@pytest.mark.usefixtures("ran")
def test_history_and_forecast_are_drawn(flts: Flts, folder: Path) -> None:
    done = flts("forecast", "--input", "load_test.csv", "--plot", "out.png")
    assert done.out.count("load") == 3
    assert "picture: out.png" in done.err
    assert (folder / "out.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--levels", "0.5,x"), "--levels 0.5,x: write numbers separated by commas"),
        (("--levels", ","), "write numbers separated by commas"),
        (("--levels", "0.5,0.7"), "level 0.7 is not available; valid: 0.5, 0.8, 0.9, 0.95"),
        (("--plot", "a.pdf"), "a.pdf: a picture is a .png or a .svg file"),
        (("--output", "a.xlsx"), "write to a .csv, a .parquet or a .json file"),
        (("--plot", "a.png", "--target", "wind"), "'wind' is not forecast; valid: load"),
    ],
)
def test_a_forecast_that_cannot_be_given_as_asked_leaves_nothing(
    flts: Flts, folder: Path, given: Sequence[str], said: str
) -> None:
    before = sorted(folder.iterdir())
    done = flts("forecast", "--input", "load_test.csv", *given)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert sorted(folder.iterdir()) == before
