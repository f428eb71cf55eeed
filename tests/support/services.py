"""Services in threads of this process, on any bus and store, and a run that goes through them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from flts.contracts import layout, runs
from flts.contracts.canonical import sha256
from flts.contracts.messages import InferenceData, TrainingData
from flts.contracts.ports import Bus, Store, Tracker
from flts.preprocess.source import RawInput, RawTable
from flts.runner.claim import start
from flts.runner.reporter import Quiet
from flts.runner.services.evaluate import Evaluator
from flts.runner.services.forecast import Forecaster
from flts.runner.services.host import Conditions, serve
from flts.runner.services.loop import Service
from flts.runner.services.registry import Staff
from flts.runner.services.trace import TracedBus
from flts.runner.services.train import Trainer
from flts.spec.fields import Spec
from flts.train.isolate import Children
from flts.wiring import RunContext, SystemClock
from tests.support.series import hourly, split

LONG = 120.0
"""Seconds to wait for what will happen; a test that waits so long has failed."""
TRAIN, TEST = split(hourly(300), 60)
RAW = RawInput(RawTable("train", TRAIN), RawTable("test", TEST))
QUICK = Conditions(patience=2.0, grace=5.0)


def context_on(store: Store, bus: Bus, tracker: Tracker | None = None) -> RunContext:
    """A context on this bus and store, with the machine's clock."""
    return RunContext(store, TracedBus(bus), tracker, SystemClock(), "tests", 120.0, Children(2))


def all_services(context: RunContext, *models: str) -> list[Service]:
    """A trainer per model, an evaluator and a forecaster."""
    return [*(Trainer(context, model) for model in models or ("ridge",)), Evaluator(context), Forecaster(context)]


@contextmanager
def serving(
    context: RunContext, services: Sequence[Service], conditions: Conditions = QUICK
) -> Iterator[threading.Event]:
    """Run services in a thread; an error that ended one of them is raised at the end."""
    stop, raised = threading.Event(), list[BaseException]()

    def work() -> None:
        try:
            serve("tests", context, Staff(services), conditions, stop)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread of the test
            raised.append(error)

    thread = threading.Thread(target=work, name="serve")
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(LONG)
        context.children.cancel()
        assert not thread.is_alive()
    if raised:
        raise raised[0]


def start_run(context: RunContext, spec: Spec, *, recompute: bool = False) -> TrainingData:
    """Claim a run, as the preprocess job does."""
    return start(context, spec, RAW, Quiet(), recompute=recompute).claim


def claim_of_rows(store: Store, ts: datetime, deadline_ms: int | None = None) -> InferenceData:
    """Store the test rows, and the claim that asks for a forecast after them."""
    data = TEST.write_csv().encode()
    store.create("dataset/rows.csv", data)
    return InferenceData(
        ts=ts,
        identifier="global",
        bucket="dataset",
        object_key="rows.csv",
        size=len(data),
        sha256=sha256(data),
        row_count=len(TEST),
        deadline_ms=deadline_ms,
    )


def wait_until(true: Callable[[], bool], what: str, limit: float = LONG) -> None:
    """Wait for a condition; fails with `what` when it does not hold in time."""
    end = time.monotonic() + limit
    while not true():
        assert time.monotonic() < end, f"waited {limit:g} s in vain: {what}"
        time.sleep(0.02)


def wait_for_judgement(store: Store, claim: TrainingData) -> None:
    """Wait until the run of a claim is judged."""
    key = layout.run_part(claim.config_hash, claim.run, "judge")
    wait_until(lambda: store.exists(key), f"{key}; there is {runs.numbers(store, claim.config_hash)}")
