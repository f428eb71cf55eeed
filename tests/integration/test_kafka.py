"""The bus when brokers and members die, come back, or have the wrong identity."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Message
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from tests.support.raising import raises
from tests.support.servers import kafka_bus
from tests.support.services import LONG

from flts.backends.bus_kafka import KafkaBus
from flts.backends.kafka_client import KafkaOptions
from flts.contracts.errors import BackendUnavailable, UsageError
from flts.contracts.ports import Record, Subscription
from flts.settings import load_settings
from flts.stack.kafka import durable_kafka
from flts.stack.s3 import S3
from flts.stack.server import Server
from flts.wiring import open_bus

SESSION = 2.0


@pytest.fixture
def broker(tmp_path: Path, s3_server: S3) -> Iterator[Server]:
    """A durable broker that may be killed; every one has a cluster of its own."""
    with durable_kafka(tmp_path, s3_server, cluster=tmp_path.name.replace("_", "-")) as server:
        yield server


def take(subscription: Subscription) -> Record:
    """The next record, however long its broker is away."""
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        try:
            record = subscription.poll(timeout=1.0)
        except BackendUnavailable:
            continue
        if record is not None:
            return record
    raise AssertionError("no record came")


def test_acknowledged_messages_and_commits_survive_a_killed_broker(broker: Server) -> None:
    bus = kafka_bus(broker, session_timeout=SESSION)
    bus.ensure(["topic"])
    for number in range(20):
        bus.publish("topic", "key", str(number).encode())
    first = bus.subscribe(["topic"], "group")
    for _ in range(5):
        record = take(first)
    first.commit(record)
    broker.kill()
    broker.start()
    first.close()
    second = bus.subscribe(["topic"], "group")
    assert [take(second).value.decode() for _ in range(15)] == [str(number) for number in range(5, 20)]
    second.close()
    bus.close()


def test_a_member_continues_by_itself_when_the_broker_is_back(broker: Server) -> None:
    bus = kafka_bus(broker, session_timeout=SESSION)
    bus.ensure(["topic"])
    subscription = bus.subscribe(["topic"], "group")
    bus.publish("topic", "key", b"before")
    before = take(subscription)
    broker.kill()
    assert subscription.stay(before, timeout=1.0)  # work goes on without a broker
    with pytest.raises(BackendUnavailable, match="brokers are down"):
        subscription.poll(timeout=LONG)
    broker.start()
    bus.publish("topic", "key", b"after")
    assert {take(subscription).value, take(subscription).value} == {b"before", b"after"}
    subscription.close()
    bus.close()


def test_a_message_sent_while_the_broker_is_away_is_acknowledged_when_it_is_back_in_time(broker: Server) -> None:
    bus = kafka_bus(broker, timeout=LONG)
    bus.ensure(["topic"])
    bus.publish("topic", "key", b"0")
    broker.kill()
    sender = threading.Thread(target=bus.publish, args=("topic", "key", b"1"))
    sender.start()
    sender.join(timeout=0.5)
    assert sender.is_alive()
    broker.start()
    sender.join(timeout=2 * LONG)
    assert [record.value for record in bus.records("topic")] == [b"0", b"1"]
    bus.close()


def test_every_call_fails_in_time_while_the_broker_is_away(broker: Server) -> None:
    with contextlib.closing(kafka_bus(broker)) as patient:  # a new producer may take longer than the other has
        patient.ensure(["topic"])
        patient.publish("topic", "key", b"x")
    bus = kafka_bus(broker, timeout=1.0)
    broker.kill()
    for ask in (
        lambda: bus.publish("topic", "key", b"y"),
        bus.describe,
        lambda: bus.ensure(["other"]),
        lambda: bus.records("topic"),
        lambda: bus.lag("topic", "group"),
    ):
        with pytest.raises(BackendUnavailable, match=broker.url):
            ask()
    bus.close()


def test_a_broker_keeps_dead_letters_for_good_and_other_messages_as_it_likes(durable_broker: Server) -> None:
    bus = kafka_bus(durable_broker)
    bus.ensure(["DLQ-kept", "not-kept"])
    admin = AdminClient({"bootstrap.servers": durable_broker.url.removeprefix("kafka://")})
    asked = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in ("DLQ-kept", "not-kept")]
    answers = admin.describe_configs(asked, request_timeout=LONG)
    said = {topic.name: answer.result() for topic, answer in answers.items()}
    assert said["DLQ-kept"]["retention.ms"].value == "-1"
    assert "retention.ms" not in said["not-kept"] or said["not-kept"]["retention.ms"].value != "-1"
    bus.close()


def test_records_that_a_killed_member_had_not_committed_go_to_another(durable_broker: Server, tmp_path: Path) -> None:
    bus = kafka_bus(durable_broker, session_timeout=SESSION)
    topic = f"killed-{tmp_path.name}"
    bus.ensure([topic])
    bus.publish(topic, "key", b"work")
    program = (
        "import sys, time; from flts.backends.bus_kafka import *; from flts.backends.kafka_client import *\n"
        f"bus = KafkaBus(KafkaOptions(sys.argv[1], session_timeout={SESSION}))\n"
        "member = bus.subscribe([sys.argv[2]], sys.argv[2])\n"
        "while (record := member.poll(1.0)) is None: pass\n"
        "print(record.value.decode(), flush=True)\n"
        "while True: member.stay(record, 1.0)"
    )
    address = durable_broker.url.removeprefix("kafka://")
    with subprocess.Popen([sys.executable, "-c", program, address, topic], stdout=subprocess.PIPE, text=True) as member:
        assert member.stdout is not None
        assert member.stdout.readline() == "work\n"
        member.send_signal(signal.SIGKILL)
    other = bus.subscribe([topic], topic)
    assert take(other).value == b"work"
    other.close()
    bus.close()


def test_work_may_outlast_the_session_and_the_poll_interval(durable_broker: Server, tmp_path: Path) -> None:
    bus = kafka_bus(durable_broker, session_timeout=SESSION, options={"max.poll.interval.ms": "3000"})
    topic = f"long-{tmp_path.name}"
    bus.ensure([topic])
    for value in (b"0", b"1"):
        bus.publish(topic, "key", value)
    subscription = bus.subscribe([topic], topic)
    record = take(subscription)
    until = time.monotonic() + 3 * SESSION
    while time.monotonic() < until:
        assert subscription.stay(record, timeout=0.5)
    subscription.commit(record)
    assert take(subscription).value == b"1"
    subscription.close()
    bus.close()


def test_a_member_away_for_too_long_cannot_commit_its_record(durable_broker: Server, tmp_path: Path) -> None:
    bus = kafka_bus(durable_broker, session_timeout=SESSION, options={"max.poll.interval.ms": "3000"})
    topic = f"away-{tmp_path.name}"
    bus.ensure([topic])
    bus.publish(topic, "key", b"work")
    away, other = bus.subscribe([topic], topic), None
    try:
        record = take(away)
        other = bus.subscribe([topic], topic)
        again = take(other)  # comes only when `away`, which polls no more, has lost it
        assert (again.offset, again.value) == (record.offset, b"work")
        assert not away.stay(record, timeout=0.0)
        away.commit(record)
        assert other.stay(again, timeout=0.0)
        other.commit(again)
    finally:
        away.close()
        if other is not None:
            other.close()
    assert len(bus.records(topic)) == 1
    bus.close()


def test_a_revoked_partition_that_comes_back_delivers_its_messages(durable_broker: Server, tmp_path: Path) -> None:
    topic, messages, deadline = f"back-{tmp_path.name}", 12, time.monotonic() + 2 * LONG
    bus = kafka_bus(durable_broker, session_timeout=SESSION)
    bus.ensure([topic])
    for number in range(messages):  # some in every partition
        bus.publish(topic, str(number), b"x")
    first = bus.subscribe([topic], topic)
    record = take(first)
    second, moved = bus.subscribe([topic], topic), None
    while moved is None and time.monotonic() < deadline:
        first.stay(record, timeout=0.1)
        moved = second.poll(timeout=0.1)
    assert moved is not None
    first.commit(record)
    found = {(record.partition, record.offset)}
    while len(found) < messages and time.monotonic() < deadline:
        again = first.poll(timeout=0.5)
        found |= set() if again is None else {(again.partition, again.offset)}
        second.close()  # it has committed nothing
    assert len(found) == messages, found
    first.close()
    bus.close()


class Alarmed:
    """A consumer that gives each record together with the news that no broker can be reached."""

    def __init__(self, consumer: Consumer, hear: Callable[[KafkaError], None]) -> None:
        self._consumer, self._hear = consumer, hear

    def poll(self, timeout: float) -> Message | None:
        message = self._consumer.poll(timeout)
        if message is not None:
            self._hear(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        return message

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)


def test_a_record_that_arrives_with_an_error_is_delivered(
    durable_broker: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = kafka_bus(durable_broker, session_timeout=SESSION)
    topic = f"alarm-{tmp_path.name}"
    bus.ensure([topic])
    for value in (b"0", b"1"):
        bus.publish(topic, "key", value)
    subscription = bus.subscribe([topic], topic)
    monkeypatch.setattr(subscription, "_consumer", Alarmed(subscription._consumer, subscription._trouble.hear))
    assert [take(subscription).value for _ in range(2)] == [b"0", b"1"]
    with pytest.raises(BackendUnavailable, match="connections are down"):
        subscription.poll(timeout=0.0)
    subscription.close()
    bus.close()


@pytest.mark.long
def test_a_static_member_keeps_its_partitions_after_a_restart(durable_broker: Server, tmp_path: Path) -> None:
    topic = f"named-{tmp_path.name}"
    bus = kafka_bus(durable_broker, session_timeout=SESSION, member="pod-0")
    bus.ensure([topic])
    for value in (b"0", b"1"):
        bus.publish(topic, "key", value)
    first = bus.subscribe([topic], topic)
    first.commit(take(first))
    first.close()
    second = bus.subscribe([topic], topic)
    assert take(second).value == b"1"
    second.close()
    bus.close()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"acks": "1"}, "option-fixed"),
        ({"enable.auto.commit": "true"}, "option-fixed"),
        ({"sasl.password": "hush"}, "option-secret"),
    ],
)
def test_fixed_options_and_secrets_are_refused(options: dict[str, str], code: str) -> None:
    with raises(UsageError, code=code, option=next(iter(options))) as caught:
        KafkaBus(KafkaOptions("127.0.0.1:1", options=options))
    assert "hush" not in str(caught.value)


def test_an_option_that_librdkafka_does_not_know_is_named() -> None:
    bus = KafkaBus(KafkaOptions("127.0.0.1:1", options={"no.such": "x"}))
    with raises(UsageError, code="option-refused") as caught:
        bus.describe()
    assert "no.such" in str(caught.value)


def test_a_refusing_broker_is_an_error_that_names_what_to_check(durable_broker: Server) -> None:
    login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "nobody"}
    bus = kafka_bus(durable_broker, options=login, password="hush", timeout=LONG)  # noqa: S106 - nobody's
    with raises(UsageError, code="login-refused") as caught:
        bus.publish("topic", "key", b"x")
    assert "hush" not in str(caught.value)
    bus.close()


def test_settings_name_the_bus_and_its_secret_is_never_shown(
    quick_broker: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("hush\n")
    monkeypatch.setenv("FLTS_BUS", quick_broker.url)
    monkeypatch.setenv("FLTS_KAFKA_OPTIONS", '{"client.rack": "here"}')
    monkeypatch.setenv("FLTS_KAFKA_PASSWORD_FILE", str(tmp_path / "password"))
    settings = load_settings()
    assert settings.kafka_options == {"client.rack": "here"}
    assert settings.sasl_password() == "hush"
    assert "hush" not in repr(settings)
    bus = open_bus(settings)
    assert bus.url == quick_broker.url
    assert bus.describe().brokers == [quick_broker.url.removeprefix("kafka://")]
    assert "hush" not in repr(vars(bus))
    bus.close()
    assert open_bus(load_settings(bus="memory://")).url == "memory://"


@pytest.mark.parametrize("bus", ["kafka://", "kafka://user:hush@host:1", "amqp://host", "kafka://host/path"])
def test_an_invalid_bus_url_is_refused(bus: str) -> None:
    with raises(UsageError, code="setting-invalid"):
        load_settings(bus=bus)
