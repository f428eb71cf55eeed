"""A pattern stands for columns, a name for itself, and both are named in errors and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from tests.support.raising import raises
from tests.support.series import hourly, table

import flts
from flts.contracts.errors import DataError
from flts.settings import Settings, load_settings
from flts.spec.targets import targets_among

COLUMNS = ("P1", "Q1", "P2", "P*", "a[1]", "P1.x")


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["Q1", "P1"], ["Q1", "P1"]),
        (["*1"], ["P1", "Q1"]),
        (["P*1*"], ["P1", "P1.x"]),
        (["P*"], ["P*"]),
        (["P?"], ["P?"]),
        (["a[1]", "a[*"], ["a[1]"]),
        (["P2", "*"], ["P2", "P1", "Q1", "P*", "a[1]", "P1.x"]),
        (["p*", "P1"], ["p*", "P1"]),
        (["*.x"], ["P1.x"]),
        ([], []),
    ],
)
def test_a_star_stands_for_any_characters_and_nothing_else_is_a_pattern(
    patterns: Sequence[str], found: Sequence[str]
) -> None:
    assert targets_among(patterns, COLUMNS) == found
    assert targets_among(found, COLUMNS) == found


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / ".flts", tracking="off")


ROWS = table(hourly(300)).with_columns(P1="load", P2="wind", text=pl.lit("x")).drop("load")
VALUES = {"task": {"input_length": 12, "horizon": 3}, "models": {"ridge": {}}}


@pytest.mark.slow
def test_a_run_forecasts_every_column_of_a_pattern(settings: Settings) -> None:
    result = flts.run({**VALUES, "dataset": {"targets": ["P*"]}}, train=ROWS, settings=settings)
    assert result.decision.yardstick.targets == ["P1", "P2"]
    assert flts.load_champion(settings=settings).forecast(ROWS)["target"].to_list() == ["P1", "P2"] * 3
    again = flts.run({**VALUES, "dataset": {"targets": ["P1", "P2"]}}, train=ROWS, settings=settings)
    assert (again.config_hash, again.reused) == (result.config_hash, True)


@pytest.mark.parametrize(
    ("targets", "change", "code", "column"),
    [
        (["Q*"], {}, "column-missing", "Q*"),
        (["t*"], {}, "column-missing", "t*"),
        (["P*"], {"P2": pl.lit(1.0)}, "target-constant", "P2"),
        (["P*"], {"P2": pl.lit(None, pl.Float64)}, "target-dropped", "P2"),
    ],
    ids=["no such column", "text alone", "a constant column", "an empty column"],
)
def test_a_pattern_that_names_nothing_or_no_target_is_refused(
    settings: Settings, targets: Sequence[str], change: dict[str, pl.Expr], code: str, column: str
) -> None:
    with raises(DataError, code=code, column=column):
        flts.run({**VALUES, "dataset": {"targets": targets}}, train=ROWS.with_columns(**change), settings=settings)
