"""The evaluator. It keeps no state, so any number may run: a message only prompts it to look at the store."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flts.contracts import events, layout, run_index, runs
from flts.contracts.errors import DataError
from flts.contracts.messages import ModelTraining
from flts.contracts.ports import Record
from flts.promotion.judge import Waiting
from flts.promotion.relay import relay, relay_all
from flts.runner.judgement import judge_run
from flts.runner.services import deadline
from flts.runner.services.outlook import Outlook
from flts.runner.services.registry import Staff
from flts.runner.stored import load_experiment
from flts.runner.tell import reference
from flts.wiring import RunContext

if TYPE_CHECKING:
    from flts.settings import Settings


@dataclass(frozen=True)
class Evaluator:
    """The service `evaluate`."""

    context: RunContext
    outlook: Outlook = field(default_factory=Outlook)
    topic = ModelTraining.topic
    group = "evaluate"
    concurrency = 1

    @classmethod
    def staff(cls, context: RunContext, settings: Settings, models: Sequence[str]) -> Staff:
        """One evaluator. It first relays promotions that an interrupted one left, and watches the deadline, if any."""
        evaluator = cls(context)
        beside = [functools.partial(evaluator.outlook.watch, context)]
        if settings.decision_deadline:
            beside.append(functools.partial(deadline.watch, context, settings.decision_deadline))
        first = functools.partial(relay_all, context.store, context.bus)
        return Staff([evaluator], first, beside, [evaluator.outlook])

    def handle(self, record: Record) -> None:
        """Judge the newest run of the configuration once every expected model has a result or a reason."""
        message, store = ModelTraining.parse(record.value), self.context.store
        if message.status == "RUNNING":
            return
        self.outlook.heard(message.status)
        config_hash, scope = message.config_hash, message.identifier
        run = runs.newest(store, config_hash, scope)
        if run is None:
            raise DataError(
                f"{message.topic}: no run of {config_hash[:12]}… was ever claimed in scope '{scope}'",
                code="run-missing",
                config_hash=config_hash,
                scope=scope,
            )
        if store.exists(layout.run_part(config_hash, run, "judge")):
            relay(store, self.context.bus, scope)
            return
        run_index.enter_late(store, config_hash, run)
        experiment = load_experiment(store, config_hash, message.data_hash)
        judged = judge_run(
            self.context,
            experiment,
            scope,
            run,
            actor=f"flts worker evaluate@{self.context.environment}",
            message=reference(record, message),
        )
        if isinstance(judged, Waiting):
            events.emit(
                events.PromotionWaitingForModels(config_hash=config_hash, have=judged.have, missing=judged.missing)
            )
        else:
            self.outlook.decided(store, config_hash, run, experiment.spec.expected, judged.decision.outcome)

    def dead_letter(self, record: Record, error: Exception) -> None:
        """Nothing to record: no part of a run depends on this message."""
