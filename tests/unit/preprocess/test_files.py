"""A file that is not a table is refused with a code for what it is instead, and with the line."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest
from tests.support.raising import raises

from flts.contracts.errors import DataError, Plain
from flts.preprocess.dialect import Dialect
from flts.preprocess.files import File, read_file

HEAD = b"time,load\n2020-01-01,1\n"
OTHERS: dict[str, tuple[str, bytes, dict[str, Plain]]] = {
    "file-empty": ("a.csv", b"", {}),
    "wrong-format": ("a.csv", b"PAR1" + HEAD, {"found": "Parquet"}),
    "header-missing": ("a.csv", HEAD.splitlines(keepends=True)[1] * 2, {}),
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


def test_text_that_is_not_of_the_named_encoding_is_refused_with_its_line() -> None:
    rows = HEAD + "2020-01-02,ü\n".encode("latin-1")
    with raises(DataError, code="wrong-encoding", file="a.csv", line=3):
        read_file(File("a.csv", rows, dialect=Dialect(encoding="utf-8")))


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with raises(DataError, code="file-unreadable", file="a.csv"):
        read_file(File("a.csv", tmp_path / "a.csv"))


@pytest.mark.parametrize("folder", ["a", "[a]", "*", "~"])
@pytest.mark.parametrize("name", ["load[12]", "load*", "l?ad1"])
@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet"])
def test_a_path_is_a_name_and_no_pattern(
    kind: str, name: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("a", folder):
        Path(place).mkdir(exist_ok=True)
        for number, stem in enumerate(("load1", name)):
            frame = pl.DataFrame({"time": ["2020-01-01"], "load": [number]})
            path = Path(place, f"{stem}.{kind}")
            if kind == "parquet":
                frame.write_parquet(path.absolute())  # polars takes ~ for a home
            else:
                data = frame.write_csv().encode()
                path.write_bytes(gzip.compress(data) if kind == "csv.gz" else data)
    assert read_file(File(f"{name}.{kind}", Path(folder, f"{name}.{kind}"))).frame["load"].to_list() == [1]
