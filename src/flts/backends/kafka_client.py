"""Clients of Kafka with the settings that the guarantees of a Bus need; and Kafka's messages as Records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flts.backends.kafka_errors import INNER, Trouble
from flts.contracts.errors import UsageError
from flts.contracts.messages import DEAD_LETTERS
from flts.contracts.ports import Record

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message, Producer
    from confluent_kafka.admin import AdminClient

Partition = tuple[str, int]
"""Topic and number of the partition."""
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
"""Options that FLTS sets itself, for its delivery guarantees or from other settings."""
SECRETS = {
    "sasl.password": "kafka_password",
    "sasl.oauthbearer.client.secret": "kafka_password",
    "ssl.key.password": "kafka_key_password",
    "ssl.keystore.password": "kafka_key_password",
}
"""Options that are secrets, and the setting to use for each instead."""
SECRET = ("password", "secret", "token", ".pem", "oauthbearer.config", "jaas")
"""Parts of the names of options whose values nobody should see."""


@dataclass(frozen=True)
class KafkaOptions:
    """How to connect to a cluster."""

    brokers: str
    """host:port, several with commas."""
    partitions: int = 6
    replication: int = -1
    """Copies of a new topic; -1 leaves it to the brokers."""
    member: str = ""
    """Static name of this process in its groups: after a restart it gets the same partitions again."""
    session_timeout: float = 6.0
    """Seconds after which the partitions of a dead member go to others."""
    timeout: float = 30.0
    """Seconds to wait for an acknowledgement or an answer."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Any further option of librdkafka, for instance for TLS and SASL."""
    password: str = field(default="", repr=False)
    key_password: str = field(default="", repr=False)
    """Password of the client's private key."""

    def check(self) -> None:
        """Raise UsageError for an option that may not be set here, or a file that does not exist."""
        for name, value in self.options.items():
            if name.endswith(".location") and value != "probe" and not Path(value).exists():
                raise UsageError(
                    f"kafka_options: file not found: {value}, given as '{name}'",
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
                setting = SECRETS[name]
                raise UsageError(
                    f"kafka_options: '{name}' is a secret; set {setting} or {setting}_file instead",
                    code="option-secret",
                    option=name,
                    expected=setting,
                )


def _connection(options: KafkaOptions, trouble: Trouble) -> dict[str, Any]:
    """The options that producers, consumers and the admin client share."""
    trouble.options = options.options
    login = options.options.get("sasl.mechanism", options.options.get("sasl.mechanisms", ""))
    password = "sasl.oauthbearer.client.secret" if login == "OAUTHBEARER" else "sasl.password"
    key = "ssl.keystore.password" if "ssl.keystore.location" in options.options else "ssl.key.password"
    secrets = {name: secret for name, secret in ((password, options.password), (key, options.key_password)) if secret}
    ours = {"bootstrap.servers": options.brokers, "client.id": "flts", "logger": trouble, "error_cb": trouble.hear}
    patience = {"socket.timeout.ms": min(max(round(options.timeout * 1000), 10), 300_000)}  # of each single request
    return {**ours, **patience, **options.options, **secrets}


def open_consumer(options: KafkaOptions, trouble: Trouble, own: Mapping[str, Any]) -> Consumer:
    """A consumer that commits only when it is told to. own: its group and further options. Raises UsageError."""
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
    """A client that creates topics and describes groups. Raises UsageError."""
    from confluent_kafka.admin import AdminClient

    return _open(AdminClient, _connection(options, trouble))


def open_producer(options: KafkaOptions, trouble: Trouble) -> Producer:
    """An idempotent producer: no duplicates, in order, acknowledged by all in-sync replicas. Raises UsageError."""
    from confluent_kafka import Producer

    own = {
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": 0,  # every publish waits for its message
        "message.timeout.ms": round(options.timeout * 1000),
        "message.max.bytes": MAX_MESSAGE_BYTES + ENVELOPE_BYTES,
    }
    producer: Producer = _open(Producer, {**_connection(options, trouble), **own})
    return producer


def _open(client: Callable[[dict[str, Any]], T], options: dict[str, Any]) -> T:
    """Open a client. Raises UsageError, which names the option that librdkafka refused."""
    from confluent_kafka import KafkaException

    try:
        return client(options)
    except KafkaException as raised:
        reason = raised.args[0].str()
        shown = reason  # it may quote the value that it refuses
        for name, value in options.items():
            if isinstance(value, str) and value and any(word in name for word in SECRET):
                shown = "…".join(shown.split(value))
        hint = "see CONFIGURATION.md of librdkafka for valid values"
        if any(f"{name} failed" in reason for name in ("ssl.key.location", "ssl.keystore.location")):
            hint = "the file must hold a key, and kafka_key_password must open it"
        elif ".location failed" in reason:
            hint = "the file must hold certificates as PEM"
        raise UsageError(
            f"kafka_options: {INNER.sub('', shown)}; {hint}", code="option-refused", reason=shown
        ) from None


def settings_of(topic: str) -> dict[str, str]:
    """The settings of a new topic: its largest message, and that dead letters stay until a person deletes them."""
    limit = {"max.message.bytes": str(MAX_MESSAGE_BYTES + ENVELOPE_BYTES)}
    return limit | ({"retention.ms": "-1"} if topic.startswith(DEAD_LETTERS) else {})


def record_of(message: Message) -> Record:
    """A message as a Record."""
    topic, partition = partition_of(message)
    return Record(
        topic,
        partition,
        present(message.offset()),
        _text(message.key()),
        _bytes(message.value()),
        {name: _text(value) for name, value in dict(message.headers() or []).items()},
        message.timestamp()[1],
    )


def partition_of(message: Message) -> Partition:
    """The partition that holds a message."""
    return present(message.topic()), present(message.partition())


def present(value: T | None) -> T:
    """A value that every message read from a topic has, though its type allows None."""
    assert value is not None
    return value


def _text(value: Any) -> str:
    return _bytes(value).decode(errors="surrogateescape")


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""
