"""What the judge is told of a candidate: that it started, that it has a result, or why it has none."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Protocol

from flts.contracts.messages import ModelTraining
from flts.contracts.ports import Bus
from flts.contracts.records.run import FailurePart, TrainPart
from flts.train.stage import Trained

Status = Literal["RUNNING", "SUCCESS", "FAILED"]


class RunOf(Protocol):
    """Which run is meant; a claim says it, and so does its record."""

    @property
    def identifier(self) -> str:
        """The scope."""

    @property
    def config_hash(self) -> str:
        """Of the configuration."""

    @property
    def data_hash(self) -> str:
        """Of the rows."""

    @property
    def run(self) -> int:
        """Its number."""


def publish(bus: Bus, message: ModelTraining) -> ModelTraining:
    """Tell the judge."""
    bus.publish(message.topic, message.key, message.to_bytes())
    return message


def running(run: RunOf, model: str, model_hash: str, now: datetime) -> ModelTraining:
    """A candidate is worked on."""
    return _message(run, model, model_hash, now, "RUNNING")


def succeeded(run: RunOf, part: TrainPart, now: datetime, trained: Trained | None = None) -> ModelTraining:
    """A candidate has its result; trained: what it left in the store, where the sender knows it."""
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
    """A candidate has no forecast, and why."""
    error = f"{part.error}: {part.reason}"
    return _message(run, part.model, model_hash, now, "FAILED", run_id=part.run_id, error=error)


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
        experiment=f"flts/{run.identifier}",
        status=status,
        run_id=run_id,
        bundle_sha256=trained.bundle_sha256 if trained else None,
        forecasts_sha256=trained.forecasts_sha256 if trained else None,
        duration_ms=duration_ms,
        error=error,
    )
