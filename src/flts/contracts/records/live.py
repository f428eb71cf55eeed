"""The live error of a scope: its logged forecasts beside the truth that came later."""

from __future__ import annotations

from typing import Literal

from flts.contracts.records.base import Count, Digest, Number, Part, ScopeName, StoredRecord
from flts.contracts.records.decision import WeightsRecord


class LiveTarget(Part):
    """Errors of one target, in its original unit and scaled."""

    cells: Count
    rmse: float
    mae: float
    scaled_rmse: float
    scaled_mae: float


class LiveErrors(Part):
    """Errors over the cells that have both a forecast and truth, scaled as on the scoreboard."""

    cells: Count
    rmse: float
    mae: float
    mse: float
    targets: dict[str, LiveTarget]
    """By target, of those with truth."""


class LiveSkill(Part):
    """The share of the baseline's composite score that the forecasts removed, on the cells that both forecast."""

    baseline: str
    season: int
    """Rows."""
    cells: Count
    score: float | None
    """Composite score of the forecasts on these cells; None without any."""
    baseline_score: float | None
    skill: float | None
    reason: str | None
    """Why there is no skill."""


class LiveStep(Part):
    """Errors at one step of the horizon."""

    step: Number
    errors: LiveErrors


class LiveCoverage(Part):
    """How often the intervals of one level held the truth, and their mean width, scaled."""

    cells: Count
    coverage: float
    width: float


class LiveModel(Part):
    """One of the models that answered."""

    model_hash: Digest
    model_type: str
    promotions: list[int]
    origins: Count
    errors: LiveErrors
    skill: LiveSkill


class LiveTruth(Part):
    """The file of truth."""

    file: str
    """Its name, without its folder."""
    sha256: Digest
    rows: Count
    """On the grid."""
    first: str
    last: str


class LiveDay(Part):
    """The parts of one day."""

    parts: Count
    sha256: Digest
    """Of the canonical JSON of an object that holds the SHA-256 of every part by its key."""


class Live(StoredRecord):
    """`inference-logs/<scope>/live.json`: a projection of logged forecasts and truth, which can be made again."""

    v: Literal[1] = 1
    scope: ScopeName
    flts: str
    made: str
    """When, RFC 3339 UTC."""
    promotion: Number
    """The newest one; by its bundle rows are read and errors are scaled."""
    bundle_sha256: Digest
    weights: WeightsRecord
    truth: LiveTruth
    days: dict[str, LiveDay]
    """What was read, by day."""
    requests: Count
    """Answered requests and batches."""
    first_origin: str | None
    last_origin: str | None
    """Of the forecasts with truth; None without any."""
    awaiting: Count
    """Forecast cells that have no truth."""
    left_out: dict[str, Count]
    """Logged cells that do not count, by reason; lines for what cannot be read."""
    errors: LiveErrors | None
    """None while no forecast has truth."""
    steps: list[LiveStep]
    coverage: dict[str, LiveCoverage]
    """By level."""
    skill: LiveSkill | None
    models: list[LiveModel]
    """In the order in which they answered first."""
