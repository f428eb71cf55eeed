"""A line of a batch forecast, as `inference-logs/` keeps it."""

from __future__ import annotations

from flts.contracts.records.base import Digest, Part


class ForecastLine(Part):
    """One step of one target from one origin."""

    origin: str
    """Time of the last history row, RFC 3339."""
    step: int
    time: str
    target: str
    mean: float
    lower: float | None
    upper: float | None
    request_id: str
    model_type: str
    model_hash: Digest
    promotion: int
