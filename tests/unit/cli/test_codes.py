"""Each mistake in a command has a code for programs; messages for people are tested beside each command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest
from tests.support.series import hourly, table
from tests.unit.cli.conftest import Flts

CODES: Mapping[str, tuple[str, str]] = {
    "no such file": ("data inspect laod.csv", "file-missing"),
    "a folder": ("data inspect .", "not-a-file"),
    "an experiment": ("data inspect flts.toml", "not-rows"),
    "there already": ("init load.csv", "file-exists"),
    "no folder": ("init load.csv --output nowhere/first.toml", "no-folder"),
    "nothing to forecast": ("init text.csv --output first.toml", "nothing-to-forecast"),
    "several series": ("init panel.csv --output first.toml", "several-series"),
    "no times": ("init times.csv --output first.toml --time time", "no-readable-times"),
    "no output of this kind": ("forecast --input load.csv --output forecast.txt", "output-format"),
    "no folder for forecasts": ("forecast --input load.csv --output nowhere/forecast.csv", "no-folder"),
    "no folder for a picture": ("forecast --input load.csv --plot nowhere/forecast.png", "no-folder"),
    "nothing was run": ("runs list", "no-home"),
    "no data": ("run --set dataset.name=weather", "file-missing"),
    "no name of data": ("run --set dataset.name=", "no-data-named"),
    "wrong setting": ("run --tracking sometimes", "setting-invalid"),
    "no such experiment": ("run absent.toml", "file-missing"),
}


@pytest.mark.parametrize("name", CODES)
def test_a_mistake_has_a_code(flts: Flts, folder: Path, name: str) -> None:
    rows = table(hourly(300))
    pl.concat([rows.with_columns(shop=pl.lit(shop)) for shop in "ab"]).write_csv("panel.csv")
    rows.select("time", load=pl.lit("much")).write_csv("text.csv")
    rows.with_columns(time=pl.lit("yesterday")).write_csv("times.csv")
    command, code = CODES[name]
    done = flts(*command.split())
    assert done.error is not None
    assert (done.error.code, done.code) == (code, done.error.exit_code), done
    assert done.err == "".join(f"error: {line}\n" for line in str(done.error).splitlines())


@pytest.mark.usefixtures("ran")
def test_a_forecast_from_a_missing_file_is_refused(flts: Flts) -> None:
    done = flts("forecast", "--input", "later.csv")
    assert done.error is not None
    assert (done.error.code, done.error.data) == ("file-missing", {"file": "later.csv"})
