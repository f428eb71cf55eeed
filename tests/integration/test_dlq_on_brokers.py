"""`flts dlq` from the command line, on real brokers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Sequence

import pytest
from tests.support.servers import kafka_bus

from flts.contracts.errors import DataError
from flts.contracts.ports import Bus
from flts.runner.services.letters import send_to_dead_letters
from flts.stack.server import Server

ODD = b"\xff\xfe".decode(errors="surrogateescape")
SENT = 12


def command(broker: Server, *arguments: str) -> subprocess.Popen[str]:
    """`flts dlq …` on this broker."""
    environment = os.environ | {"FLTS_BUS": broker.url, "FLTS_KAFKA_TIMEOUT": "5"}
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "flts", "dlq", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(broker: Server, *arguments: str) -> str:
    """What it prints when all is well."""
    process = command(broker, *arguments)
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out


def dead(bus: Bus, topic: str, values: Sequence[bytes]) -> None:
    """Messages of a topic of this test's own, and their letters."""
    bus.ensure([topic])
    for value in values:
        bus.publish(topic, ODD, value, {"who": ODD, "traceparent": "00-1-2-01"})
    for record in bus.records(topic):
        send_to_dead_letters(bus, record, DataError("no such column"), 1, "train-gru")


@pytest.mark.parametrize("kind", [pytest.param("durable_broker", marks=pytest.mark.long), "quick_broker"])
def test_a_letter_is_listed_shown_and_replayed_byte_for_byte(kind: str, request: pytest.FixtureRequest) -> None:
    broker: Server = request.getfixturevalue(kind)
    bus, topic = kafka_bus(broker), f"rows-{uuid.uuid4().hex[:8]}"
    dead(bus, topic, [b"\x00\xff", b"two"])
    rows = json.loads(said(broker, "list", "--topic", topic, "--json"))
    assert [(row["group"], row["error"], row["reason"], row["replayed"]) for row in rows] == [
        ("train-gru", "DataError", "no such column", False)
    ] * 2
    shown = [json.loads(said(broker, "show", row["id"], "--json")) for row in rows]
    first = next(letter for letter in shown if letter["value"] == "\x00\\xff")
    assert first["origin"].startswith(f"{topic}/")
    assert said(broker, "replay", first["id"]) == f"sent again to {topic}: {first['id']}\n"
    again = bus.records(topic)[-1]
    original = next(record for record in bus.records(topic) if record.value == b"\x00\xff")
    assert (again.value, again.key) == (original.value, ODD)
    assert again.headers == {**original.headers, "flts-replayed": ":".join(first["id"].split("/")[1:])}
    listed = json.loads(said(broker, "list", "--topic", topic, "--json"))
    assert {row["id"]: row["replayed"] for row in listed} == {row["id"]: row["id"] == first["id"] for row in rows}
    bus.close()


@pytest.mark.long
def test_a_broker_that_dies_during_a_replay_loses_no_letter(durable_broker: Server) -> None:
    bus, topic = kafka_bus(durable_broker), f"rows-{uuid.uuid4().hex[:8]}"
    values = [str(number).encode() for number in range(SENT)]
    dead(bus, topic, values)
    process = command(durable_broker, "replay", "--all", "--topic", topic)
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline().startswith("sent again to")
    durable_broker.kill()
    _, err = process.communicate()
    durable_broker.start()
    assert process.returncode == 3, err
    assert f"of {SENT} messages were sent again; nothing is lost" in err
    said(durable_broker, "replay", "--all", "--topic", topic)
    assert all(row["replayed"] for row in json.loads(said(durable_broker, "list", "--topic", topic, "--json")))
    counted = Counter(record.value for record in bus.records(topic))
    assert counted.keys() == set(values)
    assert min(counted.values()) >= 2  # as it was sent first, and at least once more
    assert said(durable_broker, "replay", "--all", "--topic", topic) == "nothing to replay\n"
    bus.close()
