"""The machine's clock is set while a run is under way: the promoted model does not depend on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

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
from tests.support.stored import results

from flts.backends.bus_memory import MemoryBus
from flts.backends.store import open_store
from flts.contracts import layout, runs
from flts.contracts.messages import ModelTraining, PerformanceEval
from flts.contracts.records.run import FailurePart
from flts.promotion.log import read_log
from flts.runner.services import deadline
from flts.wiring import RunContext

pytestmark = pytest.mark.slow

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass
class SetClock:
    """The clock of the machine, set forward or back when it has been asked a number of times."""

    jumps: dict[int, timedelta] = field(default_factory=dict)
    ahead: timedelta = timedelta()
    asked: int = 0

    def now(self) -> datetime:
        self.asked += 1
        self.ahead += self.jumps.pop(self.asked, timedelta())
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
def new_context(tmp_path_factory: pytest.TempPathFactory) -> Callable[[SetClock, MemoryBus], RunContext]:
    def make(clock: SetClock, bus: MemoryBus) -> RunContext:
        context = context_on(open_store((tmp_path_factory.mktemp("store") / "objects").as_uri()), bus)
        context.clock = clock
        return context

    return make


def answered(context: RunContext, bus: MemoryBus) -> list[PerformanceEval]:
    """The answers to a batch that follows a run."""
    with serving(context, all_services(context)):
        wait_for_judgement(context.store, start_run(context, small_spec()))
        claim = claim_of_rows(context.store, context.clock.now(), 600_000)
        bus.publish(claim.topic, claim.key, claim.to_bytes())
        wait_until(lambda: bus.lag(claim.topic, "forecast") == 0, "the batch")
    return [PerformanceEval.parse(record.value) for record in bus.records(PerformanceEval.topic)]


@pytest.mark.parametrize("often", [1, 3])
def test_a_clock_that_goes_back_and_forth_changes_no_result(
    often: int, new_context: Callable[[SetClock, MemoryBus], RunContext]
) -> None:
    """Each time it is asked, or each third time, it has gone back an hour and forward a day in turn."""
    steady_bus, jumping_bus = MemoryBus(), MemoryBus()
    steady = new_context(SetClock(), steady_bus)
    jumping = new_context(SetClock({n: DAY if n % 2 else -HOUR for n in range(1, 9, often)}), jumping_bus)
    expected, answers = answered(steady, steady_bus), answered(jumping, jumping_bus)
    assert results(jumping.store) == results(steady.store)
    (entry,) = read_log(jumping.store, "global")
    assert entry.champion == read_log(steady.store, "global")[0].champion
    assert [a.model_dump()["metrics"] for a in answers] == [a.model_dump()["metrics"] for a in expected]
    assert not [topic for topic in ("training-data", "model-training") if jumping_bus.records(f"DLQ-{topic}")]


def test_a_fit_during_which_the_clock_goes_back_has_no_negative_duration(
    bus: MemoryBus, new_context: Callable[[SetClock, MemoryBus], RunContext]
) -> None:
    clock = SetClock()
    context = new_context(clock, bus)
    with serving(context, all_services(context, "ridge")):
        claim = start_run(context, small_spec())
        wait_until(lambda: bool(bus.records(ModelTraining.topic)), "the fit to begin")
        clock.ahead = -HOUR
        wait_for_judgement(context.store, claim)
    part = json.loads(context.store.get(layout.run_part(claim.config_hash, 1, "train-ridge")) or b"")
    assert part["duration_ms"] >= 0


@pytest.mark.parametrize(("jump", "answers"), [(-HOUR, 1), (timedelta(), 1), (DAY, 0)])
def test_a_claim_of_rows_expires_only_when_the_clock_is_past_its_deadline(
    jump: timedelta, answers: int, bus: MemoryBus, new_context: Callable[[SetClock, MemoryBus], RunContext]
) -> None:
    clock = SetClock()
    context = new_context(clock, bus)
    claim = claim_of_rows(context.store, clock.now(), 600_000)
    with serving(context, all_services(context)):
        wait_for_judgement(context.store, start_run(context, small_spec()))
        clock.ahead = jump
        bus.publish(claim.topic, claim.key, claim.to_bytes())
        wait_until(lambda: bus.lag(claim.topic, "forecast") == 0, "the claim")
    assert len(bus.records(PerformanceEval.topic)) == answers
    assert not bus.records("DLQ-inference-data")


@pytest.mark.parametrize(("jump", "failures"), [(-HOUR, 0), (DAY, 1)])
def test_a_clock_jump_shifts_the_decision_deadline_and_the_run_still_ends(
    jump: timedelta, failures: int, bus: MemoryBus, new_context: Callable[[SetClock, MemoryBus], RunContext]
) -> None:
    """Back: the wait is longer, and no model fails. Forward: a missing model is recorded as failed, with the reason."""
    clock = SetClock()
    context = new_context(clock, bus)
    claim = start_run(context, small_spec(("ridge", "automfles")))
    clock.ahead = jump
    with serving(context, all_services(context, "ridge")):
        part = layout.run_part(claim.config_hash, 1, "train-ridge")
        wait_until(lambda: context.store.exists(part), "ridge")
        deadline.check(context, 600.0)
        assert len(list(runs.parts(context.store, claim.config_hash, "failures/automfles", FailurePart))) == failures
        if failures:
            wait_for_judgement(context.store, claim)
    if not failures:
        later = context_on(context.store, bus)
        with serving(later, all_services(later, "automfles")):
            wait_for_judgement(context.store, claim)
    assert len(read_log(context.store, "global")) == 1
