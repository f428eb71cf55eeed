"""Batch forecasts: each claim of rows gets one answer per champion, in an object that is never rewritten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from flts.contracts import events, layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import DataError, UsageError
from flts.contracts.messages import InferenceData, PerformanceEval
from flts.contracts.ports import Record, read_checked, write_once
from flts.contracts.records.answer import AnswerDay, ForecastLine
from flts.contracts.records.base import write_record
from flts.contracts.request_ids import batch_id
from flts.preprocess.source import RawFile
from flts.runner.services.registry import Staff
from flts.serve.answer import rows_for
from flts.serve.batch import Batch, errors, forecast_batch
from flts.serve.follow import Champion, Follower
from flts.wiring import RunContext

if TYPE_CHECKING:
    from flts.settings import Settings


@dataclass
class Forecaster:
    """The service `forecast`."""

    context: RunContext
    topic = InferenceData.topic
    group = "forecast"
    concurrency = 4  # one batch is read or stored while the model works on another
    _follower: Follower = field(init=False)

    @classmethod
    def staff(cls, context: RunContext, settings: Settings, models: Sequence[str]) -> Staff:
        """One forecaster for all scopes."""
        return Staff([cls(context)])

    def __post_init__(self) -> None:
        self._follower = Follower(self.context.store)

    def handle(self, record: Record) -> None:
        """Forecast from every row of the object with the current champion, store the answer, and publish its errors."""
        claim = InferenceData.parse(record.value)
        if self._too_late(claim):
            events.emit(events.ForecastExpired(scope=claim.identifier, event_id=claim.event_id))
            return
        champion = self._follower.champion(claim.identifier)
        raw = RawFile(claim.object_key.rpartition("/")[2], self._bytes(claim), self.context.limits)
        rows = rows_for(champion.bundle, raw)
        batch = forecast_batch(champion.bundle, rows)
        part = batch_id(claim.event_id, champion.entry.number)
        key = layout.inference_log(claim.identifier, self._day(claim, part), part)
        stored = write_once(self.context.store, key, lines_of_batch(batch, champion, part), at="forecast.log")
        self._tell(claim, champion, batch, key, sha256(stored), len(rows))

    def dead_letter(self, record: Record, error: Exception) -> None:
        """Nothing to record: the sender of the claim finds it in the dead-letter topic."""

    def _bytes(self, claim: InferenceData) -> bytes:
        """The object of a claim. A bucket that cannot be read is an error of the claim, not of the service."""
        try:
            return read_checked(self.context.store, claim.key_in_store, claim.sha256)
        except UsageError as error:
            raise DataError(
                f"{claim.topic}: the rows cannot be read: {error}", code="rows-unreadable", key=claim.key_in_store
            ) from None

    def _day(self, claim: InferenceData, part: str) -> str:
        """The day of the claim, YYYYMMDD; of the first one where it was sent again."""
        day = claim.ts.astimezone(UTC).date().isoformat().replace("-", "")  # strftime pads no year
        mine = AnswerDay(scope=claim.identifier, request_id=part, day=day)
        return write_record(self.context.store, layout.answered(claim.identifier, part), mine, at="forecast.day").day

    def _too_late(self, claim: InferenceData) -> bool:
        if claim.deadline_ms is None:
            return False
        return self.context.clock.now() > claim.ts + timedelta(milliseconds=claim.deadline_ms)

    def _tell(
        self, claim: InferenceData, champion: Champion, batch: Batch, key: str, log_sha256: str, rows: int
    ) -> None:
        scores, promoted = errors(champion.bundle, batch), champion.entry.champion
        message = PerformanceEval(
            ts=self.context.clock.now(),
            identifier=claim.identifier,
            input_event_id=claim.event_id,
            promotion=champion.entry.number,
            config_hash=promoted.config_hash,
            data_hash=promoted.data_hash,
            run_id=promoted.run_id,
            model_type=promoted.model_type,
            log_object_key=key,
            log_sha256=log_sha256,
            rows=rows,
            forecasts=batch.mean.size,
            metrics=None if scores is None else {"rmse": scores.rmse, "mae": scores.mae, "mse": scores.mse},
        )
        self.context.bus.publish(message.topic, message.key, message.to_bytes())
        events.emit(
            events.ForecastServed(
                config_hash=promoted.config_hash,
                model_type=promoted.model_type,
                promotion=champion.entry.number,
                forecasts=batch.mean.size,
                object_key=key,
            )
        )


def lines_of_batch(batch: Batch, champion: Champion, request_id: str) -> bytes:
    """One `ForecastLine` as JSON per line: request, origin, time, forecast and model."""
    import polars as pl

    entry = champion.entry
    frame = batch.frame().with_columns(
        pl.lit(request_id).alias("request_id"),
        pl.lit(entry.champion.model_type).alias("model_type"),
        pl.lit(entry.champion.model_hash).alias("model_hash"),
        pl.lit(entry.number).alias("promotion"),
    )
    return frame.select(*ForecastLine.model_fields).write_ndjson().encode()
