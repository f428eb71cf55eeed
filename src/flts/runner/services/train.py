"""The trainer: fits one model of every claim, in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flts.contracts import layout
from flts.contracts.errors import DamagedObject, DataError
from flts.contracts.messages import TrainingData
from flts.contracts.ports import Record, Silent, read_checked
from flts.contracts.records.base import read_record
from flts.contracts.records.run import FailurePart, RunClaim
from flts.runner.candidate import finish_model, record_dead_letter, tell_failure
from flts.runner.services.letters import was_replayed
from flts.runner.services.registry import Staff
from flts.runner.stored import load_experiment, load_stored_spec
from flts.runner.tell import reference
from flts.wiring import RunContext

if TYPE_CHECKING:
    from flts.settings import Settings


@dataclass(frozen=True)
class Trainer:
    """The service `train-<model>`."""

    context: RunContext
    model: str
    topic = TrainingData.topic
    concurrency = 1

    @property
    def group(self) -> str:
        return f"train-{self.model}"

    @classmethod
    def staff(cls, context: RunContext, settings: Settings, models: Sequence[str]) -> Staff:
        """A trainer for each model."""
        return Staff([cls(context, model) for model in models])

    def handle(self, record: Record) -> None:
        """Train the model for this claim unless it is trained already; ignore a Spec that does not name it."""
        claim, store = TrainingData.parse(record.value), self.context.store
        if self.model not in load_stored_spec(store, claim.config_hash).expected:
            return
        failed = read_record(store, layout.failure(claim.config_hash, claim.run, self.model), FailurePart)
        if failed is not None and not was_replayed(record):
            tell_failure(self.context, claim, failed)
            return
        if f"{claim.bucket}/{claim.object_key}" != layout.meta(claim.data_hash):
            raise DataError(
                f"{claim.topic}: {claim.bucket}/{claim.object_key} is not the object of its data_hash",
                code="wrong-object",
                expected=layout.meta(claim.data_hash),
                found=f"{claim.bucket}/{claim.object_key}",
            )
        read_checked(store, layout.meta(claim.data_hash), claim.sha256)
        experiment = load_experiment(store, claim.config_hash, claim.data_hash)
        finish_model(
            self.context,
            claim,
            experiment,
            self.model,
            Silent(),
            recompute=self._must_recompute(claim),
            message=reference(record, claim),
        )

    def dead_letter(self, record: Record, error: Exception) -> None:
        """Record a failure of the model, so that the judge does not wait; nothing where claim or Spec is unreadable."""
        try:
            claim = TrainingData.parse(record.value)
            expected = load_stored_spec(self.context.store, claim.config_hash).expected
        except (DataError, DamagedObject):
            return
        if self.model in expected:
            record_dead_letter(self.context, claim, self.model, error, reference(record, claim))

    def _must_recompute(self, claim: TrainingData) -> bool:
        """Whether the run asks for a recompute and this model still lacks one."""
        store, done = self.context.store, layout.run_part(claim.config_hash, claim.run, f"train-{self.model}")
        record = read_record(store, layout.run_part(claim.config_hash, claim.run, "claim"), RunClaim)
        return record is not None and record.recompute and not store.exists(done)
