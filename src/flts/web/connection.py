"""The connection of one client: its bytes become requests, each of which is answered at once or by a task.

It stands where uvicorn has a protocol of its own, and is started and ended by uvicorn's server. What it may take is the
matter of `connections.py`.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from flts.contracts.request_ids import uuid7
from flts.web.connections import Connections
from flts.web.cycle import Cycle
from flts.web.problem import RETRY_SECONDS, Problem, document
from flts.web.shortcuts import Shortcuts

HEAD_BYTES = 2**16
"""Largest head of a request, and most bytes of trailers or of the extensions of a chunk."""
PASSED_OVER = 16 * 2**20
"""Most bytes that are received of a body after its answer: a client that still sends reads no answer."""
PIPELINED = 64
"""Most requests that a connection may send before it waits for an answer."""
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\nRetry-After: %d\r\n\r\n"
CHANGES = frozenset({b"upgrade", b"connection"})
"""Headers that ask for another protocol."""
ASGI = {"version": "3.0", "spec_version": "2.3"}


class Connection(asyncio.Protocol):
    """One connection, ended when it takes longer or more than it may."""

    transport: asyncio.Transport

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        among: Connections,
        below: asyncio.Transport | None = None,
        shortcuts: Shortcuts,
    ) -> None:
        """below: the transport that carries TLS, where it is spoken. The first four are what uvicorn gives."""
        self._app = config.loaded_app
        self._server, self._loop = server_state, _loop or asyncio.get_running_loop()
        self._among, self._limits, self._below, self._shortcuts = among, among.limits, below, shortcuts
        self._parser = httptools.HttpRequestParser(self)
        # what comes after a last request must not make that one unreadable
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._common: dict[str, Any] = {"type": "http", "asgi": ASGI, "root_path": ""}
        self._url, self._headers = b"", list[tuple[bytes, bytes]]()
        self._asks_permission = False
        self._plain_head = b""
        """The head of a request that asks for another protocol, without what asks for it."""
        self._cycle: Cycle | None = None
        """The newest request, but for one that was refused by its head alone."""
        self._new: Cycle | None = None
        """A request that was read, and that nothing has begun to answer."""
        self._open = deque[Cycle]()
        """Requests without a whole answer. The first one is in work; those behind it were sent without waiting."""
        self._ends = self._closes = math.inf
        self._alarm: asyncio.TimerHandle | None = None
        self._reader: asyncio.TimerHandle | None = None
        self._fed = self._kept = self._passed_over = 0
        self._in_head = self._sending_body = self._heard = False
        self._begun = self._turned_away = 0
        """Requests that began with the bytes that came last, and how many of them were refused by their head."""
        self._refusal: Problem | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._server.connections.add(self)  # type: ignore[arg-type]
        self.transport, self._flow = transport, FlowControl(transport)
        self._common["server"], self._common["client"] = get_local_addr(transport), get_remote_addr(transport)
        self._common["scheme"] = "https" if is_ssl(transport) else "http"
        # then writing is paused for as long as the reader leaves anything, and the timer of a reader covers all of it;
        # TLS takes 0 for "always paused"
        transport.set_write_buffer_limits(high=0 if self._below is None else 1, low=0)
        if self._among.admit(self):
            self._wait(self._limits.head_seconds)
        else:
            transport.write(REFUSAL % RETRY_SECONDS)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._among.forget(self)
        self._stop(self._alarm)
        self._stop(self._reader)
        for cycle in self._open:
            cycle.leave()
        # they know this connection: rings for the collector of garbage
        self._open.clear()
        self._cycle = self._new = None
        del self._parser
        self._flow.resume_writing()
        if exc is None:
            self.transport.close()

    def eof_received(self) -> None:
        """A client that sends no more takes no answer: the connection ends."""

    def shutdown(self) -> None:
        """End after the answer to the request in work."""
        if self._open:
            self._open[-1].keep_alive = False
        else:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._heard:
            return
        begins = not (self._fed or self._sending_body or self._open)
        if begins and not self._flow.write_paused and not self._among.draining:
            refusal = self._shortcuts.again(data, self._server.default_headers)
            if refusal is not None:
                self.transport.write(refusal)
                self._rest()
                return
        self._begun = self._turned_away = 0
        self._fed += len(data)
        self._closes = math.inf
        try:
            self._read(data)
        except httptools.HttpParserError as error:
            self._refuse(self._refusal or _unreadable(error))
            self._begin()
            return
        if self._fed > HEAD_BYTES:
            self._refuse(_too_large())
            self._begin()
        elif self._open:
            self._work()
            self._begin()
        elif begins and self._turned_away == self._begun == 1 and not (self._fed or self._sending_body):
            self._shortcuts.remember(data, self._url, self._headers)
        elif self._due() == math.inf:  # something has come, and it is no whole head
            self._wait(self._limits.head_seconds)

    def _read(self, data: bytes) -> None:
        """Let the parser read, a request that asks for another protocol as one that does not. Raises HttpParserError.

        Some clients send "Upgrade: h2c" with every first request, its body behind it. The parser takes such a body for
        what is said in the other protocol.
        """
        while data:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                if not self._plain_head:  # the method CONNECT: what follows is for whoever was asked for
                    self._heard = True
                    return
                data, self._plain_head = self._plain_head + data[upgrade.args[0] :], b""

    # what the parser calls

    def on_message_begin(self) -> None:
        self._url, self._headers, self._asks_permission = b"", [], False
        self._kept, self._passed_over, self._in_head = 0, 0, True
        self._begun += 1

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._keep(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._keep(len(name) + len(value))
        if self._sending_body:  # a trailer is no header: nobody has looked at it when a request was accepted
            return
        name = name.lower()
        self._headers.append((name, value))
        if name == b"expect" and value.lower() == b"100-continue":
            self._asks_permission = True

    def on_headers_complete(self) -> None:
        if len(self._open) > PIPELINED:
            raise self._refused(
                Problem(HTTPStatus.TOO_MANY_REQUESTS, "too many requests without waiting", code="pipelined")
            )
        parser = self._parser
        version, method = parser.get_http_version(), parser.get_method()
        if parser.should_upgrade() and method != b"CONNECT":
            others = [header for header in self._headers if header[0] not in CHANGES]
            lines = b"".join(b"%b: %b\r\n" % header for header in [*others, (b"connection", b"close")])
            self._plain_head = b"%b %b HTTP/%b\r\n%b\r\n" % (method, self._url, version.encode(), lines)
            return
        # a client that waits for permission may leave out its body
        ends = self._asks_permission or self._among.draining or version == "1.0" or parser.should_upgrade()
        keep_alive = not ends and parser.should_keep_alive()
        self._fed, self._in_head, self._sending_body = 0, False, True
        if keep_alive and version == "1.1" and not self._open and not self._flow.write_paused:
            common = self._server.default_headers
            refusal = self._shortcuts.refusal(self._url, method, self._headers, common)
            if refusal is not None:
                self._cycle = None
                self._turned_away += 1
                self.transport.write(refusal)
                self._rest()
                return
        target = httptools.parse_url(self._url)
        path = target.path.decode("ascii")
        scope = {
            **self._common,
            "http_version": version,
            "method": method.decode("ascii"),
            "path": unquote(path) if "%" in path else path,
            "raw_path": target.path,
            "query_string": target.query or b"",
            "headers": self._headers,
            "state": {},
        }
        cycle = self._cycle = Cycle(
            scope,
            self.transport,
            self._flow,
            self._answered,
            self._server.default_headers,
            keep_alive=keep_alive,
            permission_due=self._asks_permission,
        )
        if self._open:
            self._flow.pause_reading()
        else:
            self._new = cycle
        self._open.append(cycle)

    def on_body(self, body: bytes) -> None:
        if self._cycle is not None and not self._cycle.answered:
            self._cycle.feed(body)
        else:
            self._passed_over += len(body)
            if self._passed_over > PASSED_OVER:
                self._heard = True
                self.transport.close()
        self._fed = 0

    def on_message_complete(self) -> None:
        if self._plain_head:
            return
        if self._cycle is not None:
            self._cycle.end()
        self._fed, self._sending_body = 0, False
        if self._cycle is None:
            self._rest()  # the answer was there before the end of the body

    # what becomes of a request

    def _begin(self) -> None:
        """Let the request that was read last be answered, if nothing has begun to."""
        cycle, self._new = self._new, None
        if cycle is not None and not (cycle.prompt and self._shortcuts.prompt(cycle, self._start)):
            self._start(cycle)

    def _start(self, cycle: Cycle) -> None:
        """Let a task answer a request."""
        task = self._loop.create_task(cycle.run(self._app))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    def _answered(self) -> None:
        """The last byte of an answer was sent."""
        self._open.popleft()
        self._rest()
        if self.transport.is_closing():
            return
        self._flow.resume_reading()
        if self._open:
            self._start(self._open[0])
            self._work()

    def _rest(self) -> None:
        """Nothing is in work any more."""
        self._closes = self._loop.time() + self._limits.quiet_seconds
        if self._early():
            self._wait(self._limits.idle_seconds)
        else:
            self._wait(self._limits.head_seconds if self._in_head else math.inf)

    def _early(self) -> bool:
        """Whether the reader has to take the end of an answer first, or the client to send the rest of its body."""
        below = 0 if self._below is None else self._below.get_write_buffer_size()
        return self.transport.get_write_buffer_size() + below > 0 or self._sending_body

    def pause_writing(self) -> None:
        self._flow.pause_writing()
        self._reader = self._loop.call_later(self._limits.idle_seconds, self._end, "slow-reader")

    def resume_writing(self) -> None:
        self._flow.resume_writing()
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
        cycle = self._cycle
        if cycle is not None and not cycle.answered:
            if not self._sending_body:
                cycle.keep_alive = False
                return
            if len(self._open) > 1 or cycle.started:
                self.transport.abort()
                return
            cycle.leave()
        answer = document(problem, uuid7())
        headers = b"".join(b"%s: %s\r\n" % header for header in [*answer.raw_headers, (b"connection", b"close")])
        self.transport.write(STATUS_LINE[problem.status] + headers + b"\r\n" + bytes(answer.body))
        self.transport.close()

    def _wait(self, seconds: float) -> None:
        """No request is in work; the next one has to be there in so many seconds."""
        self._among.waits(self)
        self._ends = self._loop.time() + seconds
        if self._alarm is not None and self._alarm.when() > self._due():
            self._alarm.cancel()
            self._alarm = None
        if self._alarm is None:
            self._alarm = self._loop.call_at(self._due(), self._ring)

    def _work(self) -> None:
        """A request is in work. The alarm stays: to set one for each request takes longer than to let it ring."""
        self._among.works(self)
        self._ends = self._closes = math.inf

    def _due(self) -> float:
        """When the connection ends, unless something comes."""
        return min(self._ends, self._closes)

    def _ring(self) -> None:
        """End a connection that waits for too long; look again later at one that began to wait meanwhile."""
        self._alarm, due, now = None, self._due(), self._loop.time()
        if due > now:
            self._alarm = self._loop.call_at(due, self._ring) if due < math.inf else None
        elif self._ends <= now and (self._in_head or self._early() or self._closes == math.inf):
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
