"""The parts of a run, each written once by the process that did the work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

from pydantic import Field, model_serializer

from flts.contracts.records.base import Count, Digest, Number, Part, ScopeName, StoredRecord, Time

Outcome = Literal["promote", "keep", "none"]
Recomputed = Literal["equal", "environment_differs", "nondeterminism_detected"]


class RunClaim(StoredRecord):
    """`claim.json`: a run took this number."""

    absent_when_none = frozenset({"deployment"})

    v: Literal[1] = 1
    run: Number
    scope: ScopeName
    environment: str
    data_hash: Digest
    recompute: bool
    promotion: Count
    """Number of the newest log entry when the run began."""
    flts: str
    """Version of the distribution."""
    started: Time
    claimed_by: str
    """Distinguishes two processes that claim the same number."""
    deployment: dict[str, str] | None = None
    """Release, revision, cluster, node and host of the process, where a deployment names them."""


class PreprocessPart(StoredRecord):
    """`preprocess.json`: the rows of this run are ready."""

    v: Literal[1] = 1
    run: Number
    scope: ScopeName
    environment: str
    data_hash: Digest
    meta_sha256: Digest
    reused: bool
    ended: Time


class ScaledErrors(Part):
    """Errors of a candidate as its trainer computed them, scaled by the target's range over train."""

    rmse: float
    mae: float
    mse: float


class TrainPart(StoredRecord):
    """`train-<model>.json`: a candidate of this run has its result."""

    absent_when_none = frozenset({"deployment"})

    v: Literal[1] = 1
    run: Number
    scope: ScopeName
    environment: str
    model: str
    model_hash: Digest
    tracking_uri: str | None
    """The server that has `run_id`; None where tracking is off."""
    run_id: str | None
    started: Time
    ended: Time
    processor: str
    fitted: bool
    """False where the result existed before."""
    recomputed: Recomputed | None
    """Result of a second fit, where one was asked for."""
    duration_ms: int
    errors: ScaledErrors
    deployment: dict[str, str] | None = None


class FailurePart(StoredRecord):
    """`failures/<model>.json`: why a model of this run has no forecast."""

    v: Literal[1] = 1
    run: Number
    scope: ScopeName
    environment: str
    model: str
    started: Time
    ended: Time
    error: str = Field(validation_alias="class", serialization_alias="class")
    """Name of the error class."""
    reason: str
    run_id: str | None
    model_hash: Digest | None = None
    """None where the work did not start; then the two fields below are not stored either."""
    tracking_uri: str | None = None
    processor: str | None = None
    deployment: dict[str, str] | None = None

    @model_serializer(mode="wrap")
    def _stored(self, handler: Callable[[Self], dict[str, Any]]) -> dict[str, Any]:
        fields = handler(self)
        unknown = {"model_hash", "tracking_uri", "processor"} if self.model_hash is None else set()
        unknown |= {"deployment"} if self.deployment is None else set()
        return {k: v for k, v in fields.items() if k not in unknown}


class QuarantineRecord(StoredRecord):
    """`quarantine/<time>/.../quarantine.json`: a damaged result was put aside with its folder."""

    v: Literal[1] = 1
    environment: str
    model: str
    model_hash: Digest
    reason: str
    objects: dict[str, Digest]
    """SHA-256 of each object as it was found, by the key that it had."""
    ended: Time


class JudgePart(StoredRecord):
    """`judge.json`: the run was judged."""

    absent_when_none = frozenset({"deployment", "entry_sha256"})

    v: Literal[1] = 1
    run: Number
    scope: ScopeName
    environment: str
    decision_id: Digest
    outcome: Outcome
    repeated: bool
    """The decision was in the log before."""
    promotion: Number | None
    """Number of the newest log entry at the end; None when nothing was ever promoted."""
    entry_sha256: Digest | None = None
    """Of that entry as it is stored, which the tracker was told; None also in the part of an earlier flts."""
    run_ids: dict[str, str | None]
    ended: Time
    deployment: dict[str, str] | None = None
