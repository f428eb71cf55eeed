"""A proxy before an S3 server that makes it overloaded, slow, or break off in the middle of an answer."""

from __future__ import annotations

import contextlib
import http.client
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

SLOW = 1.0
"""Delay of a slow answer in seconds."""
PIECE = 2**18
"""Bytes that a slow connection transfers between two pauses."""
OF_THE_CONNECTION = {"connection", "transfer-encoding", "content-length"}


@dataclass
class Faults:
    """How often each fault happens, drawn from its own random numbers."""

    often: Mapping[str, float] = field(default_factory=dict)
    chance: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 - no secret
    happened: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> str:
        """The fault of the next request: busy, slow, torn, silent or nothing."""
        with self._lock:
            (what,) = self.chance.choices(
                [*self.often, "nothing"], [*self.often.values(), 1 - sum(self.often.values())]
            )
            self.happened[what] += 1
            return what


@contextmanager
def faulty(endpoint: str, faults: Faults, *, bytes_per_second: float = math.inf) -> Iterator[str]:
    """URL of a proxy before this endpoint whose connections are limited to these bytes per second each way.

    busy: 503 without doing anything; slow: a late answer; torn: half of the body; silent: done without an answer.
    """
    behind = urlsplit(endpoint).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _forward(self) -> None:
            try:
                body = self._body()
            except ConnectionError:  # the client has gone: nothing to forward or answer
                self.close_connection = True
                return
            fault = faults.next()
            if fault == "busy":
                self._answer(503, {}, b"")
                return
            if fault == "slow":
                time.sleep(SLOW)
            connection = http.client.HTTPConnection(behind, timeout=60)
            try:
                # the signature covers the name under which the client knows the server
                connection.request(self.command, self.path, body, dict(self.headers.items()))
                answer = connection.getresponse()
                data = answer.read()
            except OSError:
                fault = "silent"
            finally:
                connection.close()
            if fault == "silent":
                self.close_connection = True
                return
            self._answer(answer.status, dict(answer.getheaders()), data, torn=fault == "torn")

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _forward  # noqa: N815 - the names that are looked for

        def _body(self) -> bytes:
            missing, body = int(self.headers.get("Content-Length", 0)), bytearray()
            while len(body) < missing:
                piece = self.rfile.read(min(PIECE, missing - len(body)))
                if not piece:
                    raise ConnectionError("the client has gone")
                body += piece
                time.sleep(PIECE / bytes_per_second)
            return bytes(body)

        def _answer(self, status: int, headers: Mapping[str, str], data: bytes, *, torn: bool = False) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in OF_THE_CONNECTION:
                    self.send_header(name, value)
            length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(data))
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                sent = data[: len(data) // 2] if torn else data
                with contextlib.suppress(ConnectionError):  # the client has gone
                    for start in range(0, len(sent), PIECE):
                        self.wfile.write(sent[start : start + PIECE])
                        time.sleep(PIECE / bytes_per_second)
            self.close_connection = self.close_connection or torn

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="faulty")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
