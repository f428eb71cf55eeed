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


def test_the_rows_to_forecast_are_a_file_of_their_own_or_the_end_of_the_history(flts: Flts, folder: Path) -> None:
    assert flts("run", "--set", 'dataset.known_future=["wind"]').code == 0
    rows = pl.read_csv(folder / "load_test.csv")
    future = rows[50:53].select("time", "wind")
    rows[:50].write_csv(folder / "history.csv")
    future.write_csv(folder / "future.csv")
    pl.concat([rows[:50], future], how="diagonal").write_csv(folder / "both.csv")
    two = flts("forecast", "--input", "history.csv", "--future", "future.csv", "--json")
    one = flts("forecast", "--input", "both.csv", "--json")
    assert json.loads(two.out) == json.loads(one.out)
    future[:1].write_csv(folder / "future.csv")
    done = flts("forecast", "--input", "history.csv", "--future", "future.csv")
    assert (done.code, done.out) == (4, "")
    assert "future.csv: 'wind' is absent for" in done.err
    assert "step 2 of 3" in done.err
    assert flts("forecast", "--input", "history.csv", "--future", "no.csv").code == 4
