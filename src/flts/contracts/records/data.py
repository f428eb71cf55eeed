"""Processed rows: the statistics fitted on train, and the contents of the two Parquet files."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, JsonValue

from flts.contracts.records.base import Count, Digest, Part, StoredRecord


class RowsPart(Part):
    """One of the two Parquet files."""

    rows: Count
    rows_before: Count
    """Rows before sampling."""
    sha256: Digest
    size: Count
    """Bytes."""


class DroppedColumn(Part):
    """A covariate that was left out, with the reason."""

    column: str
    reason: str


class FittedColumn(Part):
    """Statistics of one column over the train rows, in original units unless stated otherwise."""

    name: str
    median: float
    """Fills a cell that has no recent value before it."""
    low: float | None
    """Lower clip limit; None where outliers are left alone."""
    high: float | None
    """Upper clip limit; None where outliers are left alone."""
    center: float
    scale: float
    """feature = (value + constant - center) / scale."""
    minimum: float
    """Smallest value of the finished train rows."""
    maximum: float
    """Largest one: targets and the composite score are scaled by the range between both."""


class FittedRecord(Part):
    """Everything that is needed to compute the features of a history."""

    columns: list[FittedColumn]
    targets: list[str]
    step: int
    """Nanoseconds between two rows."""
    timezone: str
    max_gap: int
    time_features: bool
    lags: list[int]
    constant: float


class Regularity(Part):
    """Share of the rows that are exactly one step after the row before."""

    train: float
    test: float


class MadeOf(Part):
    """The fields of data_hash, see `spec.lineage.data_fields`; only one of them is read back."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue]

    time_column: str


class RowsSummary(Part):
    """What preprocessing learned from the rows, whether or not they are stored."""

    fitted: FittedRecord
    seasons: list[int]
    """Season lengths in rows, shortest first."""
    contiguous: bool
    """Test starts one step after train ends."""
    regular: Regularity
    dropped: list[DroppedColumn]
    warnings: list[str]


class ProcessedMeta(RowsSummary, StoredRecord):
    """`processed-data/<data_hash>/meta.json`: commits the two Parquet files beside it."""

    v: Literal[1] = 1
    data_hash: Digest
    made_of: MadeOf
    train: RowsPart
    test: RowsPart
