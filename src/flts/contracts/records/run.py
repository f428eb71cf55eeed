"""The parts of a run, each written once by the process that did the work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

from pydantic import Field, model_serializer

from flts.contracts.records.base import Count, Digest, Number, Part, ScopeName, StoredRecord, Time

Outcome = Literal["promote", "keep", "none"]
RunStatus = Literal["FINISHED", "FAILED", "KILLED"]
"""How a run of the tracker ended."""
Recomputed = Literal["equal", "environment_differs", "nondeterminism_detected"]


def status_of(error: str) -> RunStatus:
    """How the tracked run of a candidate without a forecast ends. error: the name of its class."""
    return "KILLED" if error == "NotApplicable" else "FAILED"


class Machine(Part):
    """The process that wrote a part: its versions, and what it had to work with.

    The kernels that a fit used are in `made_on` of its result: only a process that loaded a library can ask it.
    """

    absent_when_none = frozenset({"cpu_limit", "memory_limit"})

    flts: str
    python: str
    libraries: dict[str, str]
    """Versions by distribution, of those that its work imports."""
    processor: str
    cpus: Count
    """Processors that it may run on."""
    cpu_limit: float | None = None
    """Processors that its control groups allow it to use at once; None where they set no limit."""
    memory_limit: Count | None = None
    """Bytes that its control groups allow it; None where they set no limit."""


class MessageRef(Part):
    """A message on a broker."""

    topic: str
    partition: Count
    offset: Count
    event_id: Digest


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


class RunIndex(StoredRecord):
    """`runs/index/since.json`: how far back the index of runs is complete."""

    v: Literal[1] = 1
    since: Time | None
    """Every run that was claimed from then on has an entry; None: every run has."""


class DecidedBy(StoredRecord):
    """`runs/by-decision/<decision_id>.json`: the run whose judge came to a decision first.

    It is written before the judge's part: a judge that was stopped in between leaves one that says nothing.
    """

    v: Literal[1] = 1
    decision_id: Digest
    config_hash: Digest
    run: Number


class PreprocessPart(StoredRecord):
    """`preprocess.json`: the rows of this run are ready; meta.json has their counts, sizes and digests."""

    absent_when_none = frozenset({"input_hash", "started", "duration_ms", "machine"})

    v: Literal[1] = 1
    run: Number
    scope: ScopeName
    environment: str
    data_hash: Digest
    input_hash: Digest | None = None
    """Of the raw rows and how the Spec reads them as it is written: the name of the short cut to data_hash."""
    meta_sha256: Digest
    reused: bool
    started: Time | None = None
    ended: Time
    duration_ms: Count | None = None
    machine: Machine | None = None
    """None in the part of an earlier flts, as are all fields that may be absent."""


class ScaledErrors(Part):
    """Errors of a candidate as its trainer computed them, scaled by the target's range over train."""

    rmse: float
    mae: float
    mse: float


class TrainPart(StoredRecord):
    """`train-<model>.json`: a candidate of this run has its result."""

    absent_when_none = frozenset(
        {"deployment", "experiment", "run_status", "bundle_sha256", "forecasts_sha256", "machine", "message"}
    )

    v: Literal[1] = 1
    run: Number
    scope: ScopeName
    environment: str
    model: str
    model_hash: Digest
    tracking_uri: str | None
    """The server that has `run_id`; None where tracking is off."""
    experiment: str | None = None
    """The MLflow experiment of `run_id`."""
    run_id: str | None
    run_status: RunStatus | None = None
    """How that run ended."""
    started: Time
    ended: Time
    processor: str
    fitted: bool
    """False where the result existed before."""
    recomputed: Recomputed | None
    """Result of a second fit, where one was asked for."""
    duration_ms: int
    errors: ScaledErrors
    bundle_sha256: Digest | None = None
    forecasts_sha256: Digest | None = None
    """Of the test forecasts that the errors are those of."""
    deployment: dict[str, str] | None = None
    machine: Machine | None = None
    message: MessageRef | None = None
    """The claim that asked for it; None without a broker."""


class FailurePart(StoredRecord):
    """`failures/<model>.json`: why a model of this run has no forecast."""

    absent_when_none = frozenset({"deployment", "experiment", "run_status", "machine", "message"})

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
    experiment: str | None = None
    run_id: str | None
    run_status: RunStatus | None = None
    model_hash: Digest | None = None
    """None where the work did not start; then the two fields below and `machine` are not stored either."""
    tracking_uri: str | None = None
    processor: str | None = None
    deployment: dict[str, str] | None = None
    machine: Machine | None = None
    message: MessageRef | None = None

    @model_serializer(mode="wrap")
    def _stored(self, handler: Callable[[Self], dict[str, Any]]) -> dict[str, Any]:
        fields = handler(self)
        unknown = {"model_hash", "tracking_uri", "processor"} if self.model_hash is None else set()
        unknown |= {name for name in self.absent_when_none if fields[name] is None}
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

    absent_when_none = frozenset(
        {"deployment", "entry_sha256", "decision_sha256", "rests_on", "started", "duration_ms", "machine", "message"}
        | {"announced", "untold"}
    )

    v: Literal[1] = 1
    run: Number
    scope: ScopeName
    environment: str
    decision_id: Digest
    decision_sha256: Digest | None = None
    """Of the decision as it is stored; a decision that promotes nobody is named by no log entry."""
    outcome: Outcome
    repeated: bool
    """The decision was in the log before."""
    promotion: Number | None
    """Number of the newest log entry at the end; None when nothing was ever promoted."""
    entry_sha256: Digest | None = None
    """Of that entry as it is stored; None also in the part of an earlier flts."""
    run_ids: dict[str, str | None]
    rests_on: dict[str, Digest] | None = None
    """SHA-256 by key of the records that no decision names: the experiment, the other parts of this run as far as they
    were written, and latencies where a limit needs them."""
    started: Time | None = None
    ended: Time
    duration_ms: Count | None = None
    deployment: dict[str, str] | None = None
    machine: Machine | None = None
    message: MessageRef | None = None
    """The message after which the run was complete; None without a broker."""
    announced: MessageRef | None = None
    """Where this judge announced the champion; None without a broker, and where there was nothing to announce."""
    untold: Literal[True] | None = None
    """The tracker lacks something, which the next run of this configuration tells it. None where it lacks nothing."""


class SentMessage(StoredRecord, MessageRef):
    """`sent/<event_id>.json`: where a message about the run lies; where it was sent again, the first place.

    It is written after the message: a process that was stopped in between leaves none.
    """

    v: Literal[1] = 1
    run: Number


class JudgeSeal(StoredRecord):
    """`seals/<judge_sha256>.json`: names the digest of `judge.json`, so that a change of that record is noticed.

    It is written first: a judge that was stopped in between leaves a seal of a record that never was.
    """

    v: Literal[1] = 1
    run: Number
    judge_sha256: Digest
