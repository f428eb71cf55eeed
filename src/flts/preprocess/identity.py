"""The digests of raw rows: of what was given, unless a dialect that is named makes other rows of it."""

from __future__ import annotations

from dataclasses import replace

from flts.contracts.errors import DataError
from flts.preprocess.dialect import Dialect
from flts.preprocess.read import dialect_of, read_columns
from flts.preprocess.source import Raw, RawInput, RawTable
from flts.spec.lineage import RawDigests


def raw_digests(raw: RawInput, time_column: str) -> RawDigests:
    """The digests that data_hash is made of. Raises DataError for rows that the dialect that is named cannot read."""
    test = raw.test
    if test is not None and test.dialect.named:  # read as the stage reads it
        test = replace(test, hint=dialect_of(raw.train, time_column))
    return RawDigests(_digest(raw.train, time_column), _digest(test, time_column) if test else None)


def _digest(raw: Raw, time_column: str) -> str:
    import polars as pl

    if not raw.dialect.named:
        return raw.digest()
    asked = raw.loaded()
    try:
        found = replace(raw, dialect=Dialect()).loaded()
        if dialect_of(found, time_column) == dialect_of(asked, time_column):
            return raw.digest()
    except DataError:  # without the names it is no table
        pass
    columns = read_columns(asked, time_column, "UTC", [])
    return RawTable(raw.name, pl.DataFrame([columns.times, *columns.numbers])).digest()
