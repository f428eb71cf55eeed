"""The outermost layer: one log line and a few metrics per request, and an answer to internal errors without details."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, ProcessCollector
from starlette.requests import ClientDisconnect

from flts.contracts import events
from flts.contracts.errors import FltsError
from flts.contracts.request_ids import uuid7
from flts.web.problem import Problem, written
from flts.web.tallies import Durations, Tally

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = frozenset({"other", "GET", "HEAD", "PUT", "DELETE", "POST", "OPTIONS", "PATCH"})
SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0)
RECEIVED, SENT = ("received",), ("sent",)
NOSNIFF = (b"x-content-type-options", b"nosniff")
NO_CACHE = (b"cache-control", b"private, no-cache")
ALIKE_SECONDS = 1.0
"""How often the log counts requests that were refused alike."""
CLIENT_GONE = 499
"""Status in log and metrics of a request whose client left before the answer."""


class HttpMetrics:
    """The metrics of one server, in its own registry. Every label has few values, whatever clients send.

    seconds: the buckets of the histogram of durations.
    """

    def __init__(self, service: str, seconds: Sequence[float] = SECONDS) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        name = f"flts_{service}"
        of = self.registry
        self._requests = Tally(f"{name}_requests", "Requests answered", ["method", "route", "status"], of)
        self._seconds = Durations(
            f"{name}_request_seconds",
            "Time from the head of a request to the end of its answer",
            ["method", "route"],
            seconds,
            of,
        )
        self._refused = Tally(f"{name}_refused", "Requests answered with a problem document, by its code", ["code"], of)
        self._bytes = Tally(f"{name}_bytes", "Bytes of bodies, received and sent", ["direction"], of)
        for direction in (RECEIVED, SENT):
            self._bytes.add(direction, 0.0)
        self._tokens = Tally(f"{name}_token_requests", "Requests answered, by the name of their token", ["token"], of)

    def count(
        self, method: str, route: str, status: int, seconds: float, received: int, sent: int, token: str | None = None
    ) -> None:
        """Count a request that has ended. token: the name of one that was known."""
        if token is not None:
            self._tokens.add((token,))
        if method not in METHODS:  # unknown ones share one name
            method = "other"
        self._requests.add((method, route, str(status)))
        self._seconds.observe(seconds, (method, route))
        self._bytes.add(RECEIVED, received)
        self._bytes.add(SENT, sent)

    def refused(self, code: str) -> None:
        """Count a request that was answered with a problem document. code: one of ours, of which there are few."""
        self._refused.add((code,))


Emit = Callable[[Callable[[], events.Event]], None]
"""Logs the event that a function makes."""


def at_once(make: Callable[[], events.Event]) -> None:
    """Log an event now, on the thread of the caller."""
    events.emit(make())


class Observer:
    """Counts and logs requests.

    The state of a request holds `started`, when its head was read (monotonic clock), and `request_id`, which an
    endpoint may replace. An endpoint leaves the caller's own id in `caller_id`, which the answer repeats. One with an
    event of its own for an answer leaves a function in `event`, which is called with the duration in ms and the bytes
    received and sent.
    """

    def __init__(self, service: str, metrics: HttpMetrics, emit: Emit) -> None:
        self._service, self._metrics, self._emit = service, metrics, emit
        self._alike = Counter[tuple[str, str]]()
        self._served = events.Often(events.RequestServed, service=service)

    def begin(self, scope: Scope) -> None:
        """A request has come. Says nothing new of one that came already."""
        state = scope.setdefault("state", {})
        if "started" not in state:
            state["started"], state["request_id"] = time.monotonic(), uuid7()

    def end(self, scope: Scope, status: int, received: int, sent: int) -> None:
        """A request was answered, or its client left. received, sent: bytes of bodies."""
        state, route = scope["state"], getattr(scope.get("route"), "path_format", "none")
        seconds = time.monotonic() - state["started"]
        self._metrics.count(scope["method"], route, status, seconds, received, sent, state.get("token"))
        if events.wanted():
            self._emit(self._event(scope, route, status, seconds, received, sent))
        state.pop("event", None)  # it knows who asked, and so this request: a ring for the collector of garbage

    def refused_alike(self, route: str, code: str, status: int, sent: int) -> None:
        """A POST was refused like others before it, and was not read. sent: bytes of the body of the answer.

        It is counted as each other; the log says once a second how many there were. Called on an event loop.
        """
        self._metrics.refused(code)
        self._metrics.count("POST", route, status, 0.0, 0, sent)
        if not self._alike and events.wanted():
            asyncio.get_running_loop().call_later(ALIKE_SECONDS, self._log_alike)
        self._alike[route, code] += 1

    def _log_alike(self) -> None:
        """Log how many requests were refused alike."""
        found, self._alike = self._alike, Counter()
        for (route, code), count in found.items():
            self._emit(partial(events.RequestsRefused, service=self._service, route=route, code=code, count=count))

    def _event(
        self, scope: Scope, route: str, status: int, seconds: float, received: int, sent: int
    ) -> Callable[[], events.Event]:
        """What is logged of a request."""
        state = scope["state"]
        own: Callable[[float, int, int], events.Happened] | None = state.get("event")
        if own is not None and status < HTTPStatus.BAD_REQUEST:
            return own(1000 * seconds, received, sent)
        return self._served.happened(
            request_id=state["request_id"],
            method=scope["method"][:20],
            route=route,
            object_key=state.get("object_key"),
            status=int(status),
            duration_ms=round(1000 * seconds),
            received=received,
            sent=sent,
            reason=state.get("reason"),
            token=state.get("token"),
        )


class Observed:
    """Counts and logs every request as an Observer, and answers errors that nothing inside has handled."""

    def __init__(self, app: ASGIApp, *, service: str, metrics: HttpMetrics, emit: Emit = at_once) -> None:
        self._app, self._service, self._observer = app, service, Observer(service, metrics, emit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._observer.begin(scope)
        state = scope["state"]
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
                message = {**message, "headers": with_ours(message.get("headers", ()), state)}
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, counted_receive, counted_send)
        except ClientDisconnect:
            status = CLIENT_GONE
        except Exception as error:  # noqa: BLE001 - the last layer: every error is logged and answered
            self._log_failure(error, state)
            if status == 0:
                detail = f"internal error; see the log for request {state['request_id']}"
                answer = written(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail), scope)
                await answer(scope, receive, counted_send)
            # an answer that has begun stays incomplete, which the client can see
        finally:
            self._observer.end(scope, status, received, sent)

    def _log_failure(self, error: Exception, state: dict[str, Any]) -> None:
        # once an answer has begun, the framework wraps the error
        first = error.__cause__ if isinstance(error.__cause__, FltsError) else error
        if isinstance(first, FltsError):
            state["reason"] = str(first)
        events.emit(
            events.RequestFailed(
                service=self._service,
                request_id=state["request_id"],
                error=type(first).__name__,
                traceback="".join(traceback.format_tb(first.__traceback__)),
            )
        )


def with_ours(headers: Iterable[tuple[bytes, bytes]], state: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer with those that every answer has."""
    ours = [*headers, (b"x-request-id", state["request_id"].encode("ascii")), NOSNIFF]
    if state.get("caller_id") is not None:
        ours.append((b"x-caller-request-id", state["caller_id"].encode("ascii")))
    if b"cache-control" not in {name for name, _ in ours}:
        ours.append(NO_CACHE)
    return ours
