"""Processed rows: the statistics fitted on train, and the contents of the two Parquet files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, JsonValue

from flts.contracts.records.base import Count, Digest, JsonObject, Part, StoredRecord, Upgrade

CALENDAR = (
    "minute_of_day_sin",
    "minute_of_day_cos",
    "day_of_week_sin",
    "day_of_week_cos",
    "day_of_year_sin",
    "day_of_year_cos",
)
"""Names of the calendar columns."""


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


class GridRecord(Part):
    """The grid that rows lie on, see `preprocess.grid.Grid`."""

    step: str
    timezone: str
    local: bool
    """Whether the steps follow the clock of the zone."""
    phase: int
    """Nanoseconds from the start of a step to the time of its row."""
    first: int
    """Which month of a step of several months comes first."""
    tolerance: int
    """Nanoseconds by which the time of a row may be off."""


class FittedRecord(Part):
    """Everything that is needed to read a history and to compute its features."""

    columns: list[FittedColumn]
    targets: list[str]
    grid: GridRecord
    placed: bool
    """Whether rows are placed on the grid; a bundle of version 1 needs every row of a history instead."""
    resample: str
    """How several rows of one step become one; "off" where each row has a step of its own."""
    max_gap: int
    calendar: list[str]
    """Names of the calendar columns."""
    lags: list[int]
    constant: float


def upgraded_fitted(fitted: Any, phase: int) -> JsonObject:
    """Statistics of version 1: a fixed step counted in UTC, and all calendar columns or none."""
    kept = {key: value for key, value in fitted.items() if key not in {"step", "timezone", "time_features"}}
    step = fitted["step"]
    grid: JsonObject = {
        "step": f"{step}ns",
        "timezone": fitted["timezone"],
        "local": False,
        "phase": phase,
        "first": 0,
        "tolerance": 0,
    }
    calendar: JsonObject = {"calendar": list(CALENDAR) if fitted["time_features"] else []}
    return {**kept, **calendar, "grid": grid, "placed": False, "resample": "off"}


class Absent(Part):
    """Rows of the grid that hold no value; most of them are absent from the file."""

    train: Count
    test: Count


class KnownInput(StoredRecord):
    """`processed-data/by-input/<input_hash>.json`: a repeated run need not read its rows."""

    v: Literal[1] = 1
    input_hash: Digest
    """Of the fields of data_hash with the values that the Spec gives, before the rows resolve them."""
    data_hash: Digest


class MadeOf(Part):
    """The fields of data_hash, see `spec.lineage.data_fields`; only one of them is read back."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue]

    time_column: str


class RowsSummary(Part):
    """What preprocessing learned from the rows, whether or not they are stored."""

    fitted: FittedRecord
    seasons: list[int]
    """Season lengths in steps, shortest first."""
    contiguous: bool
    """Test starts one step after train ends."""
    absent: Absent | None
    """None in a store of version 1, which had no grid."""
    dropped: list[DroppedColumn]
    warnings: list[str]


def _upgrade_meta(meta: JsonObject) -> JsonObject:
    fitted = upgraded_fitted(meta["fitted"], 0)
    return {**{key: value for key, value in meta.items() if key != "regular"}, "fitted": fitted, "absent": None}


class ProcessedMeta(RowsSummary, StoredRecord):
    """`processed-data/<data_hash>/meta.json`: commits the two Parquet files beside it."""

    upgrades: ClassVar[Mapping[int, Upgrade]] = {1: _upgrade_meta}

    v: Literal[2] = 2
    data_hash: Digest
    made_of: MadeOf
    train: RowsPart
    test: RowsPart
