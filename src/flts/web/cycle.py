"""One request and its answer. The head leaves with the beginning of the body: one packet, and one call of the system.

ASGI lets a server hold the head until the body begins. The headers of an answer are looked at together, too: each of
them on its own takes as long as a check of the request.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle

NAME, VALUE = itemgetter(0), itemgetter(1)
WITHOUT_BODY = frozenset({204, 304})


class Cycle(RequestResponseCycle):
    """The cycle of uvicorn, but for how it sends. A connection makes its cycles to this one."""

    held: bytes = b""
    """The head, until the body begins."""

    async def send(self, message: Any) -> None:
        """Send a message of ASGI. Raises RuntimeError for one that is out of place, and for an invalid header."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        expected = "http.response.body" if self.response_started else "http.response.start"
        if message["type"] != expected or self.response_complete:
            raise RuntimeError(f"expected {expected}, got {message['type']}")
        if not self.response_started:
            self.response_started, self.waiting_for_100_continue = True, False
            self.held = self._head(message["status"], [*self.default_headers, *message.get("headers", ())])
            return
        more = message.get("more_body", False)
        head, self.held = self.held, b""
        self.transport.write(head + self._part(message.get("body", b""), more=more))
        if more:
            return
        if self.expected_content_length:
            raise RuntimeError("the body of an answer is shorter than its Content-Length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        names, values = list(map(NAME, headers)), list(map(VALUE, headers))
        if HEADER_RE.search(b"".join(names)):
            raise RuntimeError("invalid name of a header")
        if HEADER_VALUE_RE.search(b"".join(values)):
            raise RuntimeError("invalid value of a header")
        lines = [b"%s: %s\r\n" % header for header in headers]
        known = dict(zip(map(bytes.lower, names), values, strict=True))
        closing = b"close" in map(bytes.strip, known.get(b"connection", b"").lower().split(b","))
        if closing:
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close\r\n")
        if b"content-length" in known:
            self.chunked_encoding, self.expected_content_length = False, int(known[b"content-length"])
        elif known.get(b"transfer-encoding", b"").lower() == b"chunked":
            self.chunked_encoding = True
        elif self.scope["method"] != "HEAD" and status not in WITHOUT_BODY:
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        return b"".join([STATUS_LINE[status], *lines, b"\r\n"])

    def _part(self, body: bytes, *, more: bool) -> bytes:
        """A part of the body as it is sent. more: whether another one follows."""
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            return b""
        if self.chunked_encoding:
            part = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return part if more else part + b"0\r\n\r\n"
        if len(body) > self.expected_content_length:
            raise RuntimeError("the body of an answer is longer than its Content-Length")
        self.expected_content_length -= len(body)
        return body
