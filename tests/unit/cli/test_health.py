"""`flts health` asks the service of its container and says by its exit code what it heard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from tests.unit.cli.conftest import Flts

from flts.contracts.errors import BackendUnavailable
from flts.stack.server import ports
from flts.web.probe import HealthChecks, Probes


def _unwell() -> None:
    raise BackendUnavailable("s3 does not answer")


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Probes]:
    """A service whose loop runs and whose store is away, on the probe port of the settings."""
    server = Probes("127.0.0.1", 0, HealthChecks({"loop": lambda: None}, {"store": _unwell}), CollectorRegistry())
    monkeypatch.setenv("FLTS_PROBE_HOST", "0.0.0.0")  # noqa: S104 - as a container says it
    monkeypatch.setenv("FLTS_PROBE_PORT", server.address.rpartition(":")[2])
    yield server
    server.close()


@pytest.fixture
def unused(tmp_path: Path) -> int:
    """A port on which nothing listens."""
    return ports(tmp_path, "unused")["unused"]


@pytest.mark.usefixtures("probes")
def test_a_service_whose_loop_runs_is_well(flts: Flts) -> None:
    asked = flts("health")
    assert (asked.code, asked.out.strip(), asked.err) == (0, '{"loop": "ok"}', "")


@pytest.mark.usefixtures("probes")
def test_a_service_that_is_not_ready_says_why(flts: Flts) -> None:
    asked = flts("health", "--ready")
    assert asked.code == 1
    assert "503" in asked.err
    assert "s3 does not answer" in asked.err


def test_another_address_can_be_asked(flts: Flts, probes: Probes) -> None:
    assert flts("health", "--url", f"http://{probes.address}/healthz").code == 0
    assert flts("health", "--url", f"http://{probes.address}/elsewhere").code == 1


@pytest.mark.usefixtures("probes")
def test_a_proxy_is_not_asked(flts: Flts, unused: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused}")
    assert flts("health").code == 0


def test_where_nothing_listens_the_answer_is_no(flts: Flts, unused: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLTS_PROBE_PORT", str(unused))
    asked = flts("health")
    assert asked.code == 1
    assert f"http://127.0.0.1:{unused}/healthz" in asked.err
    assert "refused" in asked.err


def test_an_address_of_ipv6_is_written_in_brackets(flts: Flts, unused: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLTS_PROBE_HOST", "::")
    monkeypatch.setenv("FLTS_PROBE_PORT", str(unused))
    asked = flts("health")
    assert asked.code == 1
    assert re.search(rf"http://\[::1\]:{unused}/healthz", asked.err)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "127.0.0.1:8080", "http://[", "http://host:x/", "https://127.0.0.1/"]
)
def test_only_http_is_asked(flts: Flts, url: str) -> None:
    refused = flts("health", "--url", url)
    assert (refused.code, getattr(refused.error, "code", None)) == (2, "url-invalid")
