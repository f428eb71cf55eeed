"""A probe checks at the moment of the request, and its answer names what is wrong."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from tests.support.raising import raises
from tests.support.services import all_services, context_on, serving, wait_until
from tests.support.stored import contents

from flts.backends.bus_memory import MemoryBus
from flts.backends.store import memory_store
from flts.contracts import events
from flts.contracts.errors import BackendUnavailable, StageFailed, UsageError
from flts.runner.services import host as run
from flts.runner.services import probe
from flts.runner.services.host import Conditions
from flts.runner.services.loop import Loop
from flts.runner.services.marks import Marks
from flts.runner.services.metrics import ServiceMetrics
from flts.runner.services.probe import HealthChecks, Probes


def ask(address: str, path: str) -> tuple[int, Any]:
    try:
        with urlopen(f"http://{address}{path}", timeout=30) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


class Mood:
    """A check whose outcome a test sets; it passes by default."""

    def __init__(self) -> None:
        self.act: Callable[[], object] = lambda: None

    def __call__(self) -> object:
        return self.act()


def fails(error: Exception) -> Callable[[], object]:
    def act() -> object:
        raise error

    return act


@pytest.fixture
def checks() -> tuple[Mood, Mood]:
    return Mood(), Mood()


@pytest.fixture
def probes(checks: tuple[Mood, Mood]) -> Iterator[Probes]:
    live, ready = checks
    server = Probes("127.0.0.1", 0, HealthChecks({"loop": live}, {"store": ready}), ServiceMetrics().registry)
    yield server
    server.close()


def test_readiness_is_checked_anew_at_every_request(probes: Probes, checks: tuple[Mood, Mood]) -> None:
    _, ready = checks
    assert ask(probes.address, "/readyz") == (200, '{"store": "ok"}')
    ready.act = fails(BackendUnavailable("s3 does not answer"))
    assert ask(probes.address, "/readyz") == (503, '{"store": "s3 does not answer"}')
    assert ask(probes.address, "/healthz")[0] == 200
    ready.act = lambda: None
    assert ask(probes.address, "/readyz")[0] == 200


def test_an_unexpected_error_of_a_check_means_not_ready(probes: Probes, checks: tuple[Mood, Mood]) -> None:
    checks[1].act = fails(KeyError("x"))
    assert ask(probes.address, "/readyz") == (503, json.dumps({"store": "KeyError: 'x'"}))


def test_a_backend_that_hangs_does_not_hang_the_probe(
    probes: Probes, checks: tuple[Mood, Mood], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "PATIENCE", 0.05)
    checks[1].act = lambda: time.sleep(1.0)
    assert ask(probes.address, "/readyz") == (503, '{"store": "no answer in 0.05 s"}')


def test_an_unknown_path_names_the_valid_ones(probes: Probes) -> None:
    assert ask(probes.address, "/x") == (404, '{"valid": ["/healthz", "/readyz", "/metrics"]}')


def test_a_taken_port_is_a_usage_error(probes: Probes) -> None:
    port = int(probes.address.rpartition(":")[2])
    with raises(UsageError, code="cannot-listen", host="127.0.0.1", port=port):
        Probes("127.0.0.1", port, HealthChecks({}, {}), ServiceMetrics().registry)


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
        dead = 'flts_messages_total{outcome="dead",topic="training-data"} 1.0'
        wait_until(lambda: dead in ask(address, "/metrics")[1], dead)
        page = ask(address, "/metrics")[1]
    assert 'flts_lag{group="train-ridge",topic="training-data"} 0.0' in page
    assert "flts_fits_running 0.0" in page
    assert 'flts_message_seconds_count{topic="training-data"} 1.0' in page
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
