"""A fitted model: the result that commits it, its forecasts of the test windows, its bundle."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from flts.contracts.layout import KEY_PART
from flts.contracts.records.base import Count, Digest, JsonObject, Part, StoredRecord, Upgrade
from flts.contracts.records.data import FittedRecord, upgraded_fitted

Cells = list[list[float]]
"""[horizon][targets]."""
Scale = Literal["constant", "change", "level", "level-above-minimum"]
"""What the errors of a forecast are measured in, see `forecasting.scale`; the last one in bundles of version 1."""


class MadeOn(Part):
    """Where a result was computed; left out of every comparison."""

    absent_when_none = frozenset({"kernels"})

    libraries: dict[str, str]
    """Versions by distribution."""
    processor: str
    kernels: dict[str, str] | None = None
    """What numeric libraries chose for the processor, by library; unknown in results of version 1."""


class Try(Part):
    """One combination of a grid of parameters."""

    parameters: JsonObject
    """The values that differ between the combinations."""
    validation_mse: float | None
    """Mean squared error of the validation windows, targets scaled to their range over train."""
    error: str | None
    """Why it could not be fitted."""


class ModelResult(StoredRecord):
    """`models/<model_hash>/result.json`: the commit point of a fit."""

    absent_when_none = frozenset({"tries"})

    upgrades: ClassVar[Mapping[int, Upgrade]] = {1: dict}  # made_on says nothing of kernels

    v: Literal[2] = 2
    model: str
    model_hash: Digest
    bundle_sha256: Digest
    validation_sha256: Digest
    """Of the forecasts of the validation windows."""
    chosen: JsonObject
    """What the family chose on the validation windows."""
    refit: bool
    """Whether the kept model was fitted again on all of train."""
    curve: list[list[float]]
    """[train loss, validation loss] per epoch."""
    made_on: MadeOn
    tries: list[Try] | None = None
    """Every combination of a grid in its order; the first with the lowest error is kept. None without a grid."""


class WindowsResult(StoredRecord):
    """`models/<model_hash>/windows/<windows_hash>/result.json`: the commit point of the test forecasts."""

    v: Literal[1] = 1
    model_hash: Digest
    windows_hash: Digest
    forecasts_sha256: Digest
    windows: Count


class Latency(StoredRecord):
    """`models/<model_hash>/latency.json`: the duration of one answer with its interval, measured once."""

    v: Literal[1] = 1
    model_hash: Digest
    latency_ms: float
    processor: str


def _file_name(value: str) -> str:
    if value == "manifest.json" or not re.fullmatch(KEY_PART, value):
        raise ValueError("invalid name of a file in a bundle: use one path part other than manifest.json")
    return value


MemberName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""The name of a model, and the folder of its files in a copy of the bundle of an ensemble."""
FileName = Annotated[str, AfterValidator(_file_name)]
"""One part of a key, so that no file lies outside the bundle."""


class BundleFile(Part):
    """One file of a bundle."""

    sha256: Digest
    size: Count


class IntervalOffsets(Part):
    """Split-conformal offsets by level, or the reason why there are none."""

    offsets: dict[str, Cells] | None
    """Multiples of the spread of a history."""
    reason: str | None
    scale: Scale
    scores: str | None
    """The file of the bundle that holds the scores behind the offsets, so that intervals follow the errors in a
    history; None where they are static, and for an ensemble, whose intervals follow those of its members."""


class PackageRecord(Part):
    """The distribution that provides a family."""

    package: str
    release: str
    """Version of the distribution."""


class MemberBundle(Part):
    """A bundle that an ensemble is made of."""

    bundle_sha256: Digest
    weight: Annotated[int, Field(ge=1, le=1000)]
    """Its share is this number over the sum of all."""


class HolidaysRecord(Part):
    """The holidays of a place, as they were known when the model was fitted."""

    place: str
    """A country, or one of its regions."""
    first_year: int
    last_year: int
    """The holidays of later years are not known."""
    dates: list[Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]]


class KnownRecord(Part):
    """The columns that a model uses of the rows to forecast."""

    given: list[str]
    """Those that a request has to bring."""
    holidays: HolidaysRecord | None
    """The dates that make the last column; None for no such column."""


class SelfTest(Part):
    """A history, and the forecast of it by the bundle when the bundle was written."""

    absent_when_none = frozenset({"ahead"})

    ahead: list[list[float | None]] | None = None
    """[horizon][given columns]: what the model was told of the rows to forecast, where it uses such columns."""
    times: list[int]
    values: list[list[float | None]]
    """[rows][columns], None where empty."""
    mean: Cells


def _upgrade_manifest(manifest: JsonObject) -> JsonObject:
    fixed: Any = manifest
    step, newest = fixed["fitted"]["step"], fixed["self_test"]["times"][-1]
    return {
        **manifest,
        "fitted": upgraded_fitted(fixed["fitted"], newest % step),
        "min_measured": 0.0,
        "bounds": [[None, None]] * len(fixed["targets"]),
        "intervals": {**fixed["intervals"], "scale": "level-above-minimum", "scores": None},
    }


class Manifest(StoredRecord):
    """`bundles/<bundle_sha256>/manifest.json`: what a bundle is; its SHA-256 is the bundle's name."""

    absent_when_none = frozenset({"known_future", "package", "members"})

    upgrades: ClassVar[Mapping[int, Upgrade]] = {1: _upgrade_manifest}

    v: Literal[2] = 2
    model: str
    """Name of the family."""
    model_type: str
    code_version: int
    columns: list[str]
    features: list[str]
    targets: list[str]
    units: str
    input_length: int
    horizon: int
    seasons: list[int]
    min_measured: float
    """Share of the last input_length rows of a history that must hold every target; 0 in bundles of version 1."""
    bounds: list[list[float | None]]
    """Lowest and highest forecast of each target in original units, None where there is no limit."""
    history_rows: int
    min_history_rows: int
    uses_history: bool
    trained_until: int
    """UTC nanoseconds of the last train row."""
    chosen: JsonObject
    fitted: FittedRecord
    intervals: IntervalOffsets
    self_test: SelfTest
    files: dict[FileName, BundleFile]
    time_column: str
    """Name of the time column in the rows it was trained on."""
    known_future: KnownRecord | None = None
    """None for a model that sees nothing of the rows to forecast; of an ensemble, what its members use."""
    package: PackageRecord | None = None
    """None for a family of FLTS itself."""
    members: Annotated[dict[MemberName, MemberBundle], Field(min_length=1)] | None = None
    """By model, for an ensemble: the bundles whose weighted mean it forecasts. None for every other bundle."""
