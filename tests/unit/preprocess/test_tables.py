"""The same table is taken from memory, Parquet and CSV alike, or refused with the column's name."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.raising import raises

from flts.contracts.errors import DataError
from flts.preprocess.read import Reading, read_rows
from flts.preprocess.source import Raw, RawFile, RawTable
from flts.spec.dataset import Dataset

NAIVE = [datetime(2024, 1, 1, hour) for hour in range(3)]
HALF_HOURS = timezone(timedelta(hours=5, minutes=30))
ZONED = [time.replace(tzinfo=HALF_HOURS) for time in NAIVE]


def in_parquet() -> Raw:
    buffer = io.BytesIO()
    table = pa.table({"time": pa.array(ZONED, pa.timestamp("us", "+05:30")), "y": [1.0, 99.5, 3.0]})
    pq.write_table(table, buffer)  # polars cannot write such a zone
    return RawFile("a.parquet", buffer.getvalue())


def categories_in_parquet() -> Raw:
    buffer = io.BytesIO()
    text = pl.DataFrame({"time": [str(time) for time in NAIVE], "y": ["1", "99.5", "3"]})
    text.cast(pl.Categorical).write_parquet(buffer)
    return RawFile("a.parquet", buffer.getvalue())


def of(table: Any) -> Raw:
    return RawTable.of("rows", table)


def read(raw: Raw) -> Reading:
    return read_rows(raw, Dataset(targets=["y"]))


Y = [1, 99.5, 3]
LISTS = b'time,y,l\n2024-01-01T00,1,"[1, 2]"\n2024-01-01T01,99.5,x\n2024-01-01T02,3,\n'
SHORT_OFFSETS = b"time,y\n2024-01-01T00:00+05:30,1\n2024-01-01T01+0530,99.5\n2024-01-01T02+05:30,3\n"
TABLES: dict[str, Callable[[], Raw]] = {
    "whole numbers and others": lambda: of({"time": NAIVE, "y": Y}),
    "decimals and whole numbers": lambda: of({"time": NAIVE, "y": [1, Decimal("99.5"), 3.0]}),
    "text in an unused column": lambda: of(pd.DataFrame({"time": NAIVE, "y": Y, "note": [1, "late", None]})),
    "lists in an unused column": lambda: of({"time": NAIVE, "y": Y, "lists": [[1], 2, "x"]}),
    "numbers as objects": lambda: of(pd.DataFrame({"time": NAIVE, "y": ["1", "99.5", "3"]}, dtype=object)),
    "categories": lambda: of(pd.DataFrame({"time": NAIVE, "y": pd.Series(Y).astype("category")})),
    "categories in Parquet": categories_in_parquet,
    "times as objects": lambda: of({"time": [NAIVE[0], "2024-01-01 01:00", "2024-01-01T02"], "y": Y}),
    "lists in CSV": lambda: RawFile("a.csv", LISTS),
}
OFFSETS: dict[str, Callable[[], Raw]] = {
    "lists": lambda: of({"time": ZONED, "y": Y}),
    "pandas": lambda: of(pd.DataFrame({"time": pd.DatetimeIndex(ZONED), "y": Y})),
    "pandas objects": lambda: of(pd.DataFrame({"time": pd.Series(ZONED, dtype=object), "y": Y})),
    "Arrow": lambda: of(pa.table({"time": pa.array(ZONED, pa.timestamp("us", "+05:30")), "y": [1.0, 99.5, 3.0]})),
    "Parquet": in_parquet,
    "CSV": lambda: RawFile("a.csv", SHORT_OFFSETS),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_with_odd_columns_is_taken(kind: str) -> None:
    reading = read(TABLES[kind]())
    assert reading.rows.values[:, reading.rows.columns.index("y")].tolist() == Y
    assert reading.rows.times.tolist() == read(of({"time": NAIVE, "y": Y})).rows.times.tolist()
    left_out = {"text in an unused column": ["note"], "lists in an unused column": ["lists"], "lists in CSV": ["l"]}
    assert [notice.column for notice in reading.warnings] == left_out.get(kind, [])


@pytest.mark.parametrize("kind", OFFSETS)
def test_an_offset_of_half_an_hour_is_taken(kind: str) -> None:
    reading = read(OFFSETS[kind]())
    assert np.datetime64(int(reading.rows.times[0]), "ns") == np.datetime64("2023-12-31T18:30")
    assert reading.rows.values[:, 0].tolist() == Y


@pytest.mark.parametrize("kind", ["memory", "pandas", "CSV"])
def test_a_number_beyond_every_type_of_integer_is_read(kind: str) -> None:
    table: dict[str, list[Any]] = {"time": NAIVE, "y": [1, 2**70, 3]}
    text = "time,y\n" + "".join(f"{time},{y}\n" for time, y in zip(NAIVE, table["y"], strict=True))
    raw = RawFile("a.csv", text.encode()) if kind == "CSV" else of(pd.DataFrame(table) if kind == "pandas" else table)
    assert read(raw).rows.values[1, 0] == float(2**70)


def test_periods_are_their_starts() -> None:
    months = pd.period_range("2024-01", periods=3, freq="M")
    for table in (pd.DataFrame({"y": Y}, index=months), pd.DataFrame({"time": months, "y": Y})):
        times = read(of(table)).rows.times
        assert [str(np.datetime64(int(time), "ns"))[:10] for time in times] == [
            "2024-01-01",
            "2024-02-01",
            "2024-03-01",
        ]


@pytest.mark.parametrize("cells", [[1, "late", 3], ["1", "late", "3"]])
def test_a_target_with_text_is_refused_by_name_and_row(cells: list[Any]) -> None:
    with raises(DataError, code="not-a-number", column="y", row=2):
        read(of(pd.DataFrame({"time": NAIVE, "y": cells})))


def test_a_series_of_pandas_is_a_table_of_one_column() -> None:
    series = pd.Series([1.0, 2.0, 3.0], pd.DatetimeIndex(NAIVE), name="y")
    read = read_rows(RawTable.of("train", series), Dataset(targets=["y"]))
    assert (read.rows.columns, read.rows.values.tolist()) == (("y",), [[1.0], [2.0], [3.0]])
    assert RawTable.of("train", series.rename(None)).table.columns == ["time", "value"]


def test_a_column_of_cells_that_no_table_holds_is_refused_by_name() -> None:
    table = pd.DataFrame({"time": NAIVE, "y": np.ones(3, complex)})
    with raises(DataError, code="not-a-number", column="y"):
        read_rows(RawTable.of("train", table), Dataset(targets=["y"]))


@pytest.mark.parametrize("name", ["^$", "^y$", "^.*$"])
def test_a_name_that_stands_for_a_pattern_is_refused_in_every_kind_of_table(name: str) -> None:
    table, buffer = {"time": NAIVE, "y": [1.0, 99.5, 3.0], name: ZONED}, io.BytesIO()
    pq.write_table(pa.table(table), buffer)
    kinds = (of, lambda rows: of(pd.DataFrame(rows)), lambda rows: of(pa.table(rows)))
    for raw in (*kinds, lambda _: RawFile("a.parquet", buffer.getvalue())):
        with raises(DataError, code="column-pattern", column=name):
            read(raw(table))


@pytest.mark.parametrize("name", ["*", "^", "$", "^y", "y$", "^y$ "])
def test_a_name_that_only_looks_like_a_pattern_is_one_of_a_column(name: str) -> None:
    found = read_rows(of({"time": NAIVE, name: Y}), Dataset(targets=[name]))
    assert found.rows.values[:, 0].tolist() == Y
