"""A dead letter that is replayed after its message was handled changes nothing, whatever its topic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.support.experiments import small_spec
from tests.support.services import (
    all_services,
    claim_of_rows,
    context_on,
    serving,
    start_run,
    wait_for_judgement,
    wait_until,
)
from tests.support.stored import contents

from flts.backends.bus_memory import MemoryBus
from flts.contracts.errors import DataError
from flts.contracts.messages import (
    TOPICS,
    InferenceData,
    ModelSelected,
    ModelTraining,
    PerformanceEval,
    TrainingData,
)
from flts.contracts.ports import Bus, Store
from flts.promotion.log import read_log
from flts.promotion.stage import rollback
from flts.runner.services.letters import letters, replay, send_to_dead_letters
from flts.wiring import RunContext, open_store

pytestmark = pytest.mark.slow

GROUPS = {TrainingData.topic: "train-ridge", ModelTraining.topic: "evaluate", InferenceData.topic: "forecast"}
ALWAYS = {"gate": "always"}


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    return context_on(open_store((tmp_path / "objects").as_uri()), MemoryBus())


@pytest.fixture
def working(context: RunContext) -> Iterator[RunContext]:
    with serving(context, all_services(context)):
        yield context


def test_a_replay_of_every_message_after_it_was_handled_stores_nothing_new(working: RunContext) -> None:
    store, bus = working.store, working.bus
    wait_for_judgement(store, start_run(working, small_spec()))
    ask(working)
    wait_until(lambda: len(answers(bus)) == 1, "the answer")
    at_rest(bus)
    before, sent = stored(store), {topic: bus.records(topic) for topic in TOPICS}
    assert all(sent.values()), "every topic has a message"
    told = {answer.event_id for answer in answers(bus)}
    for _ in range(2):
        replay_everything(bus)
    assert stored(store) == before
    assert {answer.event_id for answer in answers(bus)} == told
    assert {ModelSelected.parse(record.value).promotion for record in bus.records(ModelSelected.topic)} == {1}
    assert not [letter for topic in TOPICS for letter in letters(bus, topic) if not letter.replayed]


def test_a_replay_after_other_promotions_promotes_nothing_and_is_answered_by_the_champion(working: RunContext) -> None:
    store, bus = working.store, working.bus
    wait_for_judgement(store, start_run(working, small_spec(evaluate=ALWAYS)))
    ask(working)
    wait_until(lambda: len(answers(bus)) == 1, "the first answer")
    wait_for_judgement(store, start_run(working, small_spec(task={"input_length": 18}, evaluate=ALWAYS)))
    rollback(store, bus, working.clock, "global", "tests")
    at_rest(bus)
    log = read_log(store, "global")
    assert [entry.kind for entry in log] == ["promote", "promote", "rollback"]
    replay_everything(bus)
    assert read_log(store, "global") == log
    assert {answer.promotion for answer in answers(bus)} == {1, 3}
    assert not [letter for topic in TOPICS for letter in letters(bus, topic) if not letter.replayed]


def ask(context: RunContext) -> None:
    """Send rows to be forecast."""
    claim = claim_of_rows(context.store, context.clock.now())
    context.bus.publish(claim.topic, claim.key, claim.to_bytes())


def replay_everything(bus: Bus) -> None:
    """Each message of each topic as the replay of a dead letter; returns when all is handled."""
    for topic in TOPICS:
        for record in bus.records(topic):
            send_to_dead_letters(bus, record, DataError("no longer true"), 1, GROUPS.get(topic, "another"))
        for letter in letters(bus, topic):
            if not letter.replayed:
                replay(bus, letter)
    at_rest(bus)


def at_rest(bus: Bus) -> None:
    """Wait until every message is handled, with those that follow from it."""

    def lags() -> bool:
        return all(bus.lag(topic, group) == 0 for topic, group in GROUPS.items())

    wait_until(lags, "everything to be handled")


def answers(bus: Bus) -> list[PerformanceEval]:
    return [PerformanceEval.parse(record.value) for record in bus.records(PerformanceEval.topic)]


def stored(store: Store) -> Mapping[str, bytes]:
    """All objects but the marks of work, which count how often it was begun."""
    return {key: data for key, data in contents(store).items() if not key.startswith("runs/in-work/")}
