"""Histories as JSON: cells are read strictly, and a refusal names column and row."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from tests.support.experiments import small_experiment
from tests.support.raising import raises
from tests.support.series import hourly
from tests.support.stored import fit

from flts.contracts.errors import DataError
from flts.forecasting.bundle import Bundle, load_bundle
from flts.preprocess.rows import Rows
from flts.preprocess.source import RawFile, RawTable
from flts.server.body import read_body
from flts.server.columns import ON_LOOP, Cells, Constant, exact, quick, usable, utc

ROWS = hourly(300)
LAST = ROWS[:270]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    experiment, store = small_experiment()
    return load_bundle(store, fit(store, experiment).bundle_sha256)


def columns_of(rows: Rows = LAST) -> dict[str, list[Any]]:
    """Rows as a client sends them."""
    times = [
        datetime.fromtimestamp(time // 10**9, UTC).isoformat().replace("+00:00", "Z") for time in rows.times.tolist()
    ]
    values = {
        name: [None if np.isnan(v) else v for v in rows.values[:, i].tolist()] for i, name in enumerate(rows.columns)
    }
    return {"time": times, **values}


def read(bundle: Bundle, columns: dict[str, list[Any]]) -> tuple[Rows, list[str]]:
    """The rows and the codes of the warnings."""
    rows, warnings = asyncio.run(usable(bundle, Cells(columns)))
    return rows, [notice.code for notice in warnings]


def changed(name: str, row: int, cell: Any) -> dict[str, list[Any]]:
    columns = columns_of()
    columns[name][row] = cell
    return columns


def test_plain_rows_are_read_quickly_and_exactly_alike(bundle: Bundle) -> None:
    cells, fitted = Cells(columns_of()), bundle.model.task.fitted
    reading = quick(cells, fitted, "time")
    assert reading is not None
    same = exact(cells, fitted, "time")
    for one in (reading, same):
        assert one.rows.columns == ("load", "wind")
        np.testing.assert_array_equal(one.rows.times, LAST.times)
        np.testing.assert_array_equal(one.rows.values, LAST.select(("load", "wind")))
        assert one.warnings == []


def test_rows_are_cut_to_those_that_the_bundle_uses_without_a_word(bundle: Bundle) -> None:
    rows, codes = read(bundle, columns_of())
    assert (len(rows), codes) == (bundle.rows_used, [])


@pytest.mark.parametrize(
    ("name", "cell", "word"),
    [
        ("load", "1.5", "the text '1.5'"),
        ("load", "", "the text ''"),
        ("load", True, "true"),
        ("wind", False, "false"),
        ("wind", Constant("NaN"), "the literal NaN"),
        ("wind", Constant("-Infinity"), "the literal -Infinity"),
        ("load", [1.5], "a list"),
        ("load", {}, "an object"),
        ("time", 1517875200, "the number 1517875200"),
        ("time", 1.5, "the number 1.5"),
        ("time", True, "true"),
        ("time", "2018-02", "the text '2018-02'"),
        ("time", " 2018-02 ", "the text ' 2018-02 '"),
        ("time", ["2018-02-05"], "a list"),
    ],
)
def test_a_cell_of_another_type_is_refused_with_column_and_row(bundle: Bundle, name: str, cell: Any, word: str) -> None:
    with raises(DataError, code="cell-unfit", column=name, row=260) as raised:
        read(bundle, changed(name, 259, cell))
    assert word in str(raised.value)


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("NaT", "time-not-iso"),
        ("05.02.2018", "time-not-iso"),
        ("2018-02-30T00:00:00Z", "no-such-time"),
        ("2018-02-05T00:00:00", "zones-mixed"),
        ("9999-02-05T00:00:00Z", "year-out-of-range"),
        (None, "time-missing"),
    ],
)
def test_a_time_that_is_none_is_refused_with_its_row(bundle: Bundle, cell: Any, code: str) -> None:
    with raises(DataError, code=code, column="time", row=260):
        read(bundle, changed("time", 259, cell))


def test_a_number_that_is_too_large_is_refused_with_its_row(bundle: Bundle) -> None:
    with raises(DataError, code="value-too-large", column="wind", row=260):
        read(bundle, changed("wind", 259, 1e31))
    with raises(DataError, code="value-infinite", column="wind", row=260):
        read(bundle, changed("wind", 259, float("inf")))


def test_unsorted_rows_are_sorted_with_a_warning_that_names_the_row_as_sent(bundle: Bundle) -> None:
    newest_first = {name: cells[::-1] for name, cells in columns_of().items()}
    rows, warnings = asyncio.run(usable(bundle, Cells(newest_first)))
    np.testing.assert_array_equal(rows.times, read(bundle, columns_of())[0].times)
    assert [(notice.code, notice.row) for notice in warnings] == [("unsorted", 2)]


def test_equal_rows_count_once_with_a_warning_and_other_values_are_refused_with_both_rows(bundle: Bundle) -> None:
    twice = {name: [*cells, cells[200], cells[269]] for name, cells in columns_of().items()}
    rows, warnings = asyncio.run(usable(bundle, Cells(twice)))
    np.testing.assert_array_equal(rows.values, read(bundle, columns_of())[0].values)
    assert [(notice.code, notice.row) for notice in warnings] == [("unsorted", 271), ("rows-repeated", 271)]
    twice["load"][271] = 0.25
    with raises(DataError, code="repeated-times", row=272) as raised:
        read(bundle, twice)
    assert "row 272 that of row 270" in str(raised.value)


def test_a_row_off_the_grid_is_refused_with_its_row_as_sent(bundle: Bundle) -> None:
    columns = {name: cells[::-1] for name, cells in columns_of().items()}
    columns["time"][3] = columns["time"][3].replace(":00:00Z", ":30:00Z")
    with raises(DataError, code="off-grid", row=4):
        read(bundle, columns)


def test_absent_rows_and_nulls_are_empty_cells(bundle: Bundle) -> None:
    absent = {name: [*cells[:260], *cells[262:]] for name, cells in columns_of().items()}
    empty = columns_of()
    for row in (260, 261):
        empty["load"][row] = empty["wind"][row] = None
    (one, first), (two, second) = read(bundle, absent), read(bundle, empty)
    np.testing.assert_array_equal(one.values, two.values)
    assert (first, second) == ([], [])


@pytest.mark.parametrize("cells", [[1.5] * 270, ["text"] * 270, [None] * 270, [True, "a", 1] * 90])
def test_columns_that_the_model_does_not_use_are_named_whatever_they_hold(bundle: Bundle, cells: list[Any]) -> None:
    columns = {"sun": cells, **columns_of(), "rain": cells}
    rows, warnings = asyncio.run(usable(bundle, Cells(columns)))
    np.testing.assert_array_equal(rows.values, read(bundle, columns_of())[0].values)
    assert [(notice.code, notice.column) for notice in warnings] == [("columns-unused", "sun")]
    assert "'sun', 'rain'" in str(warnings[0])


def test_but_not_lists_and_literals_that_json_does_not_have(bundle: Bundle) -> None:
    nested: list[Any] = [[], {}, Constant("NaN")]
    for cell in nested:
        with raises(DataError, code="cell-unfit", column="sun", row=3):
            read(bundle, {**columns_of(), "sun": [0, 0, cell] + [0] * 267})


def test_a_missing_column_is_named(bundle: Bundle) -> None:
    without = {name: cells for name, cells in columns_of().items() if name != "load"}
    with raises(DataError, code="columns-missing", columns=["load"]):
        read(bundle, without)
    with raises(DataError, code="time-column-missing", column="time"):
        read(bundle, {"load": [1.0], "moment": ["2024-01-01"]})
    with raises(DataError, code="no-rows"):
        read(bundle, {})
    with raises(DataError, code="no-rows"):
        read(bundle, {"time": [], "load": [], "wind": []})


def test_too_few_rows_are_refused_with_both_numbers(bundle: Bundle) -> None:
    with raises(DataError, code="history-too-short", found=11, expected=12):
        read(bundle, columns_of(LAST[-11:]))


def test_values_far_from_those_of_training_are_answered_with_a_warning_for_each_column(bundle: Bundle) -> None:
    columns = columns_of()
    columns["load"][265], columns["load"][267], columns["wind"][269] = 4e3, -4e3, 1e6
    _, warnings = asyncio.run(usable(bundle, Cells(columns)))
    assert [(notice.code, notice.column, notice.row) for notice in warnings] == [
        ("outside-training-range", "load", 266),
        ("outside-training-range", "wind", 270),
    ]
    assert "2 values of 'load'" in str(warnings[0])
    columns = columns_of()
    columns["load"][0] = 1e6  # a row that is cut off
    assert read(bundle, columns)[1] == []


@pytest.mark.parametrize("inside", [True, False])
def test_far_means_outside_ten_times_the_range_around_its_middle(bundle: Bundle, inside: bool) -> None:
    (load, _) = bundle.model.task.fitted.columns
    far = (load.minimum + load.maximum) / 2 + (load.maximum - load.minimum) * (4.999 if inside else 5.001)
    assert read(bundle, changed("load", 268, far))[1] == ([] if inside else ["outside-training-range"])


def test_more_rows_than_the_loop_reads_are_read_alike(bundle: Bundle) -> None:
    rows = hourly(ON_LOOP + 300)
    read_rows, codes = read(bundle, columns_of(rows))
    assert codes == []
    np.testing.assert_array_equal(read_rows.values, rows.select(("load", "wind"))[-bundle.rows_used :])


def test_files_and_tables_are_read_by_the_same_rules(bundle: Bundle) -> None:
    columns = columns_of()
    lines = [
        "time,load,wind",
        *(",".join("" if c is None else str(c) for c in row) for row in zip(*columns.values(), strict=True)),
    ]
    file = RawFile("rows.csv", "\n".join(lines).encode())
    expected = read(bundle, columns)[0]
    for raw in (file, RawTable.of("rows", columns)):
        rows, warnings = asyncio.run(usable(bundle, raw))
        np.testing.assert_array_equal(rows.values, expected.values)
        assert warnings == ()


@pytest.mark.parametrize(
    ("text", "zone", "seconds"),
    [
        ("1970-01-02T00:00:00Z", "Europe/Berlin", 86_400),
        ("1970-01-02T01:00:00+01:00", "UTC", 86_400),
        ("1970-01-01 18:30-05:30", "UTC", 86_400),
        ("1970-01-02", "UTC", 86_400),
        ("1970-01-02T00:00:00.500", "UTC", 86_400.5),
        ("1969-12-31T23:59:59.999999999Z", "UTC", -1e-9),
        ("1970-01-02", "Europe/Berlin", None),
        ("1970-01-02Z", "UTC", None),
        ("1970-01", "UTC", None),
        ("1970-01-02T00:00:00,00:00", "UTC", None),
        ("1970-01-02T00:00:00+01:00:00", "UTC", None),
        ("1970-01-02T24:00:00Z", "UTC", None),
        ("1678-12-31T00:00:00Z", "UTC", None),
        ("2261-01-01T00:00:00Z", "UTC", None),
        ("", "UTC", None),
    ],
)
def test_times_of_one_form_become_nanoseconds(text: str, zone: str, seconds: float | None) -> None:
    found = utc([text, text], zone)
    assert (None if found is None else found.tolist()) == (None if seconds is None else [round(seconds * 1e9)] * 2)
    assert utc([text, "1970-01-02T00:00:00.25Z"], zone) is None


QUICK = """
import sys, json, numpy as np
from flts.server.body import read_body
from flts.server.columns import quick
from flts.contracts.records.data import FittedColumn
from flts.preprocess.grid import Grid
from flts.preprocess.transform import FittedPreprocess
from flts.spec.steps import HOUR, Step
column = FittedColumn(name="load", median=0.0, low=None, high=None, center=0.0, scale=1.0, minimum=0.0, maximum=1.0)
grid = Grid(Step.parse("1h"), "Europe/Berlin", False, 0, 0, HOUR // 20)
fitted = FittedPreprocess((column,), ("load",), grid, True, "off", 5, (), (), 0.0)
times = ["2024-01-01T00:00:00+01:00", "2024-01-01T03:00:00+01:00"]
body = {"history": {"time": times, "load": [1, None], "sun": [1, 2]}}
reading = quick(read_body(json.dumps(body).encode()).history, fitted, "time")
print(len(reading.rows), [name for name in ("polars", "pandas", "pyarrow") if name in sys.modules])
"""


@pytest.mark.slow
def test_the_quick_way_imports_no_table_library() -> None:
    done = subprocess.run([sys.executable, "-c", QUICK], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "4 []"


def test_a_body_gives_cells_that_the_bundle_reads(bundle: Bundle) -> None:
    data = b'{"history": {"time": ["2024-01-01T00:00:00Z"], "load": [NaN], "wind": [1]}}'
    history = read_body(data).history
    with raises(DataError, code="cell-unfit", column="load", row=1):
        asyncio.run(usable(bundle, history))
