"""Checks the bus: brokers, topics, dead letters, and a live member for every expected group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flts.contracts.errors import FltsError
from flts.contracts.messages import TOPICS
from flts.contracts.ports import Bus, BusState
from flts.doctor.finding import Diagnosis, ok, refused, warning, wrong
from flts.runner.services.letters import letters, topic_of_letters, topics_with_letters
from flts.runner.services.registry import Group, groups

ABOUT = "bus"


def examine(bus: Bus, models: Sequence[str]) -> Iterator[Diagnosis]:
    """Check the bus. models: those that an experiment expects."""
    expected = list(groups(models))
    try:
        state = bus.describe([group.name for group in expected])
    except FltsError as error:
        yield refused(ABOUT, error, f"start the brokers at {bus.url}, or set bus (FLTS_BUS) and kafka_options")
        return
    yield ok(ABOUT, f"{bus.url} answers; brokers: {', '.join(state.brokers) or 'none named'}")
    try:
        yield from _topics(state)
        yield from _dead_letters(bus)
        yield from _services(bus, state, expected)
    except FltsError as error:
        yield refused(ABOUT, error, "check the brokers' logs and the rights of this user")


def _topics(state: BusState) -> Iterator[Diagnosis]:
    absent = [topic for name in TOPICS for topic in (name, topic_of_letters(name)) if topic not in state.topics]
    if absent:
        yield wrong(
            ABOUT,
            f"missing topics: {', '.join(absent)}",
            "any service creates them when it starts: `flts worker evaluate`",
        )
    present = [f"{topic} ({state.topics[topic]})" for topic in TOPICS if topic in state.topics]
    if present:
        yield ok(ABOUT, f"topics (partitions): {', '.join(present)}")


def _dead_letters(bus: Bus) -> Iterator[Diagnosis]:
    for topic in topics_with_letters(bus):
        waiting = sum(not letter.replayed for letter in letters(bus, topic))
        if waiting:
            yield warning(
                "dead letters",
                f"{topic}: {waiting} could not be handled, kept in {topic_of_letters(topic)}",
                f"`flts dlq list --topic {topic}` shows the reasons, `flts dlq replay` sends them again",
            )


def _services(bus: Bus, state: BusState, expected: Sequence[Group]) -> Iterator[Diagnosis]:
    for group in expected:
        topic = group.service.load().topic
        members, waiting = state.members.get(group.name, ()), bus.lag(topic, group.name) if topic in state.topics else 0
        left = f"{topic}: {waiting} not handled yet" if waiting > 0 else f"{topic}: all handled"
        if members:
            yield ok(group.name, f"running: {', '.join(members)}; {left}")
            continue
        who = f"no trainer for '{group.model}' is running" if group.model else f"no service '{group.name}' is running"
        yield wrong(group.name, f"{who}; {left}", f"start `{group.start}`")
