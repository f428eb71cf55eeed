"""Turns at a model: what is computed together, what is refused, and what is not computed at all."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from starlette.requests import ClientDisconnect

from flts.contracts.errors import TrainingFailed
from flts.preprocess.rows import Rows
from flts.server.turns import A_FEW, BATCH, BATCH_SECONDS, LOOP_WINDOWS, Turns, TurnsState
from flts.web.problem import Problem

POISON = -1.0


class Model:
    """Stands in for a bundle: forecasts the last value of a history, and remembers what it computed together.

    seconds: that a window takes by the model's clock; gate: where given, a batch waits for it.
    """

    def __init__(self, name: str = "a", seconds: float = 0.0, gate: threading.Event | None = None) -> None:
        self.sha256, self.seconds, self.gate = name, seconds, gate
        self.spent = 0.0
        self.batches: list[list[float]] = []
        self.threads: list[threading.Thread] = []
        self.computed: Callable[[], object] = lambda: None
        self.model = type("", (), {"history_rows": 1})

    def turns(self, limit: int = 1000, waited: Callable[[float], None] = lambda seconds: None) -> Turns[Rows, float]:
        """Turns that measure with the clock of this model."""
        return Turns(limit, forecast, waited, lambda: self.spent)

    def forecast(self, requests: Sequence[Rows]) -> list[float]:
        if self.gate is not None:
            assert self.gate.wait(60)
        values = np.array([rows.values[-1, 0] for rows in requests])
        self.batches.append(values.tolist())
        self.threads.append(threading.current_thread())
        self.spent += self.seconds * sum(map(len, requests))
        self.computed()
        if POISON in values:
            raise TrainingFailed("not finite", code="forecasts-not-finite")
        answers: list[float] = values.tolist()
        return answers

    async def asked(
        self, turns: Turns[Rows, float], value: float, windows: int = 1, until: float = math.inf, gone: Any = None
    ) -> float:
        """One request, whose answer is its value."""
        rows = Rows(np.arange(windows), np.full((windows, 1), value), ("y",))
        bundle: Any = self
        return await turns.take(bundle, rows, windows, until, gone)


def forecast(bundle: Any, requests: Sequence[Rows]) -> list[float]:
    """What a model computes together."""
    made: list[float] = bundle.forecast(requests)
    return made


def running(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


async def known(turns: Turns[Rows, float], model: Model) -> None:
    """After the first answer, which a thread gave, the pace of the model is known."""
    gate, model.gate = model.gate, None
    await model.asked(turns, 0.0)
    assert model.threads[0] is not threading.main_thread()
    model.batches.clear()
    model.threads.clear()
    model.gate = gate


@pytest.mark.parametrize("count", [1, 2, BATCH, BATCH + 1, 200])
def test_what_waits_together_is_computed_together_and_everyone_gets_their_own(count: int) -> None:
    async def test() -> None:
        model = Model()
        turns = model.turns()
        await known(turns, model)
        answers = await asyncio.gather(*(model.asked(turns, float(n)) for n in range(count)))
        assert answers == list(map(float, range(count)))
        assert [len(batch) for batch in model.batches] == [BATCH] * (count // BATCH) + [count % BATCH] * bool(
            count % BATCH
        )
        assert set(model.threads) == {threading.main_thread()}
        assert turns.state().depth == turns.state().in_flight == 0

    running(test)


def test_windows_count_and_not_requests() -> None:
    async def test() -> None:
        model = Model()
        turns = model.turns()
        await known(turns, model)
        await asyncio.gather(
            *(model.asked(turns, float(n), windows) for n, windows in enumerate([30, 34, 1, 100, 5, 60]))
        )
        assert model.batches == [[0, 1], [2], [3], [4], [5]]

    running(test)


def test_a_slow_model_leaves_the_event_loop_and_its_batches_are_short() -> None:
    async def test() -> None:
        model = Model(seconds=0.02)
        turns = model.turns()
        await known(turns, model)
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0)
                beats += 1

        beating = asyncio.create_task(beat())
        await asyncio.gather(*(model.asked(turns, float(n)) for n in range(7)))
        beating.cancel()
        assert threading.main_thread() not in model.threads
        assert beats > 7
        assert 2 <= max(map(len, model.batches)) <= BATCH_SECONDS / 0.02 + 1

    running(test)


def test_a_request_of_many_windows_leaves_the_event_loop() -> None:
    async def test() -> None:
        model = Model()
        turns = model.turns()
        await known(turns, model)
        await model.asked(turns, 1.0, LOOP_WINDOWS)
        await model.asked(turns, 1.0, LOOP_WINDOWS + 1)
        assert [thread is threading.main_thread() for thread in model.threads] == [True, False]

    running(test)


def test_two_models_do_not_wait_for_each_other() -> None:
    async def test() -> None:
        turns, gate = Turns(1000, forecast), threading.Event()
        slow, fast = Model("slow", gate=gate), Model("fast")
        waiting = asyncio.create_task(slow.asked(turns, 1.0))
        assert await fast.asked(turns, 2.0) == 2.0
        assert not waiting.done()
        gate.set()
        assert await waiting == 1.0

    running(test)


def test_a_full_queue_refuses_with_429_and_says_when_to_come_again() -> None:
    async def test() -> None:
        gate = threading.Event()
        model = Model(gate=gate)
        turns = model.turns(3)
        waiting = [asyncio.create_task(model.asked(turns, 0.0))]
        while not turns.state().in_flight:
            await asyncio.sleep(0)
        waiting += [asyncio.create_task(model.asked(turns, float(n))) for n in range(3)]
        await asyncio.sleep(0)
        assert turns.state().depth == 3
        with pytest.raises(Problem) as refused:
            await model.asked(turns, 9.0)
        assert (refused.value.status, refused.value.code) == (429, "queue-full")
        assert int(refused.value.headers["Retry-After"]) >= 1
        gate.set()
        assert await asyncio.gather(*waiting) == [0.0, 0.0, 1.0, 2.0]
        assert [9.0] not in model.batches

    running(test)


def test_a_request_that_cannot_be_answered_in_time_is_refused_at_once() -> None:
    async def test() -> None:
        model = Model(seconds=0.01)
        turns = model.turns()
        await known(turns, model)
        model.gate = threading.Event()
        waiting = [asyncio.create_task(model.asked(turns, 1.0, 60)) for _ in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(Problem) as refused:
            await model.asked(turns, 2.0, until=time.monotonic() + 1.0)
        assert refused.value.status == 429
        for task in waiting:
            task.cancel()
        model.gate.set()

    running(test)


def test_time_that_other_programs_take_counts_as_well() -> None:
    async def test() -> None:
        model = Model(seconds=0.01, gate=threading.Event())  # more than the event loop computes itself
        turns = model.turns()
        await known(turns, model)
        slow = asyncio.create_task(model.asked(turns, 0.0))
        began = time.monotonic()
        while not turns.state().in_flight or time.monotonic() < began + 0.05:
            await asyncio.sleep(0)
        assert model.gate is not None
        model.gate.set()
        await slow
        model.gate = threading.Event()
        waiting = [asyncio.create_task(model.asked(turns, 1.0))]
        while not turns.state().in_flight:
            await asyncio.sleep(0)
        waiting.append(asyncio.create_task(model.asked(turns, 2.0)))
        while not turns.state().depth:
            await asyncio.sleep(0)
        with pytest.raises(Problem) as refused:
            await model.asked(turns, 3.0, until=time.monotonic() + 0.1)
        assert (refused.value.status, refused.value.code) == (429, "queue-full")
        model.gate.set()
        assert await asyncio.gather(*waiting) == [1.0, 2.0]

    running(test)


def test_how_long_a_first_batch_took_counts_for_no_other() -> None:
    async def test() -> None:
        model = Model(gate=threading.Event())
        turns = model.turns()
        first = asyncio.create_task(model.asked(turns, 0.0))
        began = time.monotonic()
        while not turns.state().in_flight or time.monotonic() < began + 0.05:
            await asyncio.sleep(0)
        assert model.gate is not None
        model.gate.set()
        await first
        asked = [model.asked(turns, 1.0, windows=100, until=time.monotonic() + 5.0) for _ in range(50)]
        assert await asyncio.gather(*asked) == [1.0] * 50

    running(test)


def test_a_model_that_was_slow_only_at_first_comes_back_to_the_loop_at_once() -> None:
    async def test() -> None:
        model = Model(seconds=0.02)
        turns = model.turns()
        await model.asked(turns, 0.0)
        model.seconds = 1e-5
        for n in range(2):
            await model.asked(turns, float(n))
        assert [thread is threading.main_thread() for thread in model.threads] == [False, False, True]

    running(test)


def test_batches_of_a_quick_model_are_cut_so_that_they_stay_on_the_loop() -> None:
    async def test() -> None:
        model = Model(seconds=0.00019)
        turns = model.turns()
        await known(turns, model)
        await asyncio.gather(*(model.asked(turns, float(n)) for n in range(60)))
        assert [len(batch) for batch in model.batches] == [26, 26, 8]
        assert set(model.threads) == {threading.main_thread()}

    running(test)


@pytest.mark.parametrize("crowded", [False, True])
def test_while_requests_are_refused_what_has_arrived_is_read_before_each_few_answers(crowded: bool) -> None:
    async def test() -> None:
        model, told = Model(), list[str]()
        turns = model.turns(limit=A_FEW + 2)
        await known(turns, model)
        here, there = socket.socketpair()
        model.computed = partial(there.send, b"a request that arrived while the model computed")

        def read() -> None:
            here.recv(1000)
            told.append("read")

        def answered(_: object) -> None:
            if told.count("answered") == 1:
                there.send(b"one that arrived while answers were written")
            told.append("answered")

        asyncio.get_running_loop().add_reader(here, read)
        bundle: Any = model
        asked = A_FEW + (2 if crowded else 1)
        for value in range(asked):
            rows = Rows(np.arange(1), np.full((1, 1), float(value)), ("y",))
            turns.put(bundle, rows, 1, answered)
        assert turns.full == crowded
        await asyncio.sleep(0.05)
        asyncio.get_running_loop().remove_reader(here)
        here.close()
        there.close()
        turns.close()
        few = ["answered"] * A_FEW
        assert told == (["read", *few, "read", *few[:2]] if crowded else [*few, "answered", "read"])
        assert turns.state() == TurnsState(0, A_FEW + 2, 0)

    running(test)


def test_after_the_deadline_the_answer_is_504_and_nothing_is_computed() -> None:
    async def test() -> None:
        gate = threading.Event()
        model = Model(gate=gate)
        turns = model.turns()
        computed = asyncio.create_task(model.asked(turns, 1.0, until=time.monotonic() + 0.05))
        while not turns.state().in_flight:
            await asyncio.sleep(0)
        waits = asyncio.create_task(model.asked(turns, 2.0, until=time.monotonic() + 0.05))
        for task in (computed, waits):
            with pytest.raises(Problem) as late:
                await task
            assert (late.value.status, late.value.code) == (504, "deadline-passed")
        assert turns.state().depth == 0
        gate.set()
        assert await model.asked(turns, 3.0) == 3.0
        assert model.batches == [[1.0], [3.0]]

    running(test)


def test_what_expired_before_its_turn_on_the_loop_is_not_computed() -> None:
    async def test() -> None:
        model = Model()
        turns = model.turns()
        await known(turns, model)
        with pytest.raises(Problem) as late:
            await model.asked(turns, 1.0, until=time.monotonic() - 0.1)
        assert late.value.status == 504
        assert model.batches == []

    running(test)


def test_what_a_client_that_has_left_asked_for_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flts.server.turns.RECENT", -1.0)

    async def test() -> None:
        gate = threading.Event()
        model, left = Model(gate=gate), [True, False]
        turns = model.turns()
        first = asyncio.create_task(model.asked(turns, 0.0))
        while not turns.state().in_flight:
            await asyncio.sleep(0)
        waiting = [
            asyncio.create_task(model.asked(turns, float(n), gone=partial(bool, gone))) for n, gone in enumerate(left)
        ]
        await asyncio.sleep(0)
        gate.set()
        with pytest.raises(ClientDisconnect):
            await waiting[0]
        assert (await first, await waiting[1]) == (0.0, 1.0)
        assert model.batches == [[0.0], [1.0]]

    running(test)


def test_a_cancelled_request_leaves_the_queue() -> None:
    async def test() -> None:
        gate = threading.Event()
        model = Model(gate=gate)
        turns = model.turns()
        first = asyncio.create_task(model.asked(turns, 0.0))
        while not turns.state().in_flight:
            await asyncio.sleep(0)
        second = asyncio.create_task(model.asked(turns, 1.0))
        await asyncio.sleep(0)
        assert turns.state().depth == 1
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert turns.state().depth == 0
        gate.set()
        await first
        assert model.batches == [[0.0]]

    running(test)


def test_a_request_that_fails_takes_no_other_with_it() -> None:
    async def test() -> None:
        model = Model()
        turns = model.turns()
        await known(turns, model)
        asked = [model.asked(turns, value) for value in (1.0, POISON, 2.0)]
        first, failed, last = await asyncio.gather(*asked, return_exceptions=True)
        assert (first, last) == (1.0, 2.0)
        assert isinstance(failed, TrainingFailed)

    running(test)


class Panic(BaseException):
    """What a compiled library raises where it finds a fault of its own."""


@pytest.mark.parametrize("pace_known", [False, True])
def test_a_panic_of_a_library_ends_its_request_and_no_other(monkeypatch: pytest.MonkeyPatch, pace_known: bool) -> None:
    async def test() -> None:
        model = Model()
        turns = model.turns()
        if pace_known:
            await known(turns, model)

        def panics(_: Any) -> list[float]:
            raise Panic("unreachable")

        with monkeypatch.context() as broken:
            broken.setattr(model, "forecast", panics)
            with pytest.raises(RuntimeError, match="Panic: unreachable"):
                await model.asked(turns, 1.0)
        assert (await model.asked(turns, 2.0), turns.state().in_flight) == (2.0, 0)

    running(test)


def test_how_long_a_request_waited_is_told() -> None:
    async def test() -> None:
        waited: list[float] = []
        gate = threading.Event()
        model = Model(gate=gate)
        turns = model.turns(waited=waited.append)
        first = asyncio.create_task(model.asked(turns, 0.0))
        while not turns.state().in_flight:
            await asyncio.sleep(0)
        second = asyncio.create_task(model.asked(turns, 1.0))
        while not turns.state().depth:
            await asyncio.sleep(0)
        queued = time.monotonic()
        while time.monotonic() < queued + 0.01:
            await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, second)
        assert len(waited) == 2
        assert waited[1] >= 0.01

    running(test)
