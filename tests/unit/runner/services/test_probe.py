"""A probe is answered from how things are at that moment, and says what is wrong."""

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
from tests.support.services import all_services, place_on, serving, wait_until
from tests.support.stored import contents

from flts.backends.bus_memory import MemoryBus
from flts.backends.store import memory_store
from flts.contracts import events
from flts.contracts.errors import BackendUnavailable, StageFailed, UsageError
from flts.runner.services import host as run
from flts.runner.services import probe
from flts.runner.services.host import Conditions
from flts.runner.services.loop import Loop
from flts.runner.services.metrics import ServiceMetrics
from flts.runner.services.probe import HealthChecks, Probes


def ask(address: str, path: str) -> tuple[int, Any]:
    try:
        with urlopen(f"http://{address}{path}", timeout=30) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


class Mood:
    """A check that passes until it is told otherwise."""

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


def test_ready_is_asked_anew_at_every_request(probes: Probes, checks: tuple[Mood, Mood]) -> None:
    _, ready = checks
    assert ask(probes.address, "/readyz") == (200, '{"store": "ok"}')
    ready.act = fails(BackendUnavailable("s3 does not answer"))
    assert ask(probes.address, "/readyz") == (503, '{"store": "s3 does not answer"}')
    assert ask(probes.address, "/healthz")[0] == 200
    ready.act = lambda: None
    assert ask(probes.address, "/readyz")[0] == 200


def test_a_defect_of_a_check_is_not_ready_and_named(probes: Probes, checks: tuple[Mood, Mood]) -> None:
    checks[1].act = fails(KeyError("x"))
    assert ask(probes.address, "/readyz") == (503, json.dumps({"store": "KeyError: 'x'"}))


def test_a_backend_that_hangs_is_not_waited_for(
    probes: Probes, checks: tuple[Mood, Mood], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "PATIENCE", 0.05)
    checks[1].act = lambda: time.sleep(1.0)
    assert ask(probes.address, "/readyz") == (503, '{"store": "no answer in 0.05 s"}')


def test_another_path_is_said_to_be_none(probes: Probes) -> None:
    assert ask(probes.address, "/x") == (404, '{"valid": ["/healthz", "/readyz", "/metrics"]}')


def test_a_port_that_is_taken_is_a_mistake_of_who_chose_it(probes: Probes) -> None:
    port = int(probes.address.rpartition(":")[2])
    with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}: .* set probe_port"):
        Probes("127.0.0.1", port, HealthChecks({}, {}), ServiceMetrics().registry)


def test_a_service_says_how_it_is_and_what_it_counted() -> None:
    said = io.StringIO()
    events.configure("json", said)
    bus, store = MemoryBus(), memory_store()
    place = place_on(store, bus)
    with serving(place, all_services(place), Conditions(2.0, 2.0, ("127.0.0.1", 0))):
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
    assert contents(store) == {}


def test_a_loop_that_hangs_is_not_alive() -> None:
    bus = MemoryBus()
    place = place_on(memory_store(), bus)
    (trainer, *_) = all_services(place)
    loop = Loop(bus, trainer, 1.0, 1.0, ServiceMetrics(), threading.Event())
    health = run._health(place, [loop])
    health.live["train-ridge"]()
    loop.turned -= run.QUIET + 1
    with pytest.raises(StageFailed, match="the loop of train-ridge has not turned for 61 s"):
        health.live["train-ridge"]()
