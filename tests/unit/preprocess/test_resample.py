"""Resampling: which rows share a cell, how they are aggregated, and what an empty cell means."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.raising import raises

from flts.contracts.errors import DataError, SpecError
from flts.preprocess.resample import resample
from flts.preprocess.rows import Rows
from flts.spec.fields import ResampleRule
from flts.spec.sources import validate

SECOND = 10**9
HOUR = 3600 * SECOND
RULES = [rule for rule in get_args(ResampleRule) if rule != "off"]

ORACLE: dict[str, Callable[[list[float]], float]] = {
    "mean": lambda values: math.fsum(values) / len(values),
    "sum": math.fsum,
    "first": lambda values: values[0],
    "last": lambda values: values[-1],
    "min": min,
    "max": max,
}


def rows_of(times: list[int], *columns: list[float]) -> Rows:
    names = tuple(f"c{i}" for i in range(len(columns)))
    return Rows(np.array(times, dtype=np.int64), np.array(columns, dtype=float).T, names)


def by_hand(rows: Rows, rule: str, step: int) -> tuple[list[int], list[list[float]]]:
    """The same in plain Python: a dictionary of cells, then every cell from the first to the last."""
    cells: dict[int, list[list[float]]] = {}
    for time, values in zip(rows.times.tolist(), rows.values.tolist(), strict=True):
        cells.setdefault(time // step, []).append(values)
    times, aggregated = [], []
    for cell in range(min(cells), max(cells) + 1):
        times.append(cell * step)
        columns = [[v[i] for v in cells.get(cell, []) if not math.isnan(v[i])] for i in range(len(rows.columns))]
        aggregated.append([ORACLE[rule](column) if column else math.nan for column in columns])
    return times, aggregated


@given(
    rule=st.sampled_from(RULES),
    step=st.sampled_from([1, 7, HOUR]),
    cells=st.lists(
        st.tuples(
            st.integers(-40, 40),
            st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=2, max_size=2),
        ),
        min_size=1,
        max_size=30,
    ),
)
def test_resampling_is_what_a_dictionary_of_cells_gives(rule: Any, step: int, cells: list[Any]) -> None:
    cells = sorted(cells, key=lambda cell: cell[0])
    rows = rows_of([t * max(step // 3, 1) for t, _ in cells], *([v[i] for _, v in cells] for i in range(2)))
    resampled, _ = resample(rows, rule, step, "rows")
    times, values = by_hand(rows, rule, step)
    assert resampled.times.tolist() == times
    assert resampled.columns == rows.columns
    np.testing.assert_allclose(resampled.values, values, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("mean", [2.0, math.nan, 5.0]),
        ("sum", [6.0, math.nan, 5.0]),
        ("first", [1.0, math.nan, 5.0]),
        ("last", [3.0, math.nan, 5.0]),
        ("min", [1.0, math.nan, 5.0]),
        ("max", [3.0, math.nan, 5.0]),
    ],
)
def test_each_rule_on_three_hours_of_which_the_second_has_no_row(rule: Any, expected: list[float]) -> None:
    rows = rows_of([HOUR // 2, HOUR // 2, HOUR - 1, 2 * HOUR], [1, 2, 3, 5])
    resampled, notes = resample(rows, rule, HOUR, "load.csv")
    assert resampled.times.tolist() == [0, HOUR, 2 * HOUR]
    np.testing.assert_array_equal(resampled.values[:, 0], expected)
    assert notes == [f'load.csv: 4 rows were resampled to 3 by preprocess.resample = "{rule}"; 1 of them are empty']


@pytest.mark.parametrize("rule", RULES)
def test_empty_values_are_left_out_and_a_cell_of_empty_values_is_empty(rule: Any) -> None:
    rows = rows_of([0, 1, 2, HOUR, HOUR + 1], [math.nan, 4, math.nan, math.nan, math.nan])
    resampled, _ = resample(rows, rule, HOUR, "rows")
    np.testing.assert_array_equal(resampled.values[:, 0], [4, math.nan])


def test_cells_start_at_multiples_of_the_step_since_1970_in_utc_also_before_it() -> None:
    start = int(datetime(1969, 12, 31, 22, 30, tzinfo=UTC).timestamp()) * SECOND
    resampled, _ = resample(rows_of([start, start + HOUR], [1, 2]), "mean", 6 * HOUR, "rows")
    assert resampled.times.tolist() == [-6 * HOUR]
    day = int(datetime(2021, 3, 28, 0, 30, tzinfo=UTC).timestamp()) * SECOND
    resampled, _ = resample(rows_of([day], [1]), "mean", 24 * HOUR, "rows")
    assert resampled.times.tolist() == [int(datetime(2021, 3, 28, tzinfo=UTC).timestamp()) * SECOND]


def test_rows_that_are_on_the_grid_already_stay_unchanged() -> None:
    rows = rows_of([0, HOUR, 2 * HOUR], [1.5, math.nan, -3.25])
    for rule in RULES:
        resampled, notes = resample(rows, rule, HOUR, "rows")
        np.testing.assert_array_equal(resampled.times, rows.times)
        np.testing.assert_array_equal(resampled.values, rows.values)
        assert "empty" not in notes[0]


def test_off_leaves_rows_unchanged_without_a_message() -> None:
    rows = rows_of([0, 5, 5], [1, 2, 3])
    assert resample(rows, "off", HOUR, "rows") == (rows, [])


def test_a_grid_that_one_wrong_time_makes_huge_is_refused() -> None:
    rows = rows_of([0, SECOND, 10**9 * SECOND], [1, 2, 3])
    with raises(DataError, code="grid-too-sparse", file="rows.csv", rows=3, cells=10**9 + 1):
        resample(rows, "mean", SECOND, "rows.csv")
    resampled, _ = resample(rows, "mean", 10**7 * SECOND, "rows.csv")
    assert len(resampled) == 101


def test_a_cell_that_starts_before_the_earliest_time_is_refused() -> None:
    rows = rows_of([int(datetime(1678, 1, 1, tzinfo=UTC).timestamp()) * SECOND], [1])
    with raises(DataError, code="step-too-long", file="rows.csv"):
        resample(rows, "mean", 3650 * 24 * HOUR, "rows.csv")


def test_a_rule_without_a_step_is_refused_with_the_key_to_set() -> None:
    with raises(SpecError, code="value-invalid") as raised:
        validate({"preprocess": {"resample": "mean"}})
    assert "set dataset.step" in str(raised.value)
    assert validate({"preprocess": {"resample": "mean"}, "dataset": {"step": "1h"}}).preprocess.resample == "mean"


def test_a_rule_is_in_the_identity_and_no_rule_is_not() -> None:
    assert "resample" not in validate({}).identity()["preprocess"]
    spec = validate({"preprocess": {"resample": "sum"}, "dataset": {"step": "1h"}})
    assert spec.identity()["preprocess"]["resample"] == "sum"
