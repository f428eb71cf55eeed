"""The size of a Parquet file is known from its headers, also where its footer states less than its pages hold."""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flts.preprocess import footer
from flts.preprocess.footer import MAGIC, Size, size_of

FRAME = pl.DataFrame(
    {
        "time": [datetime(2020, 1, 1) + timedelta(hours=n) for n in range(5_000)],
        "load": [n / 7 for n in range(5_000)],
        "on": [n % 2 == 0 for n in range(5_000)],
        "name": [f"station {n % 7}" for n in range(5_000)],
    }
)


def written(frame: pl.DataFrame = FRAME, **options: Any) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "uncompressed"},
        {"row_group_size": 300},
        {"statistics": False},
        {"use_pyarrow": True},
        {"use_pyarrow": True, "pyarrow_options": {"data_page_version": "2.0", "use_dictionary": False}},
        {"use_pyarrow": True, "pyarrow_options": {"data_page_size": 500}},
    ],
    ids=str,
)
def test_rows_columns_and_bytes_are_those_of_the_decoded_table(options: dict[str, Any]) -> None:
    if "use_pyarrow" in options:
        pytest.importorskip("pyarrow")
    size = size_of(io.BytesIO(written(**options)))
    assert (size.rows, size.columns, size.cells) == (5_000, 4, 20_000)
    assert 0.8 * FRAME.estimated_size() < size.memory < 2 * FRAME.estimated_size()


def test_a_table_without_columns_has_no_size() -> None:
    assert size_of(io.BytesIO(written(pl.DataFrame()))) == Size(0, 0, 0, 0)


def varint(number: int) -> bytes:
    head = b""
    while number > 127:
        head, number = head + bytes([number & 127 | 128]), number >> 7
    return head + bytes([number])


def struct(**fields: int | bytes | list[bytes]) -> bytes:
    """A struct of Thrift's compact protocol: f5=1 is field 5; bytes are a struct, a list holds structs."""
    data, last = b"", 0
    for name, value in fields.items():
        number = int(name[1:])
        kind, content = (
            (6, varint(value << 1))
            if isinstance(value, int)
            else (12, value)
            if isinstance(value, bytes)
            else (9, bytes([len(value) << 4 | 12]) + b"".join(value))
        )
        data, last = data + bytes([(number - last) << 4 | kind]) + content, number
    return data + b"\0"


def file_with(page: bytes) -> bytes:
    """A file whose footer states ten rows of one column of doubles, and that holds this page header."""
    chunk = struct(f5=10, f6=80, f7=len(page), f9=4)
    group = struct(f1=[struct(f3=chunk)], f2=80, f3=10)
    end = struct(f1=1, f2=[struct(f5=1), struct(f1=5)], f3=10, f4=[group])
    return MAGIC + page + end + len(end).to_bytes(4, "little") + MAGIC


def test_a_page_with_more_values_than_the_footer_states_counts_with_its_own() -> None:
    honest = struct(f1=0, f2=80, f3=0, f5=struct(f1=10))
    assert size_of(io.BytesIO(file_with(honest))) == Size(10, 1, 10, 80)
    page = struct(f1=0, f2=40, f3=0, f5=struct(f1=10**9))
    assert size_of(io.BytesIO(file_with(page))) == Size(10, 1, 10**9, 8 * 10**9)
    dictionary = struct(f1=2, f2=2**31 - 1, f3=0, f7=struct(f1=10**9))
    assert size_of(io.BytesIO(file_with(dictionary + honest))).memory == 8 * 10**9 + 80


def test_a_file_of_pages_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footer, "MOST_PAGES", 3)
    empty, honest = struct(f1=0, f2=0, f3=0, f5=struct(f1=0)), struct(f1=0, f2=80, f3=0, f5=struct(f1=10))
    assert size_of(io.BytesIO(file_with(empty * 2 + honest))).cells == 10
    with pytest.raises(ValueError, match="pages"):
        size_of(io.BytesIO(file_with(empty * 3 + honest)))


def test_headers_that_are_damaged_are_refused_with_a_reason() -> None:
    whole = written()
    damaged = [
        b"",
        b"PAR1PAR1",
        whole[:-1],
        whole[:-8] + (2**31).to_bytes(4, "little") + MAGIC,
        MAGIC + b"\x1c" * 10_000 + (10_000).to_bytes(4, "little") + MAGIC,
        MAGIC + b"\x19\xf9" * 5_000 + (10_000).to_bytes(4, "little") + MAGIC,
        MAGIC + struct(f1=1) + len(struct(f1=1)).to_bytes(4, "little") + MAGIC,
    ]
    for data in damaged:
        with pytest.raises(ValueError, match=r"."):
            size_of(io.BytesIO(data))


def test_columns_nested_deeper_than_a_parser_can_follow_are_refused() -> None:
    def nested(levels: int) -> bytes:
        column = pl.Series("a", [1])
        for _ in range(levels):
            column = pl.DataFrame({"a": column}).to_struct("a")
        return written(pl.DataFrame([column, pl.Series("b", [1])]))

    assert size_of(io.BytesIO(nested(40))).columns == 2
    with pytest.raises(ValueError, match="too deep"):
        size_of(io.BytesIO(nested(80)))


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=8))
def test_no_bytes_raise_anything_but_a_value_error(place: int, changed: bytes) -> None:
    data = bytearray(SMALL)
    at = place % len(data)
    data[at : at + len(changed)] = changed
    try:
        size_of(io.BytesIO(bytes(data)))
    except ValueError:
        return


SMALL = written(FRAME.head(20), row_group_size=7)
