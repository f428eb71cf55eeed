"""A load generator for one HTTP server: requests in a closed loop, or on a schedule that does not wait for answers.

One thread and one epoll for all connections, each with at most one request in work. Latency counts from the time at
which a request is due: a request for which no connection is free is late, and the wait is part of its latency.
"""

from __future__ import annotations

import gc
import random
import select
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

PATIENCE = 30.0
"""Seconds that the last answers may take."""
SEED = 13
QUIET = 1.0
"""Seconds without a request after which a server may be closing a connection while the next request is on its way."""


@dataclass
class Load:
    """What came back. ended and latency: seconds, of each answer in the order in which they came; status beside them.

    seconds: that requests were sent for; cpu: seconds of CPU that the generator took; bodies: where they were kept;
    waited: requests that were due while no connection was free; resent: requests that met the end of a connection which
    had been quiet, and were sent again on another one, as HTTP wants it of a client (RFC 9112, section 9.3.1).
    """

    seconds: float
    cpu: float = 0.0
    ended: list[float] = field(default_factory=list)
    latency: list[float] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    unanswered: int = 0
    waited: int = 0
    resent: int = 0

    @property
    def crowded(self) -> float:
        """Share of the requests that were due while no connection was free."""
        return self.waited / max(len(self.status), 1)

    def counts(self) -> Counter[int]:
        """Answers by status."""
        return Counter(self.status)

    def of(self, status: int = 200) -> NDArray[np.float64]:
        """Latencies of the answers with a status."""
        return np.array([late for late, found in zip(self.latency, self.status, strict=True) if found == status])

    def rate(self, status: int = 200) -> float:
        """Answers with a status in a second."""
        return self.counts()[status] / self.seconds

    @property
    def ceiling(self) -> float:
        """Requests in a second that the generator could send with a whole core."""
        return len(self.status) / max(self.cpu, 1e-9)


def percentile(latencies: NDArray[np.float64], share: float) -> float:
    """In milliseconds; NaN where there are none."""
    return float(np.quantile(latencies, share)) * 1000 if len(latencies) else float("nan")


def post(path: str, body: bytes, host: str = "127.0.0.1") -> bytes:
    """The bytes of a request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def closed(url: str, request: bytes, connections: int, seconds: float) -> Load:
    """Each connection sends its next request when it has the answer to the one before."""
    return _Generator(url, request, connections).run(seconds, None)


def scheduled(
    url: str,
    request: bytes,
    rate: float,
    seconds: float,
    connections: int = 256,
    *,
    keep: bool = False,
    watch: Callable[[float], None] = lambda elapsed: None,
) -> Load:
    """Requests at random moments, `rate` in a second on average (a Poisson process), whatever the answers do.

    keep: keep the bodies of answers; watch: called about every 50 ms with the seconds since the start.
    """
    return _Generator(url, request, connections, keep=keep, watch=watch).run(seconds, rate)


class _Connection:
    """due: of the request in work; received: what came of its answer; free: since when it has none; quiet: how long."""

    __slots__ = ("due", "free", "quiet", "received", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.due, self.received = sock, 0.0, b""
        self.free, self.quiet = time.perf_counter(), 0.0


class _Generator:
    def __init__(
        self,
        url: str,
        request: bytes,
        connections: int,
        *,
        keep: bool = False,
        watch: Callable[[float], None] = lambda elapsed: None,
    ) -> None:
        parts = urlsplit(url)
        self._address, self._request, self._keep, self._watch = (parts.hostname, parts.port), request, keep, watch
        self._epoll = select.epoll()
        self._free: list[_Connection] = []
        self._all: dict[int, _Connection] = {}
        self._most, self._working = connections, 0
        self._dues = deque[float]()
        for _ in range(connections):
            self._open()

    def run(self, seconds: float, rate: float | None) -> Load:
        load = Load(seconds)
        gc.collect()
        gc.disable()
        spent, start = time.process_time(), time.perf_counter()
        try:
            self._run(load, start, start + seconds, rate)
        finally:
            gc.enable()
            load.cpu = time.process_time() - spent
            for connection in self._all.values():
                connection.sock.close()
            self._epoll.close()
        return load

    def _run(self, load: Load, start: float, end: float, rate: float | None) -> None:
        clock, dues = time.perf_counter, self._dues
        schedule = _poisson(start, rate) if rate is not None else iter(())
        next_due, watched = next(schedule, end), start
        while True:
            now = clock()
            while next_due <= now and next_due < end:
                dues.append(next_due)
                next_due = next(schedule, end)
                load.waited += len(dues) > len(self._free) + self._most - len(self._all)
            while dues and (connection := self._take()):
                self._send(connection, dues.popleft())
            if rate is None and now < end:
                while connection := self._take():
                    self._send(connection, now)
            if now >= end and (not (self._working or dues) or now > end + PATIENCE):
                load.unanswered = self._working + len(dues)
                return
            if now - watched > 0.05:
                watched = now
                self._watch(now - start)
            wait = 0.05 if rate is None else max(min(next_due - now, 0.05), 0.0)
            for number, _ in self._epoll.poll(wait if now < end else 0.05):
                self._receive(self._all[number], load, start)

    def _take(self) -> _Connection | None:
        """A connection without a request, of which one that has ended is opened again only now; None where all work."""
        if not self._free and len(self._all) < self._most:
            self._open()
        return self._free.pop() if self._free else None

    def _open(self) -> None:
        sock = socket.create_connection(self._address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        connection = self._all[sock.fileno()] = _Connection(sock)
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        self._free.append(connection)

    def _send(self, connection: _Connection, due: float) -> None:
        connection.due, connection.received = due, b""
        connection.quiet = time.perf_counter() - connection.free
        self._working += 1
        with suppress(OSError):  # of a connection that the server has closed, the end is read next
            connection.sock.send(self._request)

    def _receive(self, connection: _Connection, load: Load, start: float) -> None:
        try:
            data = connection.sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._close(connection)
            if connection.due and not connection.received and connection.quiet > QUIET:
                load.resent += 1
                self._working -= 1
                self._dues.appendleft(connection.due)
            else:
                self._ended(connection, load, 0, start, b"")
            return
        received = connection.received = connection.received + data
        head = received.find(b"\r\n\r\n")
        if head < 0:
            return
        at = received.lower().find(b"content-length: ", 0, head)
        length = int(received[at + 16 : received.find(b"\r\n", at)]) if at >= 0 else 0
        if len(received) < head + 4 + length:
            return
        self._ended(connection, load, int(received[9:12]), start, received[head + 4 :])
        connection.free = time.perf_counter()
        self._free.append(connection)

    def _close(self, connection: _Connection) -> None:
        self._epoll.unregister(connection.sock.fileno())
        del self._all[connection.sock.fileno()]
        connection.sock.close()
        if connection in self._free:
            self._free.remove(connection)

    def _ended(self, connection: _Connection, load: Load, status: int, start: float, body: bytes) -> None:
        if not connection.due:
            return
        now = time.perf_counter()
        load.ended.append(now - start)
        load.latency.append(now - connection.due)
        load.status.append(status)
        if self._keep:
            load.bodies.append(body)
        connection.due = 0.0
        self._working -= 1


def _poisson(start: float, rate: float) -> Iterator[float]:
    draw, due = random.Random(SEED), start  # noqa: S311 - no secret
    while True:
        due += draw.expovariate(rate)
        yield due
