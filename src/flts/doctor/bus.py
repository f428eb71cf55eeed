"""The bus and who works on it: brokers, topics, dead letters, and a live member for everything that is expected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from flts.contracts.errors import FltsError
from flts.contracts.ports import Bus, BusState
from flts.doctor.finding import Diagnosis, ok, refused, warning, wrong
from flts.runner.services.evaluate import Evaluator
from flts.runner.services.forecast import Forecaster
from flts.runner.services.host import TOPICS
from flts.runner.services.letters import letters, topic_of_letters, topics_with_letters
from flts.runner.services.train import Trainer

ABOUT = "bus"


def examine(bus: Bus, models: Sequence[str]) -> Iterator[Diagnosis]:
    """Ask the brokers. models: those that an experiment expects."""
    groups = {f"train-{model}": Trainer.topic for model in models}
    groups |= {service.group: service.topic for service in (Evaluator, Forecaster)}
    try:
        state = bus.describe(list(groups))
    except FltsError as error:
        yield refused(ABOUT, error, f"start what serves {bus.url}, or set bus (FLTS_BUS) and kafka_options")
        return
    yield ok(ABOUT, f"{bus.url} answers; brokers: {', '.join(state.brokers) or 'none named'}")
    try:
        yield from _topics(state)
        yield from _dead_letters(bus)
        yield from _services(bus, state, groups)
    except FltsError as error:
        yield refused(ABOUT, error, "look at the brokers' logs, and at what this user may do")


def _topics(state: BusState) -> Iterator[Diagnosis]:
    absent = [topic for name in TOPICS for topic in (name, topic_of_letters(name)) if topic not in state.topics]
    if absent:
        yield wrong(
            ABOUT,
            f"not there: {', '.join(absent)}",
            "any service makes the topics when it starts: `flts worker evaluate`",
        )
    there = [f"{topic} ({state.topics[topic]})" for topic in TOPICS if topic in state.topics]
    if there:
        yield ok(ABOUT, f"topics and their partitions: {', '.join(there)}")


def _dead_letters(bus: Bus) -> Iterator[Diagnosis]:
    for topic in topics_with_letters(bus):
        waiting = sum(not letter.replayed for letter in letters(bus, topic))
        if waiting:
            found = f"{waiting} of {topic} could not be handled and wait in {topic_of_letters(topic)}"
            yield warning(
                "dead letters", found, f"`flts dlq list --topic {topic}` says why, `flts dlq replay` tries again"
            )


def _services(bus: Bus, state: BusState, groups: Mapping[str, str]) -> Iterator[Diagnosis]:
    for group, topic in groups.items():
        members, waiting = state.members.get(group, ()), bus.lag(topic, group) if topic in state.topics else 0
        left = f"{waiting} of {topic} not handled yet" if waiting > 0 else f"all of {topic} handled"
        if members:
            yield ok(group, f"at work: {', '.join(members)}; {left}")
            continue
        model = group.removeprefix("train-") if group.startswith("train-") else None
        who = f"no trainer for '{model}' is running" if model else f"no service '{group}' is running"
        start = f"flts worker train --model {model}" if model else f"flts worker {group}"
        yield wrong(group, f"{who}; {left}", f"start `{start}`")
