"""A trainer and claims that come again, are wrong, or are not for it."""

from __future__ import annotations

import json

from tests.support.experiments import small_spec
from tests.support.services import all_services, context_on, serving, start_run, wait_until
from tests.support.stored import as_json

from flts.backends.bus_memory import MemoryBus
from flts.backends.store import memory_store
from flts.contracts import layout, runs
from flts.contracts.errors import DeadlineExceeded
from flts.contracts.messages import ModelTraining
from flts.runner.candidate import record_dead_letter


def test_a_recorded_failure_is_reported_again_without_a_second_fit() -> None:
    store, bus = memory_store(), MemoryBus()
    context = context_on(store, bus)
    claim = start_run(context, small_spec())
    record_dead_letter(context, claim, "ridge", DeadlineExceeded("too late"))
    with serving(context, all_services(context)):
        wait_until(lambda: bus.lag("training-data", "train-ridge") == 0, "the claim to be handled")
    messages = [ModelTraining.parse(record.value) for record in bus.records(ModelTraining.topic)]
    assert [(m.status, m.error) for m in messages] == [("FAILED", "DeadlineExceeded: too late")] * 2
    assert messages[0].event_id == messages[1].event_id


def test_a_claim_with_a_wrong_digest_is_a_dead_letter_and_a_failure_of_the_run() -> None:
    store, bus = memory_store(), MemoryBus()
    context = context_on(store, bus)
    claim = start_run(context, small_spec()).model_copy(update={"sha256": "0" * 64})
    bus = MemoryBus()
    context = context_on(store, bus)
    with serving(context, all_services(context)):
        bus.publish(claim.topic, claim.key, claim.to_bytes())
        wait_until(lambda: store.exists(layout.failure(claim.config_hash, 1, "ridge")), "the failure")
        wait_until(lambda: store.exists(layout.run_part(claim.config_hash, 1, "judge")), "the judgement")
    failure = as_json(store, layout.failure(claim.config_hash, 1, "ridge"))
    assert failure["class"] == "DamagedObject"
    decided = as_json(store, layout.run_part(claim.config_hash, 1, "judge"))
    assert (decided["outcome"], runs.newest(store, claim.config_hash, "global")) == ("none", 1)
    assert json.loads(bus.records("DLQ-training-data")[0].value)["sha256"] == "0" * 64


def test_a_trainer_ignores_a_spec_that_does_not_name_its_model() -> None:
    store, bus = memory_store(), MemoryBus()
    context = context_on(store, bus)
    start_run(context, small_spec())
    with serving(context, all_services(context, "gru")):
        wait_until(lambda: bus.lag("training-data", "train-gru") == 0, "the claim to be passed over")
    assert bus.records(ModelTraining.topic) == []
