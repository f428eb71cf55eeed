"""What a client may cost before it has shown a token: limits on connections, and on the time that each may take.

The server below the app waits for ever for the rest of a head, and for a reader that does not read. Here a connection
without a request in work has some seconds for the next head, and a reader some for what was sent to it. When all
connections are taken, a new one replaces that which has waited longest without a request, so that a probe is answered
however many half-sent heads there are.
"""

from __future__ import annotations

import asyncio
import math
import resource
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from flts.contracts import events
from flts.contracts.request_ids import uuid7
from flts.web.cycle import Cycle
from flts.web.problem import RETRY_SECONDS, Problem, document

HEAD_SECONDS = 10.0
"""How long a connection may wait for a whole head."""
IDLE_SECONDS = 60.0
"""How long a client may take for 256 KiB, or for what is left: to read them, or to send them."""
LOG_SECONDS = 60.0
"""Least time between two lines about the same kind of trouble."""
OWN_DESCRIPTORS = 32
"""Open files of the process itself; each connection needs one more, and its request one for the store."""
HEAD_BYTES = 2**16
"""Largest head of a request, and most bytes of trailers or of the extensions of a chunk."""
PIPELINED = 64
"""Most requests that a connection may send before it waits for an answer."""
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\nRetry-After: %d\r\n\r\n"


@dataclass(frozen=True)
class ConnectionLimits:
    """What all connections together, and each of them, may take."""

    connections: int
    head_seconds: float = HEAD_SECONDS
    idle_seconds: float = IDLE_SECONDS


