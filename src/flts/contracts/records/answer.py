"""A line of a batch forecast: `inference-logs/<scope>/<YYYYMMDD>/<uuid>.jsonl` holds one of these as JSON a line."""

from __future__ import annotations

from flts.contracts.records.base import Digest, Part


class ForecastLine(Part):
    """One step of one target from one origin, in original units."""

    origin: str
    """Time of the last history row, RFC 3339."""
    step: int
    """Rows after the origin, from 1."""
    time: str
    """Of the forecast row, RFC 3339."""
    target: str
    mean: float
    lower: float | None
    """Ends of the 80 % interval; None where the model has none."""
    upper: float | None
    request_id: str
    """The UUID in the name of the object."""
    model_type: str
    model_hash: Digest
    """Of the champion that answered."""
    promotion: int
    """Number of its entry in the promotion log."""
