"""What a client may cost before it has shown a token: limits on connections, and on the time that each may take.

The server below the app waits for ever for the rest of a head, and for a reader that does not read. Here a connection
without a request in work has some seconds for the next head, and a reader some for what was sent to it. When all
connections are taken, a new one replaces that which has waited longest without a request, so that a probe is answered
however many half-sent heads there are.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from dataclasses import dataclass
from functools import partial
from socket import socket
from typing import Any, cast

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from flts.contracts import events
from flts.web.lag import Lag
from flts.web.problem import RETRY_SECONDS
from flts.web.pulse import Pulse

HEAD_SECONDS = 10.0
"""How long a connection may wait for a whole head."""
IDLE_SECONDS = 60.0
"""How long a client may take for 256 KiB, or for what is left: to read them, or to send them."""
LOG_SECONDS = 60.0
"""Least time between two lines about the same kind of trouble."""
OWN_DESCRIPTORS = 32
"""Open files of the process itself; each connection needs one more, and its request one for the store."""
FEWEST_ACCEPTED = 8
"""Connections accepted in one turn of the event loop, before the limit is looked at; a quarter of the limit if more."""
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


class Connections:
    """All connections of one server."""

    def __init__(self, service: str, limits: ConnectionLimits) -> None:
        self.limits, self.trouble = limits, TroubleLog(service, limits.connections)
        self._open: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}

    def admit(self, new: Connection) -> bool:
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

    def waits(self, connection: Connection) -> None:
        """A connection has no request in work from now on."""
        self._waiting[connection] = None

    def works(self, connection: Connection) -> None:
        """A connection has a request in work."""
        self._waiting.pop(connection, None)

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        self._open.discard(connection)
        self.works(connection)


class Connection(H11Protocol):
    """The connection of one client, ended when it takes longer than it may."""

    def __init__(self, *args: Any, among: Connections, **options: Any) -> None:
        super().__init__(*args, **options)
        self._among, self._limits = among, among.limits
        self._next_head: asyncio.TimerHandle | None = None
        self._reader: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # then writing is paused for as long as the reader leaves anything, and the timer of a reader covers all of it
        transport.set_write_buffer_limits(high=0)
        if self._among.admit(self):
            self._wait(self._limits.head_seconds)
        else:
            transport.write(REFUSAL % RETRY_SECONDS)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._among.forget(self)
        self._stop(self._next_head)
        self._stop(self._reader)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._among.works(self)
            self._stop(self._next_head)

    def on_response_complete(self) -> None:
        # the reader may have to take the end of the answer first, or the client to send the rest of its body
        early = self.transport.get_write_buffer_size() > 0 or self.conn.their_state is h11.SEND_BODY
        self._wait(self._limits.idle_seconds if early else self._limits.head_seconds)
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reader = self.loop.call_later(self._limits.idle_seconds, self._end, "slow-reader")

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop(self._reader)

    def send_400_response(self, msg: str) -> None:
        self._among.trouble.note("invalid")
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:  # an answer has begun already
            self.transport.abort()

    def _wait(self, seconds: float) -> None:
        self._among.waits(self)
        self._stop(self._next_head)
        self._next_head = self.loop.call_later(seconds, self._end, "slow-head")

    def _end(self, reason: str) -> None:
        self._among.trouble.note(reason)
        self.transport.abort()

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


class LimitedServer(uvicorn.Server):
    """A server that keeps its limits, and logs as JSON what the event loop would write as text."""

    def __init__(self, app: ASGIApp, service: str, limits: ConnectionLimits, grace: float) -> None:
        self._among = Connections(service, limits)
        self.pulse, self.lag = Pulse(), Lag()
        super().__init__(
            uvicorn.Config(
                app,
                # the type of the parameter knows classes only, but it is called like a function
                http=cast("Any", partial(Connection, among=self._among)),
                ws="none",
                lifespan="off",
                access_log=False,  # the app logs each request with its outcome itself
                log_config=None,
                log_level="critical",
                backlog=max(FEWEST_ACCEPTED, limits.connections // 4),
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=round(grace),
            )
        )

    async def startup(self, sockets: list[socket] | None = None) -> None:
        loop = self.pulse.loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._failed)
        self.lag.start()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        await super().shutdown(sockets)
        self.lag.close()
        self._among.trouble.log_rest()

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self._among.trouble.note(f"{context['message']}: {type(error).__name__}" if error else context["message"])
