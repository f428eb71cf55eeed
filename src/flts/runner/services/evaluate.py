"""An evaluator: it remembers nothing, so any number may run, and each message only says that it is time to look."""

from __future__ import annotations

from dataclasses import dataclass

from flts.contracts import events, layout, runs
from flts.contracts.errors import DataError
from flts.contracts.messages import ModelTraining
from flts.contracts.ports import Record
from flts.promotion.judge import Waiting
from flts.promotion.relay import relay
from flts.runner.judgement import judge_run
from flts.runner.stored import load_experiment
from flts.wiring import RunContext


@dataclass(frozen=True)
class Evaluator:
    """The service `evaluate`."""

    context: RunContext
    topic = ModelTraining.topic
    group = "evaluate"
    concurrency = 1

    def handle(self, record: Record) -> None:
        """Judge the newest run of the configuration once every expected model has a result or a reason."""
        message, store = ModelTraining.parse(record.value), self.context.store
        if message.status == "RUNNING":
            return
        config_hash, scope = message.config_hash, message.identifier
        run = runs.newest(store, config_hash, scope)
        if run is None:
            raise DataError(f"{message.topic}: no run of {config_hash[:12]}… was ever claimed in scope '{scope}'")
        if store.exists(layout.run_part(config_hash, run, "judge")):
            relay(store, self.context.bus, scope)
            return
        experiment = load_experiment(store, config_hash, message.data_hash)
        judged = judge_run(
            self.context, experiment, scope, run, actor=f"flts worker evaluate@{self.context.environment}"
        )
        if isinstance(judged, Waiting):
            events.emit(
                events.PromotionWaitingForModels(config_hash=config_hash, have=judged.have, missing=judged.missing)
            )

    def dead_letter(self, record: Record, error: Exception) -> None:
        """Nobody waits for a judgement but those who look for it in the log."""