def affordable(connections: int) -> int:
    """As many connections as the limit on open files allows, at most `connections`; that limit is raised if it may be.

    One connection is allowed in any case.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = OWN_DESCRIPTORS + 2 * connections
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, (soft - OWN_DESCRIPTORS) // 2))


class TroubleLog:
    """Logs each kind of trouble at once, and then its count once a minute."""

    def __init__(self, service: str, limit: int, seconds: float = LOG_SECONDS) -> None:
        self._service, self._limit, self._seconds = service, limit, seconds
        self._counts: Counter[str] = Counter()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def note(self, reason: str) -> None:
        """Count one more connection that was closed for this reason."""
        self._counts[reason] += 1
        if reason not in self._timers:
            self._log(reason)

    def log_rest(self) -> None:
        """Log what was counted since the last lines."""
        for reason in list(self._counts):
            self._emit(reason)

    def _log(self, reason: str) -> None:
        self._timers.pop(reason, None)
        if self._counts[reason]:
            self._emit(reason)
            self._timers[reason] = asyncio.get_running_loop().call_later(self._seconds, self._log, reason)

    def _emit(self, reason: str) -> None:
        events.emit(
            events.ConnectionTrouble(
                service=self._service, reason=reason, count=self._counts.pop(reason), limit=self._limit
            )
        )


class Peer(Protocol):
    """One connection."""

    transport: asyncio.Transport


class Connections:
    """All connections of one server."""

    def __init__(self, service: str, limits: ConnectionLimits) -> None:
        self.limits, self.trouble = limits, TroubleLog(service, limits.connections)
        self._open: set[Peer] = set()
        self._waiting: dict[Peer, None] = {}
        self.draining = False
        """Whether the server was asked to stop: every answer is the last one of its connection."""

    def admit(self, new: Peer) -> bool:
        """Whether there is room for one more, if need be in place of the one that has waited longest."""
        if len(self._open) >= self.limits.connections:
            self.trouble.note("full")
            oldest = next(iter(self._waiting), None)
            if oldest is None:
                return False
            self.forget(oldest)
            oldest.transport.abort()
        self._open.add(new)
        return True

    def waits(self, connection: Peer) -> None:
        """A connection has no request in work from now on."""
        self._waiting[connection] = None

    def works(self, connection: Peer) -> None:
        """A connection has a request in work."""
        self._waiting.pop(connection, None)

    def forget(self, connection: Peer) -> None:
        """A connection has ended."""
        self._open.discard(connection)
        self.works(connection)


class Connection(HttpToolsProtocol):
    """The connection of one client, ended when it takes longer or more than it may.

    below: the transport that carries TLS, where it is spoken.
    """

    def __init__(self, *args: Any, among: Connections, below: asyncio.Transport | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._among, self._limits, self._below = among, among.limits, below
        self._ends = self._closes = math.inf
        self._alarm: asyncio.TimerHandle | None = None
        self._reader: asyncio.TimerHandle | None = None
        self._fed = self._kept = 0
        self._sending_body = self._heard = False
        self._refusal: Problem | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # then writing is paused for as long as the reader leaves anything, and the timer of a reader covers all of it;
        # TLS takes 0 for "always paused"
        transport.set_write_buffer_limits(high=0 if self._below is None else 1, low=0)
        if self._among.admit(self):
            self._wait(self._limits.head_seconds)
        else:
            transport.write(REFUSAL % RETRY_SECONDS)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._among.forget(self)
        self._stop(self._alarm)
        self._stop(self._reader)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._heard:
            return
        self._fed += len(data)
        self._closes = math.inf
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._heard = True
        except httptools.HttpParserError as error:
            self._refuse(self._refusal or _unreadable(error))
            return
        if self._fed > HEAD_BYTES:
            self._refuse(_too_large())
        elif self.cycle is not None and not self.cycle.response_complete:
            self._work()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._kept = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._keep(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._keep(len(name) + len(value))
        if not self._sending_body:  # a trailer is no header: nobody has looked at it when a request was accepted
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= PIPELINED:
            raise self._refused(
                Problem(HTTPStatus.TOO_MANY_REQUESTS, "too many requests without waiting", code="pipelined")
            )
        super().on_headers_complete()
        self.cycle.__class__ = Cycle  # the class above makes its own
        self._fed, self._sending_body = 0, True
        # a client that waits for permission may leave out its body, and one that changes the protocol goes on in it
        if self.expect_100_continue or self.parser.should_upgrade() or self._among.draining:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._fed = 0

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._fed, self._sending_body = 0, False

    def on_response_complete(self) -> None:
        # in place of that of the class above, which makes a timer for each answer
        self.server_state.total_requests += 1
        # the reader may have to take the end of the answer first, or the client to send the rest of its body
        below = 0 if self._below is None else self._below.get_write_buffer_size()
        early = self.transport.get_write_buffer_size() + below > 0 or self._sending_body
        self._closes = self.loop.time() + self.timeout_keep_alive
        self._wait(self._limits.idle_seconds if early else self._limits.head_seconds)
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            self._work()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reader = self.loop.call_later(self._limits.idle_seconds, self._end, "slow-reader")

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop(self._reader)

    def _keep(self, size: int) -> None:
        self._kept += size
        if self._kept > HEAD_BYTES:
            raise self._refused(_too_large())

    def _refused(self, problem: Problem) -> Problem:
        """The problem, which the parser does not pass on when it is raised."""
        self._refusal = problem
        return problem

    def _refuse(self, problem: Problem) -> None:
        """Say what is wrong and end the connection: nobody knows what follows. What came before is answered first."""
        self._among.trouble.note("invalid")
        self._heard = True
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not self._sending_body:
                cycle.keep_alive = False
                return
            if self.pipeline or cycle.response_started:
                self.transport.abort()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        answer = document(problem, uuid7())
        headers = b"".join(b"%s: %s\r\n" % header for header in [*answer.raw_headers, (b"connection", b"close")])
        self.transport.write(STATUS_LINE[problem.status] + headers + b"\r\n" + bytes(answer.body))
        self.transport.close()

    def _wait(self, seconds: float) -> None:
        """No request is in work; the next one has to be there in so many seconds."""
        self._among.waits(self)
        self._ends = self.loop.time() + seconds
        if self._alarm is not None and self._alarm.when() > self._due():
            self._alarm.cancel()
            self._alarm = None
        if self._alarm is None:
            self._alarm = self.loop.call_at(self._due(), self._ring)

    def _work(self) -> None:
        """A request is in work. The alarm stays: to set one for each request takes longer than to let it ring."""
        self._among.works(self)
        self._ends = self._closes = math.inf

    def _due(self) -> float:
        """When the connection ends, unless something comes."""
        return min(self._ends, self._closes)

    def _ring(self) -> None:
        """End a connection that waits for too long; look again later at one that began to wait meanwhile."""
        self._alarm, due, now = None, self._due(), self.loop.time()
        if due > now:
            self._alarm = self.loop.call_at(due, self._ring) if due < math.inf else None
        elif self._ends <= now:
            self._end("slow-head")
        else:  # nothing was asked since the last answer
            self.transport.close()

    def _end(self, reason: str) -> None:
        self._among.trouble.note(reason)
        self.transport.abort()

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


def _too_large() -> Problem:
    return Problem(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"the head of a request takes at most {HEAD_BYTES} bytes",
        code="head-too-large",
    )


def _unreadable(error: httptools.HttpParserError) -> Problem:
    why = "its target cannot be read" if isinstance(error, httptools.HttpParserCallbackError) else str(error)
    twice = "Content-Length" in why and ("Transfer-Encoding" in why or "Duplicate" in why)
    return Problem(
        HTTPStatus.BAD_REQUEST, f"this is no request: {why}", code="length-ambiguous" if twice else "request-unreadable"
    )
