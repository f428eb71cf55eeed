"""`flts data inspect`: the verdict of a run without the run, findings first, one JSON document on request."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.support.series import hourly, table
from tests.unit.cli.conftest import Flts

Damage = Callable[[pl.DataFrame], pl.DataFrame]


def cell(row: int, column: str, value: Any) -> Damage:
    def damage(rows: pl.DataFrame) -> pl.DataFrame:
        return (
            rows.with_columns(pl.col(column).cast(pl.String))
            .with_row_index("n")
            .with_columns(pl.when(pl.col("n") == row).then(pl.lit(value)).otherwise(pl.col(column)).alias(column))
            .drop("n")
        )

    return damage


DAMAGES: dict[str, Damage] = {
    "an unreadable time": cell(5, "time", "soon"),
    "a time that does not exist": cell(5, "time", "2018-02-30 00:00:00"),
    "mixed zones": cell(5, "time", "2018-02-07 15:00:00+01:00"),
    "no number in the target": cell(5, "load", "broken"),
    "an infinite value": cell(5, "wind", "inf"),
    "a repeated row": lambda rows: pl.concat([rows, rows[3:4]]),
    "irregular rows": lambda rows: rows.with_columns(
        pl.when(pl.int_range(rows.height) % 3 == 1)
        .then(pl.col("time").str.replace("00:00$", "20:00"))
        .otherwise("time")
    ),
    "a constant target": lambda rows: rows.with_columns(load=pl.lit(1.0)),
    "an empty target": lambda rows: rows.with_columns(load=pl.lit(None, dtype=pl.Float64)),
    "too few rows": lambda rows: rows[:12],
    "one row": lambda rows: rows[:1],
    "no row": lambda rows: rows[:0],
    "no times": lambda rows: rows.drop("time"),
    "numbers for times": lambda rows: rows.with_columns(time=pl.int_range(rows.height)),
    "no target": lambda rows: rows.drop("load"),
}


def raw_table() -> pl.DataFrame:
    return table(hourly(300)).with_columns(pl.col("time").dt.to_string("%Y-%m-%d %H:%M:%S"))


@pytest.mark.parametrize("name", DAMAGES)
def test_the_verdict_equals_that_of_a_run(flts: Flts, folder: Path, name: str) -> None:
    (folder / "load_test.csv").unlink()
    DAMAGES[name](raw_table()).write_csv(folder / "load.csv")
    run = flts("run", "--set", "task.input_length=10", "--set", "task.horizon=1")
    errors = [line.removeprefix("error: ") for line in run.err.splitlines() if line.startswith("error: ")]
    assert run.code == 4
    seen = flts("data", "inspect", "load.csv", "--target", "load", "--json")
    assert seen.code == 4
    if seen.out:
        first = json.loads(seen.out)["findings"][0]
        assert [first["severity"], first["message"]] == ["stops", *errors]
    else:
        assert f"error: {errors[0]}" in seen.err
    assert "Traceback" not in seen.err


def test_a_test_file_is_judged_with_its_train_file(flts: Flts, folder: Path) -> None:
    pl.read_csv(folder / "load_test.csv").drop("wind").write_csv(folder / "later.csv")
    run = flts(
        "run", "--set", 'dataset.name=""', "--set", "dataset.train_file=load.csv",
        "--set", "dataset.test_file=later.csv",
    )  # fmt: skip
    seen = flts("data", "inspect", "load.csv", "later.csv", "--json")
    assert (run.code, seen.code) == (4, 4)
    assert json.loads(seen.out)["findings"][0]["message"] in run.err


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from numbers(item)
    elif isinstance(value, float):
        yield value


@pytest.mark.parametrize("name", ["a repeated row", "a constant target", "an empty target", "irregular rows"])
def test_the_document_holds_finite_numbers_only(flts: Flts, folder: Path, name: str) -> None:
    DAMAGES[name](raw_table()).write_csv(folder / "load.csv")
    seen = json.loads(flts("data", "inspect", "load.csv", "--json").out)
    assert all(math.isfinite(number) for number in numbers(seen))
    assert {"findings", "files", "time", "columns", "runs"} <= set(seen)


def test_usable_rows_are_reported_as_usable(flts: Flts) -> None:
    seen = flts("data", "inspect", "load.csv")
    assert seen.code == 0
    assert "flts run would take these rows" in seen.out
    assert "240 train, 60 test; 2 columns" in seen.out
    assert "strong cycle of one day" in seen.out


def test_stops_come_before_warnings_and_warnings_before_notes(flts: Flts, folder: Path) -> None:
    rows = raw_table()
    rows[10, "wind"] = 1e6
    pl.concat([rows, rows[:2]]).write_csv(folder / "load.csv")
    said = json.loads(flts("data", "inspect", "load.csv", "--json").out)["findings"]
    order = [finding["severity"] for finding in said]
    assert set(order) == {"stops", "warning", "note"}
    assert order == sorted(order, key=["stops", "warning", "note"].index)


def test_names_that_look_like_markup_are_shown_as_they_are(flts: Flts, folder: Path) -> None:
    raw_table().rename({"load": "[red]load[/]", "wind": "[/]"}).write_csv(folder / "odd.csv")
    seen = flts("data", "inspect", "odd.csv")
    assert seen.code == 0
    assert "'[red]load[/]'" in seen.out
    assert "\n  [/]" in seen.out


MISTAKES = {
    "no such file": (["laod.csv"], 4, ["laod.csv: no such file", "did you mean 'load.csv'"]),
    "a folder": (["."], 2, ["is a folder"]),
    "an experiment": (["flts.toml"], 2, ["is an experiment"]),
    "no such target": (["load.csv", "--target", "laod"], 4, ["laod", "did you mean 'load'"]),
    "no such time column": (["load.csv", "--time", "tme"], 4, ["tme", "did you mean 'time'"]),
    "no such zone": (["load.csv", "--timezone", "Mars"], 2, ["--timezone", "not a time zone"]),
    "no such test file": (["load.csv", "later.csv"], 4, ["later.csv: no such file"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_message(flts: Flts, name: str) -> None:
    arguments, code, said = MISTAKES[name]
    done = flts("data", "inspect", *arguments)
    assert done.code == code, done
    assert "Traceback" not in done.err
    for part in said:
        assert part in done.err
