"""Rows on a grid: which rows share a position, how they are aggregated, and what an absent row means."""

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

from flts.contracts.errors import DataError
from flts.preprocess.grid import Grid
from flts.preprocess.infer import infer_grid
from flts.preprocess.place import place
from flts.preprocess.rows import Rows
from flts.spec.fields import ResampleRule
from flts.spec.steps import DAY, Step

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


def every(step: int) -> Grid:
    """A grid of this many nanoseconds."""
    return Grid(Step(step, "ns"), "UTC", local=False)


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
    resampled, _ = place(rows, every(step), rule, "rows")
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
    resampled, notes = place(rows, every(HOUR), rule, "load.csv")
    assert resampled.times.tolist() == [0, HOUR, 2 * HOUR]
    np.testing.assert_array_equal(resampled.values[:, 0], expected)
    merged = f'load.csv: 4 rows became 3 on the grid of 1h by preprocess.resample = "{rule}"; 1 of them are empty'
    assert notes == [merged]


@pytest.mark.parametrize("rule", RULES)
def test_empty_values_are_left_out_and_a_cell_of_empty_values_is_empty(rule: Any) -> None:
    rows = rows_of([0, 1, 2, HOUR, HOUR + 1], [math.nan, 4, math.nan, math.nan, math.nan])
    resampled, _ = place(rows, every(HOUR), rule, "rows")
    np.testing.assert_array_equal(resampled.values[:, 0], [4, math.nan])


def test_cells_start_at_multiples_of_the_step_since_1970_in_utc_also_before_it() -> None:
    start = int(datetime(1969, 12, 31, 22, 30, tzinfo=UTC).timestamp()) * SECOND
    resampled, _ = place(rows_of([start, start + HOUR], [1, 2]), every(6 * HOUR), "mean", "rows")
    assert resampled.times.tolist() == [-6 * HOUR]
    day = int(datetime(2021, 3, 28, 0, 30, tzinfo=UTC).timestamp()) * SECOND
    resampled, _ = place(rows_of([day], [1]), every(24 * HOUR), "mean", "rows")
    assert resampled.times.tolist() == [int(datetime(2021, 3, 28, tzinfo=UTC).timestamp()) * SECOND]


@pytest.mark.parametrize("rule", get_args(ResampleRule))
def test_rows_that_are_on_the_grid_already_stay_unchanged(rule: Any) -> None:
    rows = rows_of([0, HOUR, 2 * HOUR], [1.5, math.nan, -3.25])
    placed, notes = place(rows, every(HOUR), rule, "rows")
    np.testing.assert_array_equal(placed.times, rows.times)
    np.testing.assert_array_equal(placed.values, rows.values)
    assert notes == []


def test_an_absent_row_is_a_row_of_empty_cells_and_is_counted() -> None:
    placed, notes = place(rows_of([0, HOUR, 4 * HOUR], [1, 2, 3], [4, 5, 6]), every(HOUR), "off", "load.csv")
    assert placed.times.tolist() == [0, HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR]
    np.testing.assert_array_equal(placed.values[:, 0], [1, 2, math.nan, math.nan, 3])
    assert np.isnan(placed.values[2:4]).all()
    assert notes == ["load.csv: 2 of 5 rows are absent and count as empty cells"]


def test_rows_a_little_off_get_the_time_of_their_position() -> None:
    times = [-3_000_000, HOUR + 2_000_000, 2 * HOUR, 3 * HOUR - 1_000_000]
    rows = rows_of(times, [1, 2, 3, 4])
    grid = infer_grid(rows.times, "infer", "UTC", "off", "rows")
    placed, notes = place(rows, grid, "off", "rows")
    assert (placed.times.tolist(), notes) == ([0, HOUR, 2 * HOUR, 3 * HOUR], [])
    np.testing.assert_array_equal(placed.values, rows.values)


def test_rows_off_the_grid_are_refused_with_the_first_one_and_what_would_fit() -> None:
    rows = rows_of([0, HOUR, 2 * HOUR + HOUR // 2, 3 * HOUR, 4 * HOUR], [1, 2, 3, 4, 5])
    with raises(DataError, code="off-grid", file="test.csv", row=3, rows=1, step="1h") as raised:
        place(rows, every(HOUR), "off", "test.csv")
    assert "preprocess.resample" in str(raised.value)
    assert "dataset.step" in str(raised.value)
    placed, _ = place(rows, every(HOUR), "last", "test.csv")
    assert placed.values[:, 0].tolist() == [1, 2, 3, 4, 5]


def test_two_rows_of_one_position_are_refused_without_a_rule() -> None:
    rows = rows_of([0, HOUR, HOUR, 2 * HOUR], [1, 2, 3, 4])
    with raises(DataError, code="repeated-times", file="rows.csv", rows=1):
        place(rows, every(HOUR), "off", "rows.csv")


def test_daily_rows_keep_their_dates_when_the_clock_changes() -> None:
    zone = "Europe/Berlin"
    rows = rows_of([*range(0, 40 * DAY, DAY)], [float(i) for i in range(40)])
    grid = Grid(Step(1, "day"), zone, local=True)
    days = grid.times(np.arange(19_800, 19_840))  # 2024-03-18 and on
    placed, notes = place(Rows(np.delete(days, 13), np.delete(rows.values, 13, 0), ("c0",)), grid, "mean", "rows")
    np.testing.assert_array_equal(placed.times, days)
    assert np.flatnonzero(np.isnan(placed.values[:, 0])).tolist() == [13]
    assert notes == ["rows: 1 of 40 rows are absent and count as empty cells"]


def test_a_grid_that_one_wrong_time_makes_huge_is_refused() -> None:
    rows = rows_of([0, SECOND, 10**9 * SECOND], [1, 2, 3])
    for rule in ("mean", "off"):
        with raises(DataError, code="grid-too-sparse", file="rows.csv", rows=3, cells=10**9 + 1):
            place(rows, every(SECOND), rule, "rows.csv")
    placed, _ = place(rows, every(10**7 * SECOND), "mean", "rows.csv")
    assert len(placed) == 101


def test_a_step_that_starts_before_the_earliest_time_is_refused() -> None:
    rows = rows_of([int(datetime(1678, 1, 1, tzinfo=UTC).timestamp()) * SECOND], [1])
    with raises(DataError, code="step-too-long", file="rows.csv"):
        place(rows, every(3650 * DAY), "mean", "rows.csv")
