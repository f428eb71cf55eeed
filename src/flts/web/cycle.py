"""One request and its answer. The head leaves with the beginning of the body: one packet, and one call of the system.

ASGI lets a server hold the head until the body begins. The headers of an answer are looked at together, too: each of
them on its own takes as long as a check of the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any

from starlette.types import ASGIApp
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE

NAME, VALUE = itemgetter(0), itemgetter(1)
WITHOUT_BODY = frozenset({204, 304})
FAILED = b"Internal Server Error"

Header = tuple[bytes, bytes]


class Cycle:
    """A request as far as it has come, and its answer as far as it has left.

    scope: of ASGI; keep_alive: whether the connection goes on after the answer; body: what came and was not received;
    more_body: whether more of it comes; disconnected: whether the client has gone.
    """

    __slots__ = (
        "__weakref__",
        "_chunked",
        "_common",
        "_flow",
        "_held",
        "_left",
        "_news",
        "_on_answered",
        "_transport",
        "answered",
        "body",
        "disconnected",
        "keep_alive",
        "more_body",
        "permission_due",
        "scope",
        "started",
    )

    def __init__(
        self,
        scope: dict[str, Any],
        transport: asyncio.Transport,
        flow: FlowControl,
        on_answered: Callable[[], None],
        common: Sequence[Header] = (),
        *,
        keep_alive: bool,
        permission_due: bool = False,
    ) -> None:
        """on_answered: called after the last byte of the answer; common: headers of every answer.

        permission_due: whether the client waits for "100 Continue" before it sends its body.
        """
        self.scope, self.keep_alive, self.permission_due = scope, keep_alive, permission_due
        self.body, self.more_body = bytearray(), True
        self.disconnected = self.started = self.answered = False
        self._transport, self._flow, self._on_answered, self._common = transport, flow, on_answered, common
        self._news = asyncio.Event()
        self._held = b""
        self._chunked, self._left = False, 0

    def feed(self, part: bytes) -> None:
        """Take a part of the body that has come."""
        if self.answered:
            return
        self.body += part
        if len(self.body) > HIGH_WATER_LIMIT:
            self._flow.pause_reading()
        self._news.set()

    def end(self) -> None:
        """The body is complete."""
        self.more_body = False
        self._news.set()

    def leave(self) -> None:
        """The client has gone."""
        self.disconnected = not self.answered
        self._news.set()

    def gone(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.disconnected

    @property
    def prompt(self) -> bool:
        """Whether it can be answered at once: all of it is there, and the client has read all that was sent to it."""
        return not (self.more_body or self.permission_due or self._flow.write_paused)

    async def run(self, app: ASGIApp) -> None:
        """Let an application answer. Whatever it does wrong ends the connection."""
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException:  # noqa: BLE001 - the layers of an application log their errors; a task may be cancelled
            if not self.started and not self.disconnected:
                close = [(b"connection", b"close"), (b"content-length", str(len(FAILED)).encode())]
                self.answer(500, [(b"content-type", b"text/plain; charset=utf-8"), *close], FAILED)
        if not self.answered and not self.disconnected:
            self._transport.close()

    async def receive(self) -> dict[str, Any]:
        """The next message of ASGI."""
        if self.permission_due and not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.permission_due = False
        if not self.disconnected and not self.answered:
            self._flow.resume_reading()
            await self._news.wait()
            self._news.clear()
        if self.disconnected or self.answered:
            return {"type": "http.disconnect"}
        part, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": part, "more_body": self.more_body}

    async def send(self, message: Any) -> None:
        """Send a message of ASGI. Raises RuntimeError for one that is out of place, and for an invalid header."""
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        expected = "http.response.body" if self.started else "http.response.start"
        if message["type"] != expected or self.answered:
            raise RuntimeError(f"expected {expected}, got {message['type']}")
        if not self.started:
            self._start(message["status"], message.get("headers", ()))
        else:
            self._send(message.get("body", b""), more=message.get("more_body", False))

    def answer(self, status: int, headers: Iterable[Header], body: bytes) -> None:
        """Send a whole answer. Raises as `send` does."""
        if not self.disconnected:
            self._start(status, headers)
            self._send(body, more=False)

    def _start(self, status: int, headers: Iterable[Header]) -> None:
        self.started, self.permission_due = True, False
        self._held = self._head(status, [*self._common, *headers])

    def _send(self, body: bytes, *, more: bool) -> None:
        head, self._held = self._held, b""
        self._transport.write(head + self._part(body, more=more))
        if more:
            return
        if self._left:
            raise RuntimeError("the body of an answer is shorter than its Content-Length")
        self.answered = True
        self._news.set()
        if not self.keep_alive:
            self._transport.close()
        self._on_answered()

    def _head(self, status: int, headers: Sequence[Header]) -> bytes:
        names, values = list(map(NAME, headers)), list(map(VALUE, headers))
        if HEADER_RE.search(b"".join(names)):
            raise RuntimeError("invalid name of a header")
        if HEADER_VALUE_RE.search(b"".join(values)):
            raise RuntimeError("invalid value of a header")
        lines = [b"%s: %s\r\n" % header for header in headers]
        known = dict(zip(map(bytes.lower, names), values, strict=True))
        closing = b"connection" in known and b"close" in map(bytes.strip, known[b"connection"].lower().split(b","))
        if closing:
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close\r\n")
        if b"content-length" in known:
            self._left = int(known[b"content-length"])
        elif known.get(b"transfer-encoding", b"").lower() == b"chunked":
            self._chunked = True
        elif self.scope["method"] != "HEAD" and status not in WITHOUT_BODY:
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        return b"".join([STATUS_LINE[status], *lines, b"\r\n"])

    def _part(self, body: bytes, *, more: bool) -> bytes:
        """A part of the body as it is sent. more: whether another one follows."""
        if self.scope["method"] == "HEAD":
            self._left = 0
            return b""
        if self._chunked:
            part = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return part if more else part + b"0\r\n\r\n"
        if len(body) > self._left:
            raise RuntimeError("the body of an answer is longer than its Content-Length")
        self._left -= len(body)
        return body
