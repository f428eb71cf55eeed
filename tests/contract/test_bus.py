"""What every bus owes its callers, stated once and run on each of them."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from flts.backends.bus_memory import MemoryBus
from flts.ports import Bus, Record, Subscription

MESSAGES = 200


@pytest.fixture(params=["memory"])
def bus(request: pytest.FixtureRequest) -> Bus:
    """An empty bus of each kind."""
    return {"memory": MemoryBus}[request.param]()


def drain(subscription: Subscription, *, commit: bool = False) -> list[Record]:
    """Everything that waits for a subscription."""
    records = []
    while (record := subscription.poll(timeout=0.0)) is not None:
        records.append(record)
        if commit:
            subscription.commit(record)
    return records


def values(records: list[Record]) -> list[str]:
    return [record.value.decode() for record in records]


class TestBus:
    """Every test runs on every bus."""

    def test_a_message_arrives_with_its_topic_key_bytes_and_headers(self, bus: Bus) -> None:
        bus.publish("topic", "key", b"\x00value", {"traceparent": "00-ab"})
        record = bus.subscribe(["topic"], "group").poll(timeout=1.0)
        assert record is not None
        assert (record.topic, record.key, record.value) == ("topic", "key", b"\x00value")
        assert record.headers == {"traceparent": "00-ab"}

    def test_a_message_without_headers_has_none(self, bus: Bus) -> None:
        bus.publish("topic", "key", b"")
        record = bus.subscribe(["topic"], "group").poll(timeout=1.0)
        assert record is not None
        assert (dict(record.headers), record.value) == ({}, b"")

    def test_a_new_group_starts_at_the_oldest_message(self, bus: Bus) -> None:
        for number in range(3):
            bus.publish("topic", "key", f"{number}".encode())
        assert values(drain(bus.subscribe(["topic"], "late"))) == ["0", "1", "2"]

    def test_every_group_gets_every_message(self, bus: Bus) -> None:
        first, second = bus.subscribe(["topic"], "first"), bus.subscribe(["topic"], "second")
        bus.publish("topic", "key", b"a")
        assert values(drain(first, commit=True)) == ["a"]
        assert values(drain(second)) == ["a"]

    def test_an_empty_topic_gives_nothing_after_the_timeout(self, bus: Bus) -> None:
        subscription = bus.subscribe(["topic", "other"], "group")
        assert subscription.poll(timeout=0.0) is None
        assert subscription.poll(timeout=0.01) is None
        bus.publish("third", "key", b"a")
        assert subscription.poll(timeout=0.01) is None

    def test_messages_of_one_topic_keep_their_order(self, bus: Bus) -> None:
        for number in range(MESSAGES):
            bus.publish("topic", "key", f"{number}".encode())
        records = drain(bus.subscribe(["topic"], "group"))
        assert values(records) == [str(number) for number in range(MESSAGES)]
        assert [record.offset for record in records] == sorted({record.offset for record in records})

    def test_a_subscription_gets_all_its_topics_and_no_other(self, bus: Bus) -> None:
        for topic in ("a", "b", "c", "a"):
            bus.publish(topic, "key", topic.encode())
        assert sorted(values(drain(bus.subscribe(["a", "b"], "group")))) == ["a", "a", "b"]

    def test_what_was_not_committed_comes_again_to_the_next_member(self, bus: Bus) -> None:
        for number in range(4):
            bus.publish("topic", "key", f"{number}".encode())
        first = bus.subscribe(["topic"], "group")
        taken = [first.poll(timeout=0.0) for _ in range(3)]
        assert taken[0] is not None
        first.commit(taken[0])
        first.close()
        assert values(drain(bus.subscribe(["topic"], "group"))) == ["1", "2", "3"]

    def test_what_was_committed_does_not_come_again(self, bus: Bus) -> None:
        bus.publish("topic", "key", b"0")
        first = bus.subscribe(["topic"], "group")
        drain(first, commit=True)
        first.close()
        bus.publish("topic", "key", b"1")
        assert values(drain(bus.subscribe(["topic"], "group"))) == ["1"]

    def test_committing_an_older_record_does_not_bring_newer_ones_back(self, bus: Bus) -> None:
        for number in range(3):
            bus.publish("topic", "key", f"{number}".encode())
        first = bus.subscribe(["topic"], "group")
        records = drain(first)
        first.commit(records[2])
        first.commit(records[0])
        assert drain(bus.subscribe(["topic"], "group")) == []

    def test_topics_are_committed_each_for_itself(self, bus: Bus) -> None:
        bus.publish("a", "key", b"a")
        bus.publish("b", "key", b"b")
        subscription = bus.subscribe(["a", "b"], "group")
        for record in drain(subscription):
            if record.topic == "a":
                subscription.commit(record)
        assert values(drain(bus.subscribe(["a", "b"], "group"))) == ["b"]

    def test_a_closed_subscription_gets_nothing_more(self, bus: Bus) -> None:
        subscription = bus.subscribe(["topic"], "group")
        subscription.close()
        bus.publish("topic", "key", b"a")
        assert subscription.poll(timeout=0.0) is None

    def test_a_waiting_poll_wakes_when_a_message_arrives(self, bus: Bus) -> None:
        subscription = bus.subscribe(["topic"], "group")
        got: list[Record | None] = []
        waiter = threading.Thread(target=lambda: got.append(subscription.poll(timeout=30.0)))
        waiter.start()
        bus.publish("topic", "key", b"a")
        waiter.join(timeout=20.0)
        assert not waiter.is_alive()
        assert got[0] is not None
        assert got[0].value == b"a"

    def test_many_publishers_and_many_consumers_lose_nothing_and_keep_each_publishers_order(self, bus: Bus) -> None:
        publishers, groups = 4, 4

        def publish(who: int) -> None:
            for number in range(MESSAGES):
                bus.publish("topic", str(who), f"{who}:{number}".encode())

        def consume(group: int) -> list[str]:
            subscription = bus.subscribe(["topic"], f"group-{group}")
            found: list[str] = []
            while len(found) < publishers * MESSAGES:
                record = subscription.poll(timeout=20.0)
                assert record is not None
                found.append(record.value.decode())
                subscription.commit(record)
            return found

        with ThreadPoolExecutor(publishers + groups) as pool:
            consumers = [pool.submit(consume, group) for group in range(groups)]
            for done in [pool.submit(publish, who) for who in range(publishers)]:
                done.result()
            for consumer in consumers:
                found = consumer.result()
                assert Counter(found) == Counter(f"{w}:{n}" for w in range(publishers) for n in range(MESSAGES))
                for who in range(publishers):
                    mine = [int(value.split(":")[1]) for value in found if value.startswith(f"{who}:")]
                    assert mine == list(range(MESSAGES))
