"""Equal rows in memory have one digest, whatever library holds them; files are found by their names."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from tests.support.raising import raises

from flts.contracts.errors import DataError, SpecError
from flts.preprocess.identity import raw_digests
from flts.preprocess.read import read_rows
from flts.preprocess.source import Raw, RawInput, RawTable, locate
from flts.spec.dataset import Dataset

HOURS = [datetime(2020, 1, 1, hour) for hour in range(4)]
PLAIN = pl.DataFrame({"time": HOURS, "y": [1.0, None, 3.5, 4.0], "n": [1, 2, 3, 4]})


def in_pandas(index: str | None = None, zone: str | None = None, **types: str) -> pd.DataFrame:
    """The rows in pandas, the time as a column or as the index of this name."""
    frame = PLAIN.to_pandas().astype(types)
    if zone:
        frame["time"] = frame["time"].dt.tz_localize("UTC").dt.tz_convert(zone)
    return frame if index is None else frame.set_index("time").rename_axis(index or None)


def in_arrow(**columns: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The rows in Arrow, some columns of another Arrow type."""
    table = PLAIN.to_arrow()
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), name, column)
    return table


class Capsule:
    """A table of a library that FLTS does not know, such as DuckDB: it offers only a stream of Arrow."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


KINDS: dict[str, Callable[[], Any]] = {
    "polars ms": lambda: PLAIN.cast({"time": pl.Datetime("ms"), "y": pl.Float32}),
    "polars us": lambda: PLAIN,
    "polars ns": lambda: PLAIN.cast({"time": pl.Datetime("ns"), "n": pl.Float64}),
    "polars decimals": lambda: PLAIN.cast({"y": pl.Decimal(10, 2), "n": pl.UInt8}),
    "pandas": in_pandas,
    "pandas with the time as index": lambda: in_pandas("time"),
    "pandas with a time index without a name": lambda: in_pandas(""),
    "pandas nullable": lambda: in_pandas(y="Float64", n="Int64"),
    "pandas on Arrow": lambda: in_pandas().convert_dtypes(dtype_backend="pyarrow"),
    "pandas objects": lambda: in_pandas(n="object"),
    "pandas categories": lambda: in_pandas(n="category"),
    "Arrow": in_arrow,
    "Arrow seconds": lambda: in_arrow(time=pa.array(HOURS, pa.timestamp("s"))),
    "Arrow chunks": lambda: pa.concat_tables([in_arrow().slice(0, 1), in_arrow().slice(1)]),
    "Arrow dictionaries": lambda: in_arrow(y=in_arrow()["y"].combine_chunks().dictionary_encode()),
    "Arrow decimals": lambda: in_arrow(y=pa.array([Decimal("1.0"), None, Decimal("3.5"), Decimal(4)])),
    "Arrow record batch": lambda: in_arrow().to_batches()[0],
    "Arrow's stream interface": lambda: Capsule(in_arrow()),
    "lists": lambda: PLAIN.to_dict(as_series=False),
    "arrays": lambda: {name: PLAIN[name].to_numpy() for name in PLAIN.columns},
    "pandas series": lambda: dict(in_pandas().items()),
    "rows": PLAIN.to_dicts,
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_rows_have_the_same_digest_and_values_in_every_kind_of_table(kind: str) -> None:
    table = RawTable.of("rows", KINDS[kind]())
    rows = read_rows(table, Dataset(targets=["y"])).rows
    expected = read_rows(RawTable("rows", PLAIN), Dataset(targets=["y"])).rows
    assert rows.columns == expected.columns
    np.testing.assert_array_equal(rows.times, expected.times)
    np.testing.assert_array_equal(rows.values, expected.values)
    assert table.digest() == RawTable("rows", PLAIN).digest()


def test_dates_are_the_same_rows_as_midnights() -> None:
    days = [date(2020, 1, day) for day in (1, 2, 3)]
    midnights = [datetime(2020, 1, day) for day in (1, 2, 3)]
    assert digest({"time": days, "y": [1, 2, 3]}) == digest({"time": midnights, "y": [1, 2, 3]})


@pytest.mark.parametrize("zone", ["UTC", "Europe/Madrid", "Asia/Kolkata"])
def test_times_with_a_zone_are_the_same_instants_in_every_zone(zone: str) -> None:
    table = RawTable.of("rows", in_pandas("time", zone))
    assert (
        table.digest() == RawTable.of("rows", PLAIN.with_columns(pl.col("time").dt.replace_time_zone("UTC"))).digest()
    )
    assert table.digest() != RawTable("rows", PLAIN).digest()
    rows = read_rows(table, Dataset(targets=["y"], timezone="America/New_York")).rows
    np.testing.assert_array_equal(rows.times, read_rows(RawTable("rows", PLAIN), Dataset(targets=["y"])).rows.times)


def test_text_in_a_dictionary_or_category_is_text() -> None:
    text = PLAIN.with_columns(pl.col("time").cast(pl.String))
    tables = [text, text.cast({"time": pl.Categorical}), text.to_pandas().astype({"time": "category"})]
    assert len({RawTable.of("rows", table).digest() for table in tables}) == 1
    for table in tables:
        assert len(read_rows(RawTable.of("rows", table), Dataset(targets=["y"])).rows) == 4


def test_several_named_levels_of_an_index_become_columns() -> None:
    indexed = in_pandas().set_index(["time", "n"])
    assert RawTable.of("rows", indexed).table.columns == ["time", "n", "y"]


def test_years_out_of_range_have_a_digest_but_are_refused_by_the_reader() -> None:
    far = RawTable.of("rows", {"time": [datetime(9999, 1, 1)], "y": [1.0]})
    assert far.digest() != RawTable.of("rows", {"time": [datetime(9998, 1, 1)], "y": [1.0]}).digest()
    with raises(DataError, code="year-out-of-range", file="rows", found=9999):
        read_rows(far, Dataset(targets=["y"]))


def test_a_decimal_of_256_bits_is_refused_in_one_line() -> None:
    wide = pa.array([Decimal(1), Decimal(2)], pa.decimal256(40, 2))
    with raises(DataError, code="no-table", file="rows") as raised:
        RawTable.of("rows", pa.table({"time": HOURS[:2], "y": wide}))
    assert "\n" not in str(raised.value)


def digest(columns: Any) -> str:
    return RawTable.of("rows", columns).digest()


BASE: dict[str, Any] = {
    "time": ["2020-01-01", "2020-01-02", "2020-01-03"],
    "y": [1.0, None, 3.0],
    "n": [0, 1, None],
    "s": ["a", None, ""],
    "b": [True, False, None],
    "d": [datetime(2020, 1, 1), None, datetime(2020, 1, 3)],
    "m": [Decimal("1.5"), None, Decimal("2.5")],
    "l": [[1], [1, 2], None],
}


def test_the_digest_of_a_table_does_not_depend_on_its_memory_layout() -> None:
    frame = pl.DataFrame(BASE)
    chunked = pl.concat([frame[:1], frame[1:2], frame[2:]], rechunk=False)
    assert chunked.n_chunks() == 3
    sliced = pl.concat([frame, frame])[3:]
    assert digest(frame) == digest(chunked) == digest(sliced) == digest(BASE) == digest(frame.to_arrow())


@pytest.mark.parametrize(("column", "row"), [(name, row) for name in BASE for row in range(3)])
def test_the_digest_of_a_table_changes_with_every_cell(column: str, row: int) -> None:
    frame = pl.DataFrame(BASE)
    cells = list(BASE[column])
    instead = next(v for v in (*BASE[column], None) if v != cells[row])
    cells[row] = instead
    other = frame.with_columns(pl.Series(column, cells, dtype=frame.schema[column]))
    assert digest(other) != digest(frame)


def test_the_digest_of_a_table_distinguishes_an_empty_cell_from_zero_and_empty_text() -> None:
    for empty, instead in ((pl.Series("n", [None], pl.Int64), 0), (pl.Series("s", [None], pl.String), "")):
        assert digest(pl.DataFrame([empty])) != digest(pl.DataFrame([empty.fill_null(instead)]))


def test_the_digest_of_a_table_changes_with_names_kinds_and_their_order() -> None:
    frame = pl.DataFrame(BASE)
    others = [
        frame.rename({"y": "z"}),
        frame.with_columns(pl.col("y").cast(pl.String)),
        frame.with_columns(pl.col("d").dt.replace_time_zone("UTC")),
        frame.select(reversed(frame.columns)),
        frame.reverse(),
        frame[:2],
        frame.drop("l"),
    ]
    assert len({digest(other) for other in (frame, *others)}) == len(others) + 1


def test_the_digest_of_a_table_knows_where_a_text_ends() -> None:
    assert digest({"s": ["a\0b", "c"]}) != digest({"s": ["a", "b\0c"]})
    assert digest({"s": ["a", "b"]}) != digest({"s": ["ab", ""]})


def test_the_digests_of_an_input_are_those_of_its_parts() -> None:
    train, test = RawTable.of("a", {"y": [1]}), RawTable.of("b", {"y": [2]})
    assert raw_digests(RawInput(train, test), "time").test == test.digest()
    assert raw_digests(RawInput(train, None), "time").train == train.digest()
    assert raw_digests(RawInput(train, None), "time").test is None


def located(files: set[str], **dataset: Any) -> RawInput:
    """What a Spec finds in a folder with these files."""
    return locate(Dataset(**dataset), lambda name: name.encode() if name in files else None, "folder")


def names(raw: RawInput) -> tuple[str, str | None]:
    parts: list[Raw | None] = [raw.train, raw.test]
    train, test = (part.name if part else None for part in parts)
    assert train is not None
    return train, test


@pytest.mark.parametrize(
    ("files", "dataset", "expected"),
    [
        ({"a.csv"}, {"name": "a"}, ("a.csv", None)),
        ({"a.csv", "a_test.csv"}, {"name": "a"}, ("a.csv", "a_test.csv")),
        ({"a.parquet", "a_test.csv"}, {"name": "a"}, ("a.parquet", "a_test.csv")),
        ({"a.csv", "a.parquet", "a_test.parquet"}, {"name": "a"}, ("a.csv", "a_test.parquet")),
        ({"x.csv", "y.csv"}, {"train_file": "x.csv"}, ("x.csv", None)),
        ({"x.csv", "y.csv", "a.csv"}, {"name": "a", "train_file": "x.csv", "test_file": "y.csv"}, ("x.csv", "y.csv")),
    ],
)
def test_files_are_found_by_the_name_of_the_data_or_by_their_own(
    files: set[str], dataset: dict[str, str], expected: tuple[str, str | None]
) -> None:
    assert names(located(files, **dataset)) == expected


@pytest.mark.parametrize(
    ("files", "dataset", "missing"),
    [
        (set(), {"name": "a"}, "a"),
        ({"y.csv"}, {"train_file": "x.csv"}, "x.csv"),
        ({"x.csv"}, {"train_file": "x.csv", "test_file": "y.csv"}, "y.csv"),
    ],
)
def test_a_missing_file_is_named_with_the_folder(files: set[str], dataset: dict[str, str], missing: str) -> None:
    with raises(DataError, code="file-missing", file=missing, folder="folder"):
        located(files, **dataset)


@pytest.mark.parametrize(("dataset", "code"), [({}, "no-data-named"), ({"test_file": "y.csv"}, "train-file-unset")])
def test_a_spec_that_names_no_train_rows_is_refused(dataset: dict[str, str], code: str) -> None:
    with raises(SpecError, code=code):
        located({"y.csv"}, **dataset)
