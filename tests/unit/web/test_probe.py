"""A probe checks at the moment of the request, and its answer names what is wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest
from prometheus_client import CollectorRegistry
from tests.support.asked import ask
from tests.support.raising import raises

from flts.contracts.errors import BackendUnavailable, UsageError
from flts.web import probe
from flts.web.probe import HealthChecks, Probes


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
    server = Probes("127.0.0.1", 0, HealthChecks({"loop": live}, {"store": ready}), CollectorRegistry())
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


@pytest.mark.parametrize("client", ["127.0.0.1", "[::1]"])
def test_both_families_reach_the_address_for_all(client: str) -> None:
    server = Probes("::", 0, HealthChecks({}, {}), CollectorRegistry())
    host, _, port = server.address.rpartition(":")
    assert host == "[::]"
    assert ask(f"{client}:{port}", "/healthz") == (200, "{}")
    server.close()


def test_a_taken_port_is_a_usage_error(probes: Probes) -> None:
    port = int(probes.address.rpartition(":")[2])
    with raises(UsageError, code="cannot-listen", host="127.0.0.1", port=port):
        Probes("127.0.0.1", port, HealthChecks({}, {}), CollectorRegistry())


def test_a_scrape_runs_the_checks_of_readiness(probes: Probes, checks: tuple[Mood, Mood]) -> None:
    assert 'flts_ready{check="store"} 1.0' in ask(probes.address, "/metrics")[1]
    checks[1].act = fails(BackendUnavailable("s3 does not answer"))
    assert 'flts_ready{check="store"} 0.0' in ask(probes.address, "/metrics")[1]
