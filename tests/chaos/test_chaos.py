"""Services are killed, stopped and frozen at random while they work; then every promise is checked.

CHAOS_SECONDS says for how long (60), CHAOS_SEED which throws of the dice; a failure prints the seed. Threads and
processes run as they will, so a seed brings back what was done to whom, not when.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.chaos.crew import Crew
from tests.chaos.customers import Customers
from tests.support.checker import DEAD, History, faults
from tests.support.children import carrying, eventually
from tests.support.processes import processes
from tests.support.rejudged import differing
from tests.support.servers import kafka_bus, s3_prefix
from tests.support.services import context_on
from tests.support.stored import contents

from flts.contracts.messages import TOPICS
from flts.contracts.ports import Bus
from flts.stack.kafka import durable_kafka
from flts.stack.s3 import S3
from flts.stack.server import Server
from flts.wiring import open_store

SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
QUIET = 90.0
"""Seconds in which everything must have come to rest once everyone is left alone."""
STILL = 8.0
"""Seconds without a message after which nothing more is under way: longer than a dead member is waited for."""


@pytest.fixture
def seed() -> int:
    return int(os.environ.get("CHAOS_SEED", str(random.SystemRandom().randrange(10**6))))


@pytest.fixture
def store_url(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    return s3_prefix(s3_server, monkeypatch)


@pytest.fixture
def broker(tmp_path: Path, s3_server: S3, store_url: str) -> Iterator[Server]:
    (tmp_path / "broker").mkdir()
    with durable_kafka(tmp_path / "broker", s3_server, cluster=store_url.rpartition("/")[2]) as server:
        yield server


@pytest.fixture
def bus(broker: Server) -> Iterator[Bus]:
    opened = kafka_bus(broker)
    yield opened
    opened.close()


@pytest.mark.long
def test_every_promise_holds_whatever_happens_to_services(
    seed: int, tmp_path: Path, broker: Server, bus: Bus, store_url: str
) -> None:
    print(f"CHAOS_SEED={seed} CHAOS_SECONDS={SECONDS:g}; logs in {tmp_path / 'logs'}")
    store, scratch, stop = open_store(store_url), tmp_path / "scratch", threading.Event()
    scratch.mkdir()
    environment = {
        "FLTS_BUS": broker.url,
        "FLTS_STORE": store_url,
        "FLTS_PATIENCE": "20",
        "FLTS_MAX_ENDED": "1000",  # the test ends processes that no message is to blame for
        "TMPDIR": str(scratch),
    }
    customers = Customers(context_on(store, bus), random.Random(seed))  # noqa: S311 - dice, no secrets
    with processes(tmp_path / "logs", environment) as running:
        crew = Crew(running, random.Random(seed + 1), bus)  # noqa: S311
        crew.start()
        monkey = threading.Thread(target=crew.disturb, args=(stop,), name="monkey")
        monkey.start()
        end = time.monotonic() + SECONDS
        try:
            while time.monotonic() < end:
                customers.act()
                time.sleep(customers.chance.uniform(0.1, 1.0))
        finally:
            stop.set()
            monkey.join()
        rested = at_rest(lambda: history(store_url, bus, customers))
        stuck = [] if rested else crew.stuck()
        if stuck:  # the broker's fault; a message that lies still where it has formed every group is ours
            broker.restart()
            rested = at_rest(lambda: history(store_url, bus, customers))
        crew.dismiss()
    found = history(store_url, bus, customers)
    promotions = sum(len(entries) for entries in found.logs.values())
    answers = len(found.topics["performance-eval"])
    letters = len(found.topics[f"{DEAD}inference-data"])
    print(f"{dict(crew.deeds)}, {dict(customers.did)}, groups the broker kept from forming: {stuck}")
    print(f"{promotions} promotions, {answers} answers, {letters} letters")
    assert crew.wrong == []
    assert faults(found) == []
    assert rested, "something lay still until the services were asked to end"
    assert list(differing(found)) == []
    assert promotions > 0, "nothing was promoted, so nothing was shown"
    assert eventually(lambda: not carrying(f"FLTS_STORE={store_url}")), carrying(f"FLTS_STORE={store_url}")
    assert eventually(lambda: not list(scratch.iterdir())), list(scratch.iterdir())


def history(store_url: str, bus: Bus, customers: Customers) -> History:
    """What there is now."""
    topics = {topic: bus.records(topic) for name in TOPICS for topic in (name, f"{DEAD}{name}")}
    return History(contents(open_store(store_url)), topics, customers.claimed, customers.asked)


def at_rest(look: Callable[[], History]) -> bool:
    """Wait until nothing more is said and nothing is missing; False when it does not come to that in time."""
    end, before = time.monotonic() + QUIET, {"": -1}
    while time.monotonic() < end:
        now = look()
        said = {topic: len(records) for topic, records in now.topics.items()}
        if said == before and not faults(now):
            return True
        before = said
        time.sleep(STILL)
    return False
