"""A small file that decodes to a large table is refused with its sizes, before anything is decoded."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from tests.support.raising import raises

from flts.contracts.errors import DamagedObject, DataError
from flts.preprocess import files, limits, unpack
from flts.preprocess.files import File, read_file
from flts.preprocess.limits import Limits, check_memory, free_memory
from flts.preprocess.parquet import from_parquet, to_parquet
from flts.preprocess.unpack import most_of_zstd

LINES = 200_000
TEXT = b"time,load\n" + b"1,2\n" * LINES
FEW, LITTLE = Limits(cells=10_000), Limits(memory=100_000)


def zstd(text: bytes) -> bytes:
    buffer = io.BytesIO()
    pl.read_csv(text).write_csv(buffer, compression="zstd")
    return buffer.getvalue()


def parquet(rows: int = LINES) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame({"time": pl.repeat(1, rows, eager=True), "load": pl.repeat("a", rows, eager=True)}).write_parquet(
        buffer
    )
    return buffer.getvalue()


FILES = {
    "a.csv": TEXT,
    "gzip.csv": gzip.compress(TEXT),
    "members.csv": gzip.compress(b"time,load\n") + gzip.compress(b"1,2\n" * LINES),
    "zlib.csv": zlib.compress(TEXT),
    "zstd.csv": zstd(TEXT),
    "a.parquet": parquet(),
}


@pytest.mark.parametrize("kind", ["cells", "memory"])
@pytest.mark.parametrize("name", FILES)
def test_a_table_above_the_limits_is_refused_and_one_below_is_read(name: str, kind: str) -> None:
    with raises(DataError, code="table-too-large", file=name) as refused:
        read_file(File(name, FILES[name], FEW if kind == "cells" else LITTLE))
    sizes = refused.value.data
    assert isinstance(sizes["bytes"], int)
    assert sizes["bytes"] > 80_000 if kind == "cells" else sizes["bytes"] > 100_000
    assert read_file(File(name, FILES[name])).frame.shape == (LINES, 2)


def test_nothing_of_a_refused_file_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object, **__: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(pl, "read_csv", decode)
    monkeypatch.setattr(pl, "read_parquet", decode)
    for name, content in FILES.items():
        with raises(DataError, code="table-too-large"):
            read_file(File(name, content, FEW))


def test_texts_of_a_dictionary_count_for_every_row_that_holds_them() -> None:
    buffer = io.BytesIO()
    pl.DataFrame({"load": pl.repeat("1" * 100_000, 10_000, eager=True)}).write_parquet(buffer)
    content = buffer.getvalue()
    assert len(content) < 10**6
    with raises(DataError, code="table-too-large", bytes=10**9):
        read_file(File("a.parquet", content, Limits(memory=10**8)))


@pytest.mark.parametrize("text", [b"1\n", b"\n"], ids=["short lines", "empty lines"])
def test_a_short_line_counts_as_a_row_of_the_whole_header(text: bytes) -> None:
    wide = b",".join(b"c%d" % number for number in range(2_000)) + b"\n" + text * 2_000
    with raises(DataError, code="table-too-large", columns=2_000):
        read_file(File("a.csv", wide, Limits(cells=10**6)))


def test_a_header_of_commas_is_refused_for_its_columns() -> None:
    with raises(DataError, code="table-too-large", columns=1_000_001):
        read_file(File("a.csv", b"," * 10**6, Limits(memory=10**8)))


def test_a_comma_in_the_first_cells_is_no_column() -> None:
    read = read_file(File("a.csv", b'\xef\xbb\xbf\n"time",load\n1,"2,2,2,2,2"\n', Limits(cells=8)))
    assert read.frame.shape == (1, 2)


def test_one_line_of_zstd_is_bounded_by_its_blocks() -> None:
    line = zstd(b"time,load\n1," + b"a" * 3_000_000 + b"\n")
    assert 3_000_000 < most_of_zstd(io.BytesIO(line)) < 3_300_000
    with raises(DataError, code="table-too-large"):
        read_file(File("a.csv", line, Limits(memory=2_000_000)))


@pytest.mark.parametrize(
    "content",
    [gzip.compress(TEXT, mtime=0)[:-20], gzip.compress(TEXT, mtime=0)[:30] + b"\xff" * 50, zstd(TEXT)[:40]],
    ids=["cut", "changed", "zstd"],
)
def test_a_damaged_compressed_file_is_refused(content: bytes) -> None:
    with pytest.raises(DataError):
        read_file(File("a.csv", content))


def test_a_list_counts_by_its_values() -> None:
    buffer = io.BytesIO()
    pl.DataFrame({"time": [1], "load": [[0.0] * 50_000]}).write_parquet(buffer)
    with raises(DataError, code="table-too-large", rows=1):
        read_file(File("a.parquet", buffer.getvalue(), FEW))


def test_without_a_setting_a_quarter_of_the_free_memory_is_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "free_memory", lambda: 4_000)
    Limits().check("a.csv", 1, 1, 1, 1_000)
    with raises(DataError, code="table-too-large", bytes=1_001):
        Limits().check("a.csv", 1, 1, 1, 1_001)


def test_the_free_memory_is_that_of_the_container_where_it_has_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = free_memory()
    assert 0 < free < 2**50
    monkeypatch.setattr(limits, "CONTAINER", tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() > 5_000
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("4000\n")
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 700\n")
    assert free_memory() == 1_700
    monkeypatch.setattr(limits, "MEMINFO", tmp_path / "absent")
    assert free_memory() == 1_700


def test_a_table_of_the_store_is_read_where_it_fits_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = to_parquet(pl.DataFrame({"a": pl.repeat(1.0, 10_000, eager=True)}))
    assert from_parquet(stored, key="models/x").height == 10_000
    with raises(DamagedObject, code="table-unreadable"):
        from_parquet(stored[:-9], key="models/x")
    monkeypatch.setattr(limits, "free_memory", lambda: 79_999)
    with raises(DataError, code="table-too-large", file="models/x"):
        from_parquet(stored, key="models/x")
    check_memory("models/x", 79_999)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zlib.compress])
@pytest.mark.parametrize("text", [b"time,load\n1," + b"1" * 5000, b"t" * 5000, b"a,b\n1,2\n\0" + b"\0" * 5000 + b"\n"])
def test_a_line_that_does_not_end_is_refused_before_it_is_parsed(
    text: bytes, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LINE_BYTES", 1000)
    monkeypatch.setattr(unpack, "CHUNK", 100)
    with raises(DataError, code="line-too-large", file="a.csv"):
        read_file(File("a.csv", pack(text.replace(b"\0", b"x") if pack is bytes else text)))


def test_many_short_lines_are_no_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LINE_BYTES", 1000)
    monkeypatch.setattr(unpack, "CHUNK", 7)
    assert read_file(File("a.csv", gzip.compress(b"time,load\n" + b"1,2\n" * 5000))).frame.shape == (5000, 2)
