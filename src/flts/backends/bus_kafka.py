"""A Bus on Kafka through confluent-kafka: `publish` waits for the acknowledgement, and only `commit` commits."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from flts.backends.kafka_client import (
    KafkaOptions,
    Partition,
    T,
    open_admin,
    open_consumer,
    open_producer,
    partition_of,
    present,
    record_of,
    settings_of,
)
from flts.backends.kafka_errors import Trouble, failed, kafka_errors
from flts.contracts.errors import BackendUnavailable, MissingExtra
from flts.contracts.ports import BusState, Place, Record

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
    from confluent_kafka.admin import AdminClient

POLL_SECONDS = 0.1
SHORTEST_WAIT = 0.001
"""Seconds before the answer to a commit is looked for, at first."""
UNNAMED = "unnamed"
"""Shown as the member of an active group when the broker does not name its members."""
PATIENCE_SECONDS = 1.0
"""The longest wait for records before the connection to the brokers is checked."""


class KafkaBus:
    """A Bus on the brokers of one cluster. It connects on first use."""

    def __init__(self, options: KafkaOptions) -> None:
        """Raises MissingExtra, and UsageError for an option that may not be set."""
        try:
            import confluent_kafka  # noqa: F401
        except ImportError:
            raise MissingExtra("a bus on Kafka", "kafka") from None
        options.check()
        self.url = f"kafka://{options.brokers}"
        self._options = options
        self._request = {"request_timeout": options.timeout}
        self._trouble = Trouble(self.url)
        self._lock = threading.Lock()
        self._producer: _Producer | None = None
        self._admin_client: AdminClient | None = None

    def ensure(self, topics: Sequence[str]) -> None:
        from confluent_kafka.cimpl import NewTopic

        missing = set(topics) - set(self.describe().topics)
        if not missing:
            return
        new = [
            NewTopic(name, self._options.partitions, self._options.replication, config=settings_of(name))
            for name in sorted(missing)
        ]
        with kafka_errors(f"create topics at {self.url}"):
            created = self._admin().create_topics(new, **self._request)
        for topic, future in created.items():
            with kafka_errors(f"create the topic {topic} at {self.url}", passing=["TOPIC_ALREADY_EXISTS"]):
                future.result()
        deadline = time.monotonic() + self._options.timeout
        while absent := missing - set(self.describe().topics):
            if time.monotonic() > deadline:
                topics = sorted(absent)
                raise BackendUnavailable(
                    f"created {', '.join(topics)} at {self.url}, but the brokers do not list it yet",
                    code="no-topic",
                    topics=topics,
                )
            time.sleep(POLL_SECONDS)

    def publish(self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None) -> Place | None:
        with self._lock:
            if self._producer is None or self._producer.broken:
                self._producer = _Producer(self._options, self.url)
        return self._producer.publish(topic, key, value, headers or {})

    def subscribe(self, topics: Sequence[str], group: str) -> KafkaSubscription:
        return KafkaSubscription(self._options, self.url, topics, group)

    def records(self, topic: str, newest: int | None = None) -> Sequence[Record]:
        from confluent_kafka import OFFSET_BEGINNING, KafkaError, TopicPartition

        trouble = Trouble(self.url)
        options = {"group.id": f"flts-reader-{uuid.uuid4().hex}", "enable.partition.eof": "true"}
        consumer = open_consumer(self._options, trouble, options)
        records: list[Record] = []
        try:
            partitions = range(self.describe().topics.get(topic, 0))
            places = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions]
            if newest is not None:
                with kafka_errors(f"read {topic} at {self.url}"):
                    for place in places:
                        low, high = present(consumer.get_watermark_offsets(place, timeout=self._options.timeout))
                        place.offset = max(low, high - newest)
            consumer.assign(places)
            unread = set(partitions)
            deadline = time.monotonic() + self._options.timeout
            while unread:
                message = consumer.poll(POLL_SECONDS)
                trouble.check()
                if time.monotonic() > deadline:
                    raise BackendUnavailable(
                        f"cannot read {topic} at {self.url}: no answer within {self._options.timeout:g} s",
                        code="no-answer",
                        url=self.url,
                        topic=topic,
                    )
                if message is None:
                    continue
                error = message.error()
                if error is None:
                    records.append(record_of(message))
                    deadline = time.monotonic() + self._options.timeout
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(present(message.partition()))
                elif not error.retriable():
                    raise failed(f"read {topic} at {self.url}", error)
        finally:
            consumer.close()
        records.sort(key=lambda record: (record.partition, record.offset))
        if newest is None:
            return records
        each = (list(found) for _, found in groupby(records, key=attrgetter("partition")))
        return [record for found in each for record in found[-newest:]]  # a broker may not know how many it has

    def lag(self, topic: str, group: str) -> int:
        from confluent_kafka import TopicPartition

        consumer = open_consumer(self._options, Trouble(self.url), {"group.id": group})
        try:
            with kafka_errors(f"ask {self.url} for the lag of {group} in {topic}"):
                partitions = [TopicPartition(topic, number) for number in range(self.describe().topics.get(topic, 0))]
                total = 0
                for committed in consumer.committed(partitions, timeout=self._options.timeout) if partitions else []:
                    low, high = consumer.get_watermark_offsets(committed, timeout=self._options.timeout)
                    total += high - max(committed.offset, low)
                return total
        finally:
            consumer.close()

    def describe(self, groups: Sequence[str] = ()) -> BusState:
        from confluent_kafka import ConsumerGroupState

        metadata = self._ask(lambda seconds: self._admin().list_topics(timeout=seconds))
        members: dict[str, Sequence[str]] = {}
        answers = self._admin().describe_consumer_groups(list(groups), **self._request) if groups else {}
        for group, future in answers.items():
            with kafka_errors(f"ask {self.url} for the group {group}", passing=["GROUP_ID_NOT_FOUND"]):
                members[group] = []
                description = future.result()
                members[group] = [m.group_instance_id or m.client_id for m in description.members]
                if not members[group] and description.state == ConsumerGroupState.STABLE:
                    members[group] = [UNNAMED]
        return BusState(
            sorted(f"{broker.host}:{broker.port}" for broker in metadata.brokers.values()),
            {name: len(topic.partitions) for name, topic in sorted(metadata.topics.items())},
            members,
        )

    def _ask(self, request: Callable[[float], T]) -> T:
        """The answer to a request, tried with growing timeouts: a client reports a refused login only between calls."""
        patience, deadline = PATIENCE_SECONDS, time.monotonic() + self._options.timeout
        while True:
            left = deadline - time.monotonic()
            try:
                with kafka_errors(f"list the topics of {self.url}", trouble=self._trouble):
                    try:
                        return request(min(patience, left))
                    finally:
                        self._admin().poll(0)
            except BackendUnavailable:
                if left <= patience:
                    raise
            patience *= 2

    def close(self) -> None:
        with self._lock:
            if self._producer is not None:
                self._producer.close()
            self._producer = self._admin_client = None

    def _admin(self) -> AdminClient:
        with self._lock:
            if self._admin_client is None:
                self._admin_client = open_admin(self._options, self._trouble)
            return self._admin_client


class _Producer:
    """Publishes for any thread; a thread of its own receives the delivery reports."""

    def __init__(self, options: KafkaOptions, url: str) -> None:
        self._url, self._trouble = url, Trouble(url)
        self._producer = open_producer(options, self._trouble)
        self._closed = threading.Event()
        self.broken = False
        self._thread = threading.Thread(target=self._listen, daemon=True, name="kafka-producer")
        self._thread.start()

    def publish(self, topic: str, key: str, value: bytes, headers: Mapping[str, str]) -> Place | None:
        what = f"publish to {topic} at {self._url}"
        ended = threading.Event()
        errors: list[KafkaError] = []
        places: list[Place] = []

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            offset, partition = message.offset(), message.partition()
            if error is not None:
                errors.append(error)
            elif offset is not None and offset >= 0 and partition is not None:  # an answer may say only that it has it
                places.append(Place(topic, partition, offset))
            ended.set()

        with kafka_errors(what):
            packed: list[tuple[str, str | bytes | None]] = [
                (name, text.encode(errors="surrogateescape")) for name, text in headers.items()
            ]
            self._producer.produce(
                topic, value, key.encode(errors="surrogateescape"), headers=packed, on_delivery=on_delivery
            )
        while not ended.wait(POLL_SECONDS):
            self._trouble.check(transient=False)  # an outage that ends in time is not an error
        for error in errors:
            self.broken = self.broken or error.fatal()
            raise self._trouble.failed(what, error)
        return next(iter(places), None)

    def close(self) -> None:
        self._producer.purge()  # a message that no caller waited for was never acknowledged
        self._closed.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(POLL_SECONDS)


class KafkaSubscription:
    """A member of a group with cooperative rebalancing: the partitions it keeps are read on while others move."""

    def __init__(self, options: KafkaOptions, url: str, topics: Sequence[str], group: str) -> None:
        self._url, self._group, self._trouble = url, group, Trouble(url)
        self._delivered: dict[Partition, int] = {}
        """The offset after the last delivered record, by partition that this member owns."""
        self._committed: dict[Partition, int] = {}
        self._refused: dict[Partition, KafkaError] = {}
        """The answer to the last commit of a partition, where that is an error."""
        self._ahead: deque[Message] = deque()
        """Records that came while a commit waited for its answer."""
        self._paused = self._closed = False
        self._timeout = options.timeout
        own = {
            "group.id": group,
            "on_commit": self._on_commit,
            **({"group.instance.id": options.member} if options.member else {}),
        }
        self._consumer = open_consumer(options, self._trouble, own)
        with kafka_errors(f"join {group} at {url}"):
            self._consumer.subscribe(
                list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
            )

    def poll(self, timeout: float) -> Record | None:
        if self._closed:
            return None
        if self._paused:
            self._consumer.resume(self._consumer.assignment())
            self._paused = False
        deadline = time.monotonic() + timeout
        message = self._ahead.popleft() if self._ahead else self._next(min(timeout, PATIENCE_SECONDS))
        while message is None and (left := deadline - time.monotonic()) > 0:
            message = self._next(min(left, PATIENCE_SECONDS))
        if message is None:
            return None
        record = record_of(message)
        self._delivered[record.topic, record.partition] = record.offset + 1
        return record

    def stay(self, record: Record, timeout: float) -> bool:
        if self._closed:
            return False
        if not self._paused:
            self._consumer.pause(self._consumer.assignment())
            self._paused = True
        deadline = time.monotonic() + timeout
        while True:
            # paused partitions deliver nothing; a record that was already on its way is read again later
            message = None
            with suppress(BackendUnavailable):  # work goes on while brokers are away; the commit reports it
                message = self._next(max(0.0, deadline - time.monotonic()))
            if message is not None:
                self._seek(partition_of(message), present(message.offset()))
            if time.monotonic() >= deadline or not self._holds(record):
                return self._holds(record)

    def commit(self, record: Record) -> None:
        from confluent_kafka import KafkaError

        what = f"commit {record.topic} for {self._group} at {self._url}"
        moving = {KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID}
        deadline = time.monotonic() + self._timeout
        while not self._is_committed(record):
            error = self._ask_to_commit(record, deadline, what)
            if error is None:
                continue
            if error.code() not in moving or time.monotonic() > deadline:
                raise failed(what, error)
            self.stay(record, POLL_SECONDS)  # a rebalance goes on only while its members poll

    def _ask_to_commit(self, record: Record, deadline: float, what: str) -> KafkaError | None:
        """Send a commit and wait for its answer; the error that it was answered with.

        Not by the client's own waiting call: nothing ends that one while a broker is silent. Raises BackendUnavailable.
        """
        from confluent_kafka import TopicPartition

        partition, pause = (record.topic, record.partition), SHORTEST_WAIT
        self._refused.pop(partition, None)
        with kafka_errors(what):
            self._consumer.commit(offsets=[TopicPartition(*partition, record.offset + 1)], asynchronous=True)
        while not self._is_committed(record) and partition not in self._refused:
            if time.monotonic() > deadline:
                raise BackendUnavailable(
                    f"cannot {what}: no answer within {self._timeout:g} s", code="no-answer", url=self._url
                )
            with suppress(BackendUnavailable):  # the answer may still come, and the deadline counts
                message = self._next(pause)
                if message is not None:
                    self._ahead.append(message)
            pause = min(2 * pause, POLL_SECONDS)
        return self._refused.pop(partition, None)

    def _is_committed(self, record: Record) -> bool:
        """Whether nothing is left to do: the broker has it, or the partition went to another member."""
        partition = record.topic, record.partition
        return not self._holds(record) or self._committed.get(partition, 0) > record.offset

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """The answer to a commit, which arrives while this member polls."""
        for one in partitions:
            partition, refusal = (one.topic, one.partition), error or one.error
            if refusal is not None:
                self._refused[partition] = refusal
            elif partition in self._delivered:
                self._committed[partition] = max(self._committed.get(partition, 0), one.offset)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._delivered.clear()
            self._ahead.clear()
            # at a broker that freezes the client may wait for an answer without end; its member then leaves by itself
            # after its session_timeout
            leaving = threading.Thread(target=self._consumer.close, name="leave", daemon=True)
            leaving.start()
            leaving.join(self._timeout)

    def _next(self, timeout: float) -> Message | None:
        """The next record, or None. Raises the error that keeps records from coming."""
        from confluent_kafka import KafkaError

        message = self._consumer.poll(timeout)
        if message is None:  # checked only without a record: one that is dropped would not come again
            self._trouble.check()
            return None
        error = message.error()
        if error is None:
            return message
        if error.code() == KafkaError._MAX_POLL_EXCEEDED:
            self._delivered.clear()  # polled too late: the group took its partitions away; it joins again by itself
            self._committed.clear()
            self._ahead.clear()
            return None
        self._trouble.check()
        raise failed(f"read as {self._group} at {self._url}", error)

    def _holds(self, record: Record) -> bool:
        """Whether this member delivered the record and still owns its partition."""
        return self._delivered.get((record.topic, record.partition), 0) > record.offset

    def _seek(self, partition: Partition, offset: int) -> None:
        from confluent_kafka import TopicPartition

        with kafka_errors(f"seek in {partition[0]} at {self._url}"):
            self._consumer.seek(TopicPartition(*partition, offset))

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(partitions)
        # librdkafka remembers that a lost partition was paused: when it comes back it would stay silent
        (consumer.pause if self._paused else consumer.resume)(partitions)

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        gone = {(partition.topic, partition.partition) for partition in partitions}
        for partition in gone:
            self._delivered.pop(partition, None)
            self._committed.pop(partition, None)
        self._ahead = deque(message for message in self._ahead if partition_of(message) not in gone)
