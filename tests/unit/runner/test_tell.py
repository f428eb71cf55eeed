"""Where a message about a run lies is recorded once, and only where somebody will find it there."""

from __future__ import annotations

from dataclasses import replace

from tests.support.stored import MOMENT, contents
from tests.support.tracking import context_of

from flts.backends.bus_memory import MemoryBus
from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.canonical import digest
from flts.contracts.messages import TrainingData
from flts.contracts.records.run import RunClaim, SentMessage
from flts.report.evidence import run_parts
from flts.runner.tell import publish

CONFIG, DATA = digest("config"), digest("data")
CLAIM = TrainingData.model_validate(
    {
        "ts": MOMENT,
        "identifier": "global",
        "config_hash": CONFIG,
        "data_hash": DATA,
        "run": 3,
        "bucket": "processed-data",
        "object_key": f"{DATA}/meta.json",
        "size": 1,
        "sha256": digest("meta"),
        "row_count": 1,
        "spec_key": layout.spec(CONFIG),
    }
)


def test_a_message_that_is_sent_again_leaves_the_first_record() -> None:
    context = context_of(memory_store())
    context.bus.publish(CLAIM.topic, "another", b"an earlier message")
    assert publish(context, CLAIM) == publish(context, CLAIM)
    (key,) = context.store.list("")
    assert key == layout.sent(CONFIG, 3, CLAIM.event_id)
    record = RunClaim(
        run=3,
        scope="global",
        environment="tests",
        data_hash=DATA,
        recompute=False,
        promotion=0,
        flts="1",
        started=MOMENT,
        claimed_by="tests",
    )
    context.store.create(layout.run_part(CONFIG, 3, "claim"), record.to_bytes())
    place = SentMessage(run=3, topic=CLAIM.topic, partition=0, offset=1, event_id=CLAIM.event_id)
    assert run_parts(context.store, CONFIG, 3).sent == [place]


def test_a_bus_that_ends_with_its_process_leaves_none() -> None:
    context = replace(context_of(memory_store()), bus=MemoryBus(lasting=False))
    publish(context, CLAIM)
    assert contents(context.store) == {}
    assert len(context.bus.records(CLAIM.topic)) == 1
