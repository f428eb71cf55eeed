"""A backend that accepts connections and never answers: every call ends in time, with an error."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.raising import raises
from tests.support.servers import kafka_bus
from tests.support.services import wait_until
from tests.support.stalling import stalling

from flts.backends import s3
from flts.backends.bus_kafka import KafkaBus
from flts.backends.kafka_client import KafkaOptions
from flts.contracts.errors import BackendUnavailable
from flts.contracts.ports import Record, Stored, StreamedStore, Subscription, TrackedRun
from flts.settings import load_settings
from flts.stack.kafka import quick_kafka
from flts.stack.server import Server
from flts.wiring import open_store, open_tracker

pytestmark = pytest.mark.slow

LIMIT = 1.0
"""Seconds that a call may take in these tests."""
SOON = 20.0
"""Seconds within which a call must have ended, on a machine that is busy."""
RUN = TrackedRun(
    "global", "RIDGE", "FINISHED", {}, {}, {}, [], {"name": "", "digest": "", "source": ""}, None, None, [], {}, 0, 1
)


@contextmanager
def in_time() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < SOON


@pytest.mark.parametrize(
    "call",
    [
        lambda tracker: tracker.check(),
        lambda tracker: tracker.log(RUN),
        lambda tracker: tracker.first_run({"a": "b"}, {}),
        lambda tracker: tracker.annotate("0" * 32, {"score": 1.0}, {}),
        lambda tracker: tracker.promote("global", "0" * 32, "RIDGE", "b", "e"),
    ],
)
def test_every_call_of_a_frozen_mlflow_ends(call: Callable[[Any], object], tmp_path: Path) -> None:
    pytest.importorskip("mlflow.pyfunc")  # its import is no part of the time
    with stalling() as proxy:
        settings = load_settings(
            home=tmp_path, tracking="mlflow", mlflow_uri=f"http://{proxy.address}", mlflow_timeout=LIMIT
        )
        tracker = open_tracker(settings)
        assert tracker is not None
        with raises(BackendUnavailable, code="tracker-unavailable"), in_time():
            call(tracker)
        assert proxy.accepted > 0
        with in_time():
            tracker.close()


async def _chunks() -> AsyncIterator[bytes]:
    yield b"x"


async def _streamed(store: StreamedStore) -> None:
    from datetime import UTC, datetime

    await store.stream(Stored("a/b", 1, '"e"', datetime.now(UTC)), 0, 1)


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.get("a/b"),
        lambda store: store.create("a/b", b"x"),
        lambda store: store.replace("a/b", b"x"),
        lambda store: store.exists("a/b"),
        lambda store: store.list("a/"),
        lambda store: asyncio.run(store.look("a/b")),
        lambda store: asyncio.run(_streamed(store)),
        lambda store: asyncio.run(store.upload("a/b", _chunks())),
        lambda store: asyncio.run(store.delete("a/b")),
        lambda store: asyncio.run(store.page("a/", "", 1)),
        lambda store: asyncio.run(store.probe()),
    ],
)
def test_every_call_of_a_frozen_s3_ends(
    call: Callable[[StreamedStore], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "ANSWER_WITHIN", timedelta(seconds=LIMIT))
    monkeypatch.setattr(s3, "RETRY_WITHIN", timedelta(seconds=LIMIT))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    with stalling() as proxy:
        store = open_store(f"s3://bucket/prefix?endpoint=http://{proxy.address}")
        with pytest.raises(BackendUnavailable), in_time():
            call(store)
        assert proxy.accepted > 0


@pytest.mark.parametrize(
    "call",
    [
        lambda bus: bus.describe(),
        lambda bus: bus.describe(["group"]),
        lambda bus: bus.ensure(["topic"]),
        lambda bus: bus.publish("topic", "k", b"x"),
        lambda bus: bus.records("topic"),
        lambda bus: bus.lag("topic", "group"),
    ],
)
def test_every_call_of_a_frozen_kafka_ends(call: Callable[[KafkaBus], object]) -> None:
    pytest.importorskip("confluent_kafka")
    with stalling() as proxy, closing(KafkaBus(KafkaOptions(proxy.address, timeout=LIMIT))) as bus:
        with pytest.raises(BackendUnavailable), in_time():
            call(bus)
        assert proxy.accepted > 0
        with in_time(), closing(bus.subscribe(["topic"], "group")) as member, suppress(BackendUnavailable):
            assert member.poll(LIMIT) is None


@pytest.mark.long
def test_a_commit_and_a_leave_at_a_kafka_that_freezes_after_the_member_joined_end(tmp_path: Path) -> None:
    with quick_kafka(tmp_path) as broker, closing(kafka_bus(broker, timeout=5.0, session_timeout=60.0)) as bus:
        bus.ensure(["topic"])
        for number in range(3):
            bus.publish("topic", "key", str(number).encode())
        member = bus.subscribe(["topic"], "group")
        records = [take(member) for _ in range(2)]
        member.commit(records[0])
        with frozen(broker):
            with pytest.raises(BackendUnavailable), in_time():
                member.commit(records[1])
            with pytest.raises(BackendUnavailable), in_time():
                member.commit(records[1])
        wait_until(lambda: committed(member, records[1]), "the broker to answer again")
        assert bus.lag("topic", "group") == 1
        assert take(member).value == b"2", "a record that came while the commit waited is not lost"
        with frozen(broker), in_time():
            member.close()


def committed(member: Subscription, record: Record) -> bool:
    with suppress(BackendUnavailable):
        member.commit(record)
        return True
    return False


def take(member: Subscription) -> Record:
    """The next record."""
    taken: list[Record] = []

    def came() -> bool:
        record = member.poll(0.1)
        taken.extend([record] if record else [])
        return bool(taken)

    wait_until(came, "a record")
    return taken[0]


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    """Stop a server of this test, and continue it."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)
