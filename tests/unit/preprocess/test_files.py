"""A file that is not a table is refused with a code for what it is instead, and with the line."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.raising import raises

from flts.contracts.errors import DataError, Plain
from flts.preprocess.files import File, read_file

HEAD = b"time,load\n2020-01-01,1\n"
OTHERS: dict[str, tuple[str, bytes, dict[str, Plain]]] = {
    "file-empty": ("a.csv", b"", {}),
    "wrong-format": ("a.csv", b"PAR1" + HEAD, {"found": "Parquet"}),
    "wrong-encoding": ("a.csv", HEAD + "2020-01-02,ü\n".encode("latin-1"), {"line": 3}),
    "wrong-delimiter": ("a.csv", HEAD.replace(b",", b";"), {"found": ";"}),
    "line-too-long": ("a.csv", HEAD + b"2020-01-02,1,5\n", {"line": 3, "found": 3, "expected": 2}),
    "wrong-line-ends": ("a.csv", HEAD.replace(b"\n", b"\r"), {}),
    "column-twice": ("a.csv", HEAD.replace(b"time", b"load"), {"column": "load"}),
    "not-csv": ("a.csv", b'time,load\n"a,1\n', {}),
    "not-parquet": ("a.parquet", HEAD, {}),
}


@pytest.mark.parametrize("code", OTHERS)
def test_a_file_that_is_not_a_table_is_refused_for_what_it_is(code: str) -> None:
    name, content, data = OTHERS[code]
    with raises(DataError, code=code, file=name, **data):
        read_file(File(name, content))


def test_zero_bytes_mean_another_encoding() -> None:
    with raises(DataError, code="wrong-encoding", file="a.csv"):
        read_file(File("a.csv", HEAD.decode().encode("utf-16-le")))


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with raises(DataError, code="file-unreadable", file="a.csv"):
        read_file(File("a.csv", tmp_path / "a.csv"))
