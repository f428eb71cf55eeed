"""The contract of a Bus, stated once and run on every backend.

A bus delivers at least once: a broker may deliver an uncommitted record again, for instance when a slow member lost its
partitions. So these tests look at the first delivery of each record, and at the order of these.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from tests.support.servers import kafka_bus
from tests.support.services import LONG, wait_until

from flts.backends.bus_memory import MemoryBus
from flts.contracts.ports import Bus, Place, Record, Subscription

MESSAGES = 200


Position = tuple[str, int, int]


def position(record: Record) -> Position:
    """The identity of a record, the same when it is delivered again."""
    return record.topic, record.partition, record.offset


@dataclass
class Context:
    """A bus and the names of one test on it, because many tests share a broker."""

    bus: Bus
    quiet: float
    """After this many seconds without a message, none will come."""
    kind: str
    mark: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    _open: list[Subscription] = field(default_factory=list)

    def topic(self, name: str = "topic") -> str:
        """Create a topic of this test."""
        topic = f"{name}-{self.mark}"
        self.bus.ensure([topic])
        return topic

    def join(self, *topics: str, group: str = "group") -> Subscription:
        """A member of a group of this test."""
        subscription = self.bus.subscribe(topics, self.group(group))
        self._open.append(subscription)
        return subscription

    def group(self, name: str = "group") -> str:
        return f"{name}-{self.mark}"

    def publish(self, topic: str, *values: str, key: str = "key") -> None:
        for value in values:
            self.bus.publish(topic, key, value.encode())

    def take(self, subscription: Subscription, count: int) -> list[Record]:
        """The next `count` different records in order of their first delivery; of each, its last delivery."""
        records: dict[Position, Record] = {}
        deadline = time.monotonic() + LONG
        while len(records) < count and time.monotonic() < deadline:
            record = subscription.poll(timeout=1.0)
            if record is not None:
                records[position(record)] = record
        assert len(records) == count
        return [*records.values()]

    def nothing_new(self, subscription: Subscription, taken: Sequence[Record] = ()) -> bool:
        """Whether no record comes except those in `taken`."""
        record = subscription.poll(timeout=self.quiet)
        return record is None or position(record) in map(position, taken)

    def settle(self, first: Subscription, held: Record, second: Subscription) -> Record | None:
        """Wait until the group of `first`, which works on `held`, has taken in `second`; what came to `second`.

        When the leader of a group leaves the durable broker while the group forms, it stays the leader, and nobody gets
        a partition any more (see tests/chaos/crew.py). That broker names somebody only while no group forms.
        A partition moves in a second round that follows the first at once, so a name must stay for a while.
        """
        came: Record | None = None
        formed = time.monotonic()
        deadline = formed + LONG
        while self.kind == "durable_broker" and time.monotonic() < min(formed + self.quiet, deadline):
            first.stay(held, timeout=0.05)
            came = second.poll(timeout=0.05) or came
            if not self.bus.describe([self.group()]).members[self.group()]:
                formed = time.monotonic()
        return came

    def close(self) -> None:
        for subscription in self._open:
            subscription.close()
        self.bus.close()


@pytest.fixture(
    params=[
        "memory",
        "memory of three partitions",
        # each of its tests waits for a group to form, four seconds or more
        pytest.param("durable_broker", marks=[pytest.mark.slow, pytest.mark.long]),
        pytest.param("quick_broker", marks=pytest.mark.slow),
    ]
)
def context(request: pytest.FixtureRequest) -> Iterator[Context]:
    """A bus of each kind."""
    if request.param.startswith("memory"):
        context = Context(MemoryBus(3 if "three" in request.param else 1), 0.01, request.param)
    else:
        # the durable broker forms a group in half a session timeout; the quick one accepts no timeout under 6 s
        session = 2.0 if request.param == "durable_broker" else 6.0
        bus = kafka_bus(request.getfixturevalue(request.param), session_timeout=session)
        context = Context(bus, 2.0, request.param)
    yield context
    context.close()


def values(records: Sequence[Record]) -> list[str]:
    return [record.value.decode() for record in records]


class TestBus:
    """Every test runs on every bus."""

    def test_a_message_arrives_with_its_topic_key_bytes_headers_and_time(self, context: Context) -> None:
        topic = context.topic()
        before = time.time_ns() // 1_000_000
        context.bus.publish(topic, "key", b"\x00value\xff", {"traceparent": "00-ab", "name": "ü"})
        (record,) = context.take(context.join(topic), 1)
        assert (record.topic, record.key, record.value) == (topic, "key", b"\x00value\xff")
        assert record.headers == {"traceparent": "00-ab", "name": "ü"}
        assert record.offset == 0
        assert before <= record.timestamp_ms <= time.time_ns() // 1_000_000

    def test_publish_says_where_the_message_lies(self, context: Context) -> None:
        topic = context.topic()
        places = [context.bus.publish(topic, str(number % 3), str(number).encode()) for number in range(7)]
        lying = {record.value.decode(): Place(*position(record)) for record in context.bus.records(topic)}
        assert places == [lying[str(number)] for number in range(7)]

    def test_a_message_without_headers_and_bytes_has_none(self, context: Context) -> None:
        topic = context.topic()
        context.bus.publish(topic, "", b"")
        (record,) = context.take(context.join(topic), 1)
        assert (record.key, dict(record.headers), record.value) == ("", {}, b"")

    def test_header_bytes_that_are_not_text_survive_a_second_topic(self, context: Context) -> None:
        first, second = context.topic("first"), context.topic("second")
        odd = b"\xff\xfe".decode(errors="surrogateescape")
        context.bus.publish(first, odd, b"x", {"odd": odd})
        (record,) = context.bus.records(first)
        context.bus.publish(second, record.key, record.value, record.headers)
        (again,) = context.bus.records(second)
        assert (again.key, again.headers) == (odd, {"odd": odd})

    def test_a_message_of_a_mebibyte_arrives_whole(self, context: Context) -> None:
        topic, data = context.topic(), bytes(range(256)) * 4096
        context.bus.publish(topic, "key", data)
        assert context.take(context.join(topic), 1)[0].value == data

    def test_a_new_group_starts_at_the_oldest_message(self, context: Context) -> None:
        topic = context.topic()
        context.publish(topic, "0", "1", "2")
        assert values(context.take(context.join(topic), 3)) == ["0", "1", "2"]

    def test_every_group_gets_every_message(self, context: Context) -> None:
        topic = context.topic()
        first, second = context.join(topic, group="first"), context.join(topic, group="second")
        context.publish(topic, "a")
        for subscription in (first, second):
            (record,) = context.take(subscription, 1)
            assert record.value == b"a"
            subscription.commit(record)

    def test_an_empty_topic_gives_nothing_while_another_has_messages(self, context: Context) -> None:
        topic, other = context.topic(), context.topic("other")
        subscription = context.join(topic)
        context.publish(other, "a")
        assert context.nothing_new(subscription)

    def test_messages_of_one_key_keep_their_order_and_lie_in_one_partition(self, context: Context) -> None:
        topic = context.topic()
        context.publish(topic, *map(str, range(MESSAGES)))
        records = context.take(context.join(topic), MESSAGES)
        assert values(records) == [str(number) for number in range(MESSAGES)]
        assert [record.offset for record in records] == list(range(MESSAGES))
        assert len({record.partition for record in records}) == 1

    def test_a_subscription_gets_all_its_topics_and_no_other(self, context: Context) -> None:
        a, b, c = context.topic("a"), context.topic("b"), context.topic("c")
        for topic, name in ((a, "a"), (b, "b"), (c, "c"), (a, "a")):
            context.publish(topic, name)
        subscription = context.join(a, b)
        taken = context.take(subscription, 3)
        assert sorted(values(taken)) == ["a", "a", "b"]
        assert context.nothing_new(subscription, taken)

    def test_uncommitted_records_come_again_to_the_next_member(self, context: Context) -> None:
        topic = context.topic()
        context.publish(topic, "0", "1", "2", "3")
        first = context.join(topic)
        taken = context.take(first, 3)
        first.commit(taken[0])
        first.close()
        assert values(context.take(context.join(topic), 3)) == ["1", "2", "3"]

    def test_committed_records_do_not_come_again(self, context: Context) -> None:
        topic = context.topic()
        context.publish(topic, "0")
        first = context.join(topic)
        first.commit(context.take(first, 1)[0])
        first.close()
        context.publish(topic, "1")
        assert values(context.take(context.join(topic), 1)) == ["1"]

    def test_committing_an_older_record_does_not_bring_newer_ones_back(self, context: Context) -> None:
        topic = context.topic()
        context.publish(topic, "0", "1", "2")
        first = context.join(topic)
        records = context.take(first, 3)
        first.commit(records[2])
        first.commit(records[0])
        first.close()
        context.publish(topic, "3")
        assert values(context.take(context.join(topic), 1)) == ["3"]

    def test_each_topic_is_committed_separately(self, context: Context) -> None:
        a, b = context.topic("a"), context.topic("b")
        context.publish(a, "a")
        context.publish(b, "b")
        first = context.join(a, b)
        for record in context.take(first, 2):
            if record.topic == a:
                first.commit(record)
        first.close()
        assert values(context.take(context.join(a, b), 1)) == ["b"]

    def test_during_the_work_on_a_record_no_other_is_delivered_and_none_is_lost(self, context: Context) -> None:
        topic = context.topic()
        context.publish(topic, "0", "1", "2")
        subscription = context.join(topic)
        (record,) = context.take(subscription, 1)
        for _ in range(3):
            assert subscription.stay(record, timeout=0.05)
        context.publish(topic, "3")
        assert subscription.stay(record, timeout=0.05)
        subscription.commit(record)
        assert values(context.take(subscription, 3)) == ["1", "2", "3"]

    def test_members_of_a_group_share_the_partitions_and_together_get_every_message(self, context: Context) -> None:
        topic = context.topic()
        members = [context.join(topic), context.join(topic)]
        expected = [str(number) for number in range(40)]
        for value in expected:
            context.publish(topic, value, key=value)
        taken: dict[str, int] = {}
        deadline = time.monotonic() + LONG
        while len(taken) < len(expected) and time.monotonic() < deadline:
            for number, member in enumerate(members):
                if (record := member.poll(timeout=0.05)) is not None:
                    taken[record.value.decode()] = number
                    member.commit(record)
        assert sorted(taken) == sorted(expected)

    def test_a_member_that_leaves_gives_its_partitions_to_the_others(self, context: Context) -> None:
        topic = context.topic()
        first = context.join(topic)
        context.publish(topic, "0")
        (record,) = context.take(first, 1)
        second = context.join(topic)
        moved = context.settle(first, record, second)
        first.close()
        assert values([moved] if moved else context.take(second, 1)) == ["0"]

    def test_a_closed_subscription_gets_nothing_more_and_can_be_closed_twice(self, context: Context) -> None:
        topic = context.topic()
        subscription = context.join(topic)
        subscription.close()
        subscription.close()
        context.publish(topic, "a")
        assert subscription.poll(timeout=0.0) is None

    def test_a_waiting_poll_wakes_when_a_message_arrives(self, context: Context) -> None:
        topic = context.topic()
        subscription = context.join(topic)
        got: list[Record | None] = []
        waiter = threading.Thread(target=lambda: got.append(subscription.poll(timeout=LONG)))
        waiter.start()
        context.publish(topic, "a")
        waiter.join(timeout=2 * LONG)
        assert not waiter.is_alive()
        assert got[0] is not None
        assert got[0].value == b"a"

    def test_all_records_of_a_topic_can_be_read_without_a_group(self, context: Context) -> None:
        topic = context.topic()
        assert list(context.bus.records(topic)) == []
        for number in range(30):
            context.publish(topic, str(number), key=str(number))
        records = context.bus.records(topic)
        assert sorted(values(records), key=int) == [str(number) for number in range(30)]
        assert [(r.partition, r.offset) for r in records] == sorted((r.partition, r.offset) for r in records)
        assert values(context.bus.records(topic)) == values(records)

    def test_the_newest_records_of_each_partition_can_be_read_alone(self, context: Context) -> None:
        topic = context.topic()
        context.bus.ensure([topic])
        assert list(context.bus.records(topic, 2)) == []
        for number in range(12):
            context.publish(topic, str(number), key=f"key {number}")
        every: dict[int, list[Record]] = {}
        for record in context.bus.records(topic):
            every.setdefault(record.partition, []).append(record)
        for newest in (1, 2, 100):
            expected = [record for number in sorted(every) for record in every[number][-newest:]]
            assert list(context.bus.records(topic, newest)) == expected

    def test_creating_an_existing_topic_keeps_its_messages(self, context: Context) -> None:
        topic = context.topic()
        context.publish(topic, "a")
        assert context.topic() == topic
        assert values(context.bus.records(topic)) == ["a"]
        assert context.bus.describe().topics[topic] >= 1

    def test_lag_counts_what_the_group_has_not_committed(self, context: Context) -> None:
        if context.kind == "durable_broker":
            pytest.skip("this broker reports wrong end offsets")
        topic = context.topic()
        assert context.bus.lag(topic, context.group()) == 0
        context.publish(topic, "0", "1", "2")
        assert context.bus.lag(topic, context.group()) == 3
        subscription = context.join(topic)
        subscription.commit(context.take(subscription, 2)[1])
        assert context.bus.lag(topic, context.group()) == 1

    def test_the_live_members_of_a_group_are_described(self, context: Context) -> None:
        topic, group = context.topic(), context.group()
        assert context.bus.describe([group]).members == {group: []}
        subscription = context.join(topic)
        context.publish(topic, "a")
        context.take(subscription, 1)
        wait_until(lambda: len(context.bus.describe([group]).members[group]) == 1, "the member to be listed")
        subscription.close()
        wait_until(lambda: context.bus.describe([group]).members == {group: []}, "the member to be gone")

    def test_many_publishers_and_many_consumers_lose_nothing_and_keep_each_publishers_order(
        self, context: Context
    ) -> None:
        publishers, groups, topic = 4, 4, context.topic()

        def publish(publisher: int) -> None:
            for number in range(MESSAGES):
                context.bus.publish(topic, str(publisher), f"{publisher}:{number}".encode())

        def consume(group: int) -> list[str]:
            """The values in order of first delivery."""
            subscription = context.join(topic, group=f"group-{group}")
            consumed: dict[Position, str] = {}
            while len(consumed) < publishers * MESSAGES:
                record = subscription.poll(timeout=LONG)
                assert record is not None
                consumed.setdefault(position(record), record.value.decode())
                if len(consumed) % MESSAGES == 0:
                    subscription.commit(record)
            return [*consumed.values()]

        with ThreadPoolExecutor(publishers + groups) as pool:
            consumers = [pool.submit(consume, group) for group in range(groups)]
            for published in [pool.submit(publish, publisher) for publisher in range(publishers)]:
                published.result()
            for consumer in consumers:
                consumed = consumer.result()
                assert sorted(consumed) == sorted(f"{p}:{n}" for p in range(publishers) for n in range(MESSAGES))
                for publisher in range(publishers):
                    own = [int(value.split(":")[1]) for value in consumed if value.startswith(f"{publisher}:")]
                    assert own == list(range(MESSAGES))
