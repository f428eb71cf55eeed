"""Claimed runs with trained candidates, and the messages that prompt a judge."""

from __future__ import annotations

from datetime import UTC, datetime

from flts.contracts import layout
from flts.contracts.canonical import canonical_json
from flts.contracts.messages import ModelTraining
from flts.contracts.ports import Record, Store
from flts.promotion.log import read_log
from flts.runner.claim import claim_run
from flts.train.experiment import Experiment
from flts.wiring import RunContext
from tests.support.experiments import small_experiment, small_spec
from tests.support.stored import copy, fit


def claimed(context: RunContext, experiment: Experiment, scope: str = "global") -> int:
    """Claim a run and store its Spec."""
    identity = experiment.identity
    context.store.create(layout.spec(identity.config_hash), canonical_json(experiment.spec.identity()))
    promotion = len(read_log(context.store, scope))
    return claim_run(context, identity.config_hash, scope, identity.data_hash, promotion=promotion)


def told(experiment: Experiment, run: int = 1, model: str = "ridge", status: str = "SUCCESS") -> Record:
    identity = experiment.identity
    message = ModelTraining(
        ts=datetime(2026, 1, 1, tzinfo=UTC),
        identifier="global",
        config_hash=identity.config_hash,
        data_hash=identity.data_hash,
        run=run,
        model=model,
        model_hash=identity.model_hashes[model],
        model_type=model.upper(),
        status=status,  # type: ignore[arg-type]
    )
    return Record(message.topic, 0, 0, message.key, message.to_bytes(), {}, 0)


def trained(gate: str = "always", *, input_length: int = 12) -> tuple[Experiment, Store]:
    """A fitted ridge whose rows are those of every other experiment here."""
    experiment, store = small_experiment(small_spec(evaluate={"gate": gate}, task={"input_length": input_length}))
    fit(store, experiment)
    return experiment, store


def two_trained() -> tuple[Experiment, Experiment, Store]:
    """Two configurations in one store; each is promoted over the other whenever it is judged anew."""
    experiment, store = trained()
    other, fresh = small_experiment(small_spec(evaluate={"gate": "always"}, task={"input_length": 18}))
    copy(fresh, store)
    fit(store, other)
    return experiment, other, store


class Later:
    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now
