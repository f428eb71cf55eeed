"""Messages to the judge about a candidate: it started, it has a result, or it failed and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal, Protocol, TypeVar

from flts.contracts import layout
from flts.contracts.messages import Message, ModelTraining, TrainingData
from flts.contracts.ports import Record, experiment_of, write_once
from flts.contracts.records.run import FailurePart, MessageRef, SentMessage, TrainPart
from flts.train.stage import Trained
from flts.wiring import RunContext

Status = Literal["RUNNING", "SUCCESS", "FAILED"]
OfRun = TypeVar("OfRun", TrainingData, ModelTraining)


class RunOf(Protocol):
    """Identifies a run; a claim and the record of a claim both do."""

    @property
    def identifier(self) -> str:
        """The scope."""

    @property
    def config_hash(self) -> str:
        """Hash of the configuration."""

    @property
    def data_hash(self) -> str:
        """Hash of the rows."""

    @property
    def run(self) -> int:
        """Number of the run."""


@dataclass(frozen=True)
class NamedRun:
    """A run by its names alone."""

    config_hash: str
    data_hash: str
    identifier: str
    run: int


def reference(record: Record, message: Message) -> MessageRef:
    """Where a message lies on its bus."""
    return MessageRef(topic=record.topic, partition=record.partition, offset=record.offset, event_id=message.event_id)


def publish(context: RunContext, message: OfRun) -> OfRun:
    """Publish a message about a run, and record where it lies; one that is sent again leaves the first record."""
    place = context.bus.publish(message.topic, message.key, message.to_bytes())
    if place is not None:
        lies = SentMessage(run=message.run, event_id=message.event_id, **asdict(place))
        key = layout.sent(message.config_hash, message.run, message.event_id)
        write_once(context.store, key, lies.to_bytes(), at="run.sent")
    return message


def running(run: RunOf, model: str, model_hash: str, now: datetime) -> ModelTraining:
    """A candidate has started."""
    return _message(run, model, model_hash, now, "RUNNING")


def succeeded(run: RunOf, part: TrainPart, now: datetime, trained: Trained | None = None) -> ModelTraining:
    """A candidate has its result. trained: digests of its stored files, where the sender knows them."""
    return _message(
        run,
        part.model,
        part.model_hash,
        now,
        "SUCCESS",
        run_id=part.run_id,
        duration_ms=part.duration_ms,
        trained=trained,
    )


def failed(run: RunOf, part: FailurePart, model_hash: str, now: datetime) -> ModelTraining:
    """A candidate has no forecast; the message carries the reason."""
    error = f"{part.error}: {part.reason}"
    return _message(run, part.model, model_hash, now, "FAILED", run_id=part.run_id, error=error)


def ended(run: RunOf, part: TrainPart | FailurePart, model_hash: str, now: datetime) -> ModelTraining:
    """A candidate has ended, as its part of the run says. model_hash: where a failure names none."""
    if isinstance(part, TrainPart):
        return succeeded(run, part, now)
    return failed(run, part, part.model_hash or model_hash, now)


def _message(
    run: RunOf,
    model: str,
    model_hash: str,
    now: datetime,
    status: Status,
    *,
    run_id: str | None = None,
    duration_ms: int | None = None,
    trained: Trained | None = None,
    error: str | None = None,
) -> ModelTraining:
    return ModelTraining(
        ts=now,
        identifier=run.identifier,
        config_hash=run.config_hash,
        data_hash=run.data_hash,
        run=run.run,
        model=model,
        model_hash=model_hash,
        model_type=model.upper(),
        experiment=experiment_of(run.identifier),
        status=status,
        run_id=run_id,
        bundle_sha256=trained.bundle_sha256 if trained else None,
        forecasts_sha256=trained.forecasts_sha256 if trained else None,
        duration_ms=duration_ms,
        error=error,
    )
