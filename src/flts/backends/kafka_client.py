"""Clients of Kafka, opened so that a bus keeps its promises; and its messages as records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flts.backends.kafka_errors import INNER, Trouble
from flts.contracts.errors import UsageError
from flts.contracts.ports import Record

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message, Producer
    from confluent_kafka.admin import AdminClient

Place = tuple[str, int]
"""Topic and partition."""
T = TypeVar("T")

MAX_MESSAGE_BYTES = 1 << 20
ENVELOPE_BYTES = 1 << 16
"""Room for key, headers and framing around a message of the largest size."""
OURS = (
    *("bootstrap.servers", "acks", "enable.idempotence", "message.timeout.ms", "message.max.bytes", "linger.ms"),
    *("group.id", "group.instance.id", "enable.auto.commit", "enable.auto.offset.store", "auto.offset.reset"),
    *("session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy", "enable.partition.eof"),
    *("allow.auto.create.topics", "group.protocol", "transactional.id"),
)
"""What the promises of a Bus rest on, and other settings give."""
SECRETS = {
    "sasl.password": "kafka_password",
    "sasl.oauthbearer.client.secret": "kafka_password",
    "ssl.key.password": "kafka_key_password",
    "ssl.keystore.password": "kafka_key_password",
}
"""Options that no list of settings may show, and the setting that gives each."""


@dataclass(frozen=True)
class KafkaOptions:
    """What is known of a cluster."""

    brokers: str
    """host:port, several with commas."""
    partitions: int = 6
    replication: int = -1
    """Copies of a new topic; -1 leaves it to the brokers."""
    member: str = ""
    """Name of this process in its groups; under it, it takes up its partitions again after a restart."""
    session_timeout: float = 6.0
    """Seconds after which the partitions of a dead member go to others."""
    timeout: float = 30.0
    """Seconds to wait for an acknowledgement or an answer."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Any further option of librdkafka, for instance for TLS and SASL."""
    password: str = field(default="", repr=False)
    key_password: str = field(default="", repr=False)
    """Of the client's own key."""

    def check(self) -> None:
        """Raise UsageError for an option that is not to be given."""
        for name, value in self.options.items():
            if name.endswith(".location") and value != "probe" and not Path(value).exists():
                raise UsageError(
                    f"kafka_options: '{name}' names {value}: file not found",
                    code="option-file-missing",
                    option=name,
                    file=value,
                )
            if name in OURS:
                raise UsageError(
                    f"kafka_options: '{name}' is fixed by FLTS for its delivery guarantees",
                    code="option-fixed",
                    option=name,
                )
            if name in SECRETS:
                way = SECRETS[name]
                raise UsageError(
                    f"kafka_options: '{name}' is a secret; give it as {way} or {way}_file",
                    code="option-secret",
                    option=name,
                    expected=way,
                )


def _connection(options: KafkaOptions, trouble: Trouble) -> dict[str, Any]:
    """What producers, consumers and the admin client have in common."""
    trouble.options = options.options
    login = options.options.get("sasl.mechanism", options.options.get("sasl.mechanisms", ""))
    password = "sasl.oauthbearer.client.secret" if login == "OAUTHBEARER" else "sasl.password"
    key = "ssl.keystore.password" if "ssl.keystore.location" in options.options else "ssl.key.password"
    secrets = {name: said for name, said in ((password, options.password), (key, options.key_password)) if said}
    ours = {"bootstrap.servers": options.brokers, "client.id": "flts", "logger": trouble, "error_cb": trouble.hear}
    return {**ours, **options.options, **secrets}


def open_consumer(options: KafkaOptions, trouble: Trouble, own: Mapping[str, str]) -> Consumer:
    """Who reads, and commits only what it is told to. own: its group, and what else is its own. Raises UsageError."""
    from confluent_kafka import Consumer

    session = round(options.session_timeout * 1000)
    common = {
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "allow.auto.create.topics": False,
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": session,
        "heartbeat.interval.ms": session // 6,
    }
    consumer: Consumer = _open(Consumer, {**_connection(options, trouble), **common, **own})
    return consumer


def open_admin(options: KafkaOptions, trouble: Trouble) -> AdminClient:
    """Who makes topics and tells of groups. Raises UsageError."""
    from confluent_kafka.admin import AdminClient

    return _open(AdminClient, _connection(options, trouble))


def open_producer(options: KafkaOptions, trouble: Trouble) -> Producer:
    """Who sends: nothing twice, nothing out of order, nothing that not all copies have. Raises UsageError."""
    from confluent_kafka import Producer

    own = {
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": 0,  # each message is waited for
        "message.timeout.ms": round(options.timeout * 1000),
        "message.max.bytes": MAX_MESSAGE_BYTES + ENVELOPE_BYTES,
    }
    producer: Producer = _open(Producer, {**_connection(options, trouble), **own})
    return producer


def _open(client: Callable[[dict[str, Any]], T], options: dict[str, Any]) -> T:
    """A client. Raises UsageError naming an option that librdkafka refuses."""
    from confluent_kafka import KafkaException

    try:
        return client(options)
    except KafkaException as raised:
        reason = raised.args[0].str()
        fits = "librdkafka's CONFIGURATION.md lists what fits"
        if any(f"{name} failed" in reason for name in ("ssl.key.location", "ssl.keystore.location")):
            fits = "the file must hold a key, and kafka_key_password must open it"
        elif ".location failed" in reason:
            fits = "the file must hold certificates as PEM"
        raise UsageError(
            f"kafka_options: {INNER.sub('', reason)}; {fits}", code="option-refused", reason=reason
        ) from None


def record_of(message: Message) -> Record:
    """A message of a topic."""
    topic, partition = place_of(message)
    return Record(
        topic,
        partition,
        known(message.offset()),
        _text(message.key()),
        _bytes(message.value()),
        {name: _text(value) for name, value in dict(message.headers() or []).items()},
        message.timestamp()[1],
    )


def place_of(message: Message) -> Place:
    """Where a message lies."""
    return known(message.topic()), known(message.partition())


def known(value: T | None) -> T:
    """What every message of a topic has."""
    assert value is not None
    return value


def _text(value: Any) -> str:
    return _bytes(value).decode(errors="surrogateescape")


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""
