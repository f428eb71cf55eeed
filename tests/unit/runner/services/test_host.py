"""A service reports its health and its metrics on its probe port."""

from __future__ import annotations

import io
import json
import threading

from tests.support.asked import ask
from tests.support.raising import raises
from tests.support.services import all_services, context_on, serving, wait_until
from tests.support.stored import contents

from flts.backends.bus_memory import MemoryBus
from flts.backends.store import memory_store
from flts.contracts import events
from flts.contracts.errors import StageFailed
from flts.runner.services import host as run
from flts.runner.services.host import Conditions
from flts.runner.services.loop import Loop
from flts.runner.services.marks import Marks
from flts.runner.services.metrics import ServiceMetrics


def test_a_service_reports_health_and_metrics() -> None:
    said = io.StringIO()
    events.configure("json", said)
    bus, store = MemoryBus(), memory_store()
    context = context_on(store, bus)
    with serving(context, all_services(context), Conditions(2.0, 2.0, ("127.0.0.1", 0))):
        wait_until(lambda: said.getvalue().endswith("\n"), "the start")
        address = json.loads(said.getvalue())["probes"]
        groups = ("train-ridge", "evaluate", "forecast")
        assert ask(address, "/healthz") == (200, json.dumps(dict.fromkeys(groups, "ok")))
        assert json.loads(ask(address, "/readyz")[1]) == dict.fromkeys((*groups, "store", "bus"), "ok")
        bus.publish("training-data", "k", b"no message")
        dead = 'flts_messages_total{group="train-ridge",outcome="dead",topic="training-data"} 1.0'
        wait_until(lambda: dead in ask(address, "/metrics")[1], dead)
        page = ask(address, "/metrics")[1]
    assert 'flts_lag{group="train-ridge",topic="training-data"} 0.0' in page
    assert "flts_fits_running 0.0" in page
    assert 'flts_message_seconds_count{topic="training-data"} 1.0' in page
    wait_until(lambda: not any(thread.name.startswith("lag") for thread in threading.enumerate()), "no more questions")
    assert {key.rpartition("/")[0] for key in contents(store)} == {"runs/in-work/train-ridge/training-data"}


def test_a_loop_that_hangs_is_not_alive() -> None:
    bus = MemoryBus()
    context = context_on(memory_store(), bus)
    (trainer, *_) = all_services(context)
    loop = Loop(bus, trainer, 1.0, 1.0, ServiceMetrics(), threading.Event(), Marks(memory_store(), "train-ridge", 2))
    health = run._health(context, [loop])
    health.live["train-ridge"]()
    loop.turned -= run.STUCK_AFTER + 1
    with raises(StageFailed, code="loop-stuck", group="train-ridge"):
        health.live["train-ridge"]()
