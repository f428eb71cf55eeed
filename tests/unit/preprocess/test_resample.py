"""Resampling: which rows share a cell, what becomes of them, and what an empty cell means."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flts.contracts.errors import DataError, SpecError
from flts.preprocess.resample import resample
from flts.preprocess.rows import Rows
from flts.spec.fields import ResampleRule
from flts.spec.sources import validate

SECOND = 10**9
HOUR = 3600 * SECOND
RULES = [rule for rule in get_args(ResampleRule) if rule != "off"]

ORACLE: dict[str, Callable[[list[float]], float]] = {
    "mean": lambda found: math.fsum(found) / len(found),
    "sum": math.fsum,
    "first": lambda found: found[0],
    "last": lambda found: found[-1],
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
    times, made = [], []
    for cell in range(min(cells), max(cells) + 1):
        times.append(cell * step)
        found = [[v[i] for v in cells.get(cell, []) if not math.isnan(v[i])] for i in range(len(rows.columns))]
        made.append([ORACLE[rule](column) if column else math.nan for column in found])
    return times, made


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
    made, _ = resample(rows, rule, step, "rows")
    times, values = by_hand(rows, rule, step)
    assert made.times.tolist() == times
    assert made.columns == rows.columns
    np.testing.assert_allclose(made.values, values, rtol=1e-9, atol=1e-6)


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
    made, said = resample(rows, rule, HOUR, "load.csv")
    assert made.times.tolist() == [0, HOUR, 2 * HOUR]
    np.testing.assert_array_equal(made.values[:, 0], expected)
    assert said == [f'load.csv: 4 rows were resampled to 3 by preprocess.resample = "{rule}"; 1 of them are empty']


@pytest.mark.parametrize("rule", RULES)
def test_empty_cells_are_left_out_and_nothing_but_empty_cells_stays_empty(rule: Any) -> None:
    rows = rows_of([0, 1, 2, HOUR, HOUR + 1], [math.nan, 4, math.nan, math.nan, math.nan])
    made, _ = resample(rows, rule, HOUR, "rows")
    np.testing.assert_array_equal(made.values[:, 0], [4, math.nan])


def test_cells_start_at_multiples_of_the_step_since_1970_in_utc_also_before_it() -> None:
    start = int(datetime(1969, 12, 31, 22, 30, tzinfo=UTC).timestamp()) * SECOND
    made, _ = resample(rows_of([start, start + HOUR], [1, 2]), "mean", 6 * HOUR, "rows")
    assert made.times.tolist() == [-6 * HOUR]
    day = int(datetime(2021, 3, 28, 0, 30, tzinfo=UTC).timestamp()) * SECOND
    made, _ = resample(rows_of([day], [1]), "mean", 24 * HOUR, "rows")
    assert made.times.tolist() == [int(datetime(2021, 3, 28, tzinfo=UTC).timestamp()) * SECOND]


def test_rows_that_lie_on_the_grid_already_stay_what_they_are() -> None:
    rows = rows_of([0, HOUR, 2 * HOUR], [1.5, math.nan, -3.25])
    for rule in RULES:
        made, said = resample(rows, rule, HOUR, "rows")
        np.testing.assert_array_equal(made.times, rows.times)
        np.testing.assert_array_equal(made.values, rows.values)
        assert "empty" not in said[0]


def test_off_leaves_rows_alone_and_says_nothing() -> None:
    rows = rows_of([0, 5, 5], [1, 2, 3])
    assert resample(rows, "off", HOUR, "rows") == (rows, [])


def test_a_grid_that_one_wrong_time_makes_endless_is_refused() -> None:
    rows = rows_of([0, SECOND, 10**9 * SECOND], [1, 2, 3])
    with pytest.raises(
        DataError, match=r"^rows\.csv: preprocess\.resample would make 1,000,000,001 rows of 3; the fir"
    ):
        resample(rows, "mean", SECOND, "rows.csv")
    made, _ = resample(rows, "mean", 10**7 * SECOND, "rows.csv")
    assert len(made) == 101


def test_a_cell_that_starts_before_times_can_be_kept_is_refused() -> None:
    rows = rows_of([int(datetime(1678, 1, 1, tzinfo=UTC).timestamp()) * SECOND], [1])
    with pytest.raises(DataError, match=r"dataset\.step would start before times can be kept"):
        resample(rows, "mean", 3650 * 24 * HOUR, "rows.csv")


def test_a_rule_without_a_step_is_refused_with_the_key_to_set() -> None:
    with pytest.raises(SpecError) as raised:
        validate({"preprocess": {"resample": "mean"}})
    assert str(raised.value) == (
        'preprocess.resample = "mean" needs the step of its grid: set dataset.step, such as "1h", instead of "infer"'
    )
    assert validate({"preprocess": {"resample": "mean"}, "dataset": {"step": "1h"}}).preprocess.resample == "mean"


def test_a_rule_is_in_the_identity_and_no_rule_is_not() -> None:
    assert "resample" not in validate({}).identity()["preprocess"]
    spec = validate({"preprocess": {"resample": "sum"}, "dataset": {"step": "1h"}})
    assert spec.identity()["preprocess"]["resample"] == "sum"
