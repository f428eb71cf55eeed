"""The same rows give the same bytes in any process, and reading them gives the rows back."""

from __future__ import annotations

import hashlib
import io
import math
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from tests.support.raising import raises
from tests.support.series import hourly

from flts.contracts.errors import DamagedObject
from flts.preprocess.parquet import ROW_GROUP, from_parquet, rows_from_parquet, rows_to_parquet, to_parquet
from flts.preprocess.rows import Rows

METADATA = {"data_hash": "a" * 64, "preprocess_config": '{"é":1}'}

WRITE = """
import hashlib
import numpy as np
from flts.preprocess.parquet import ROW_GROUP, rows_to_parquet
from flts.preprocess.rows import Rows
count = ROW_GROUP + 1000
values = np.random.default_rng(0).normal(size=(count, 3))
values[::7, 1] = np.nan
rows = Rows(np.arange(count, dtype=np.int64) * 10**9, values, ("a", "b", "c"))
print(hashlib.sha256(rows_to_parquet(rows, {"z": "1", "a": "2", "m": "3"})).hexdigest())
"""


def with_gaps(count: int = 50) -> Rows:
    rows = hourly(count, columns=("load", "wind", "é, \n"))
    rows.values[::5, 1] = math.nan
    rows.values[0] = math.nan
    rows.values[1, 0] = -0.0
    return rows


def equal(a: Rows, b: Rows) -> bool:
    return (
        a.columns == b.columns
        and np.array_equal(a.times, b.times)
        and np.array_equal(a.values, b.values, equal_nan=True)
    )


@pytest.mark.parametrize("count", [1, 50, 1000])
def test_rows_are_read_back_unchanged_with_their_empty_cells(count: int) -> None:
    rows = with_gaps(count + 2)
    back = rows_from_parquet(rows_to_parquet(rows, METADATA), key="k")
    assert equal(back, rows)
    assert back.times.dtype == np.int64
    assert back.values.dtype == np.float64


def test_rows_without_columns_are_read_back_too() -> None:
    rows = Rows(hourly(3).times, np.empty((3, 0)), ())
    assert equal(rows_from_parquet(rows_to_parquet(rows, {}), key="k"), rows)


def test_the_same_rows_are_the_same_bytes() -> None:
    assert rows_to_parquet(with_gaps(), METADATA) == rows_to_parquet(with_gaps(), METADATA)


def test_rows_read_back_are_written_as_the_same_bytes() -> None:
    data = rows_to_parquet(with_gaps(), METADATA)
    assert rows_to_parquet(rows_from_parquet(data, key="k"), METADATA) == data


def test_the_memory_layout_of_rows_does_not_change_the_bytes() -> None:
    rows = with_gaps()
    other = Rows(rows.times.copy(), np.asfortranarray(rows.values), rows.columns)
    part = Rows(np.repeat(rows.times, 2)[::2], np.repeat(rows.values, 2, axis=0)[::2], rows.columns)
    assert rows_to_parquet(other, METADATA) == rows_to_parquet(part, METADATA) == rows_to_parquet(rows, METADATA)


def test_chunks_of_a_table_do_not_change_the_bytes() -> None:
    frame = pl.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"]})
    chunked = pl.concat([frame[:1], frame[1:]], rechunk=False)
    assert chunked.n_chunks() == 2
    assert to_parquet(chunked) == to_parquet(frame)


def test_bytes_do_not_depend_on_threads_or_on_the_hash_seed_of_the_process() -> None:
    digests = set()
    for threads, seed in (("1", "1"), ("2", "2"), ("2", "3")):
        environment = {**os.environ, "POLARS_MAX_THREADS": threads, "PYTHONHASHSEED": seed}
        ended = subprocess.run(
            [sys.executable, "-c", WRITE], env=environment, capture_output=True, text=True, check=True
        )
        digests.add(ended.stdout.strip())
    count = ROW_GROUP + 1000
    values = np.random.default_rng(0).normal(size=(count, 3))
    values[::7, 1] = math.nan
    rows = Rows(np.arange(count, dtype=np.int64) * 10**9, values, ("a", "b", "c"))
    digests.add(hashlib.sha256(rows_to_parquet(rows, {"z": "1", "a": "2", "m": "3"})).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize("row", range(3))
def test_a_changed_cell_time_name_or_note_changes_the_bytes(row: int) -> None:
    rows = with_gaps()
    data = rows_to_parquet(rows, METADATA)
    values, times = rows.values.copy(), rows.times.copy()
    values[row, 2] = 0.0 if math.isnan(values[row, 2]) else math.nan
    times[row] += 1
    others = [
        rows_to_parquet(Rows(rows.times, values, rows.columns), METADATA),
        rows_to_parquet(Rows(times, rows.values, rows.columns), METADATA),
        rows_to_parquet(Rows(rows.times, rows.values, ("load", "wind", "e")), METADATA),
        rows_to_parquet(rows, {**METADATA, "data_hash": "b" * 64}),
    ]
    assert len({data, *others}) == len(others) + 1


def test_other_programs_see_utc_times_floats_nulls_and_the_notes() -> None:
    data = rows_to_parquet(with_gaps(), METADATA)
    frame = from_parquet(data, key="k")
    assert frame.schema == {
        "time": pl.Datetime("ns", "UTC"),
        "load": pl.Float64(),
        "wind": pl.Float64(),
        "é, \n": pl.Float64(),
    }
    assert frame["wind"].null_count() == 10
    assert not frame["wind"].drop_nulls().is_nan().any()
    notes = pl.read_parquet_metadata(io.BytesIO(data))
    assert {key: notes[key] for key in METADATA} == METADATA


@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[:-9], lambda whole: b"x" * len(whole)])
def test_bytes_that_are_no_parquet_are_reported_by_their_key(damage: Callable[[bytes], bytes]) -> None:
    with raises(DamagedObject, code="table-unreadable", key="k"):
        rows_from_parquet(damage(rows_to_parquet(hourly(20), METADATA)), key="k")
