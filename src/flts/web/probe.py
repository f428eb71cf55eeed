"""A small server for liveness, readiness and metrics; it checks anew at every request."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from flts.contracts.errors import FltsError, UsageError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import GaugeMetricFamily

PATIENCE = 3.0
"""Seconds a backend has to answer a probe."""

OK = "ok"
"""State of a check that passes."""

Check = Callable[[], object]
"""Raises when something is wrong."""


@dataclass(frozen=True)
class HealthChecks:
    """live: the loops turn; ready: every backend answers, too."""

    live: Mapping[str, Check]
    ready: Mapping[str, Check]


class Probes:
    """The probe server. Port 0 takes a free port, which `address` names."""

    def __init__(self, host: str, port: int, health: HealthChecks, registry: CollectorRegistry) -> None:
        from prometheus_client import make_wsgi_app

        self._health, self._metrics = health, make_wsgi_app(registry)
        registry.register(_Ready(self))
        self._asking = ThreadPoolExecutor(8, thread_name_prefix="probe")
        try:
            self._server = make_server(host, port, self._answer, _Server, _Quiet)
        except OSError as error:
            raise UsageError(
                f"probes cannot listen on {host}:{port}: {error.strerror}; set probe_port, 0 takes a free one",
                code="cannot-listen",
                host=host,
                port=port,
            ) from None
        self.address = f"[{host}]:{self._server.server_port}" if ":" in host else f"{host}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, name="probes", daemon=True).start()

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self._asking.shutdown(wait=False, cancel_futures=True)

    def _answer(self, request: WSGIEnvironment, respond: StartResponse) -> Iterable[bytes]:
        match request["PATH_INFO"]:
            case "/metrics":
                page: Iterable[bytes] = self._metrics(request, respond)
                return page
            case "/healthz":
                return self._report(self._health.live, respond)
            case "/readyz":
                return self._report(self._health.ready, respond)
            case _:
                return _json("404 Not Found", {"valid": ["/healthz", "/readyz", "/metrics"]}, respond)

    def _report(self, checks: Mapping[str, Check], respond: StartResponse) -> Iterable[bytes]:
        states = self._states(checks)
        healthy = all(state == OK for state in states.values())
        return _json("200 OK" if healthy else "503 Service Unavailable", states, respond)

    def ready(self) -> Mapping[str, bool]:
        """Whether each check of /readyz passes now."""
        return {name: state == OK for name, state in self._states(self._health.ready).items()}

    def _states(self, checks: Mapping[str, Check]) -> dict[str, str]:
        """What each check says now."""
        asked = {name: self._asking.submit(check) for name, check in checks.items()}
        states: dict[str, str] = {}
        for name, answer in asked.items():
            try:
                answer.result(timeout=PATIENCE)
                states[name] = OK
            except Late:
                states[name] = f"no answer in {PATIENCE:g} s"
            except FltsError as error:
                states[name] = str(error)
            except Exception as error:  # noqa: BLE001 - any error of a client library means "not ready"
                states[name] = f"{type(error).__name__}: {error}"
        return states


class _Ready:
    """The checks of /readyz as metrics; a scrape runs them, as a probe does."""

    def __init__(self, probes: Probes) -> None:
        self._probes = probes

    def collect(self) -> Iterable[GaugeMetricFamily]:
        from prometheus_client.core import GaugeMetricFamily

        gauge = GaugeMetricFamily("flts_ready", "1 where this check of /readyz passes", labels=["check"])
        for name, passes in self._probes.ready().items():
            gauge.add_metric([name], float(passes))
        yield gauge

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return []


def _json(status: str, body: Mapping[str, Any], respond: StartResponse) -> Iterable[bytes]:
    data = json.dumps(body).encode()
    respond(status, [("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
    return [data]


class _Server(ThreadingMixIn, WSGIServer):
    """A thread per request: one slow backend does not delay other probes."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)


class _Quiet(WSGIRequestHandler):
    """Logs no request: probes come every few seconds."""

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""
