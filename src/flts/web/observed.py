"""The outermost layer: one log line and a few metrics per request, and an answer to internal errors without details."""

from __future__ import annotations

import time
import traceback
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect

from flts.contracts import events
from flts.contracts.errors import FltsError
from flts.web.problem import Problem, document

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE", "POST", "OPTIONS", "PATCH"})
SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0)
CLIENT_GONE = 499
"""Status in log and metrics of a request whose client left before the answer."""


class HttpMetrics:
    """The metrics of one server, in its own registry. Every label has few values, whatever clients send."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        name = f"flts_{service}"
        self._requests = Counter(
            f"{name}_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            f"{name}_request_seconds",
            "Time from the head of a request to the end of its answer",
            ["method", "route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._bytes = Counter(
            f"{name}_bytes", "Bytes of bodies, received and sent", ["direction"], registry=self.registry
        )

    def count(self, method: str, route: str, status: int, seconds: float, received: int, sent: int) -> None:
        """Count a request that has ended."""
        method = method if method in METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)
        self._bytes.labels("received").inc(received)
        self._bytes.labels("sent").inc(sent)


class Observed:
    """Counts and logs every request, and answers errors that nothing inside has handled."""

    def __init__(self, app: ASGIApp, *, service: str, metrics: HttpMetrics) -> None:
        self._app, self._service, self._metrics = app, service, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = str(uuid.uuid4())
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        status = received = sent = 0

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Cache-Control", "private, no-cache")
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, counted_receive, counted_send)
        except ClientDisconnect:
            status = CLIENT_GONE
        except Exception as error:  # noqa: BLE001 - the last layer: every error is logged and answered
            # once an answer has begun, the framework wraps the error
            first = error.__cause__ if isinstance(error.__cause__, FltsError) else error
            where = "".join(traceback.format_tb(first.__traceback__))
            events.emit(
                events.RequestFailed(
                    service=self._service, request_id=request_id, error=type(first).__name__, traceback=where
                )
            )
            if isinstance(first, FltsError):
                state["reason"] = str(first)
            if status == 0:
                detail = f"internal error; see the log for request {request_id}"
                answer = document(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail), request_id)
                await answer(scope, receive, counted_send)
            # an answer that has begun stays incomplete, which the client can see
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path_format", "none")
            self._metrics.count(scope["method"], route, status, seconds, received, sent)
            events.emit(
                events.RequestServed(
                    service=self._service,
                    request_id=request_id,
                    method=scope["method"][:20],
                    route=route,
                    object_key=state.get("object_key"),
                    status=status,
                    duration_ms=round(1000 * seconds),
                    received=received,
                    sent=sent,
                    reason=state.get("reason"),
                )
            )
