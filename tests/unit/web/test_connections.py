"""A client can cost a server only so much before it has shown who it is."""

from __future__ import annotations

import io
import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from typing import Any

import pytest

from flts.backends.store import memory_store
from flts.contracts import events
from flts.contracts.ports import PART
from flts.gateway.app import create_app
from flts.web.connections import OWN_DESCRIPTORS, ConnectionLimits, TroubleLog, affordable
from flts.web.limited import LimitedServer
from flts.web.security import Auth

HALF_A_HEAD = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the server logs."""
    stream = io.StringIO()
    events.configure("json", stream)
    yield stream
    events.configure("off")


def troubles(log: io.StringIO) -> list[tuple[str, int]]:
    """Reason and count of every line about connections."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.getvalue().splitlines()]
    return [(line["reason"], line["count"]) for line in lines if line["event"] == "connection_trouble"]


@contextmanager
def serving(*, connections: int = 8, head: float = 60.0, idle: float = 60.0) -> Iterator[tuple[str, int]]:
    """The address of a gateway to a store with one large object."""
    store = memory_store()
    store.replace("dataset/large", bytes(3 * PART))
    app = create_app(store, auth=Auth("127.0.0.1", None), max_object_bytes=1000)
    server = LimitedServer(app, "gateway", ConnectionLimits(connections, head, idle), grace=1.0)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield listening.getsockname()
        finally:
            server.should_exit = True
            thread.join()


def ended(client: socket.socket, within: float = 10.0) -> bool:
    """Whether the server ends a connection, whatever it sends before."""
    client.settimeout(within)
    try:
        while client.recv(2**20):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def everything(client: socket.socket) -> bytes:
    """All that a server sends until it closes the connection."""
    client.settimeout(10)
    received = b""
    while part := client.recv(2**16):
        received += part
    return received


def status(address: tuple[str, int], target: str = "/healthz") -> int:
    """The status of one request on its own connection."""
    connection = HTTPConnection(*address, timeout=10)
    try:
        connection.request("GET", target)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_head_that_does_not_end_is_ended_also_when_bytes_keep_coming(log: io.StringIO) -> None:
    with serving(head=0.3) as address, socket.create_connection(address) as client:
        client.sendall(HALF_A_HEAD)
        started = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() - started < 10:
                client.sendall(b"x")
                time.sleep(0.02)
        assert time.monotonic() - started < 5
    assert troubles(log) == [("slow-head", 1)]


def test_the_second_head_of_a_connection_has_no_more_time_than_the_first() -> None:
    with serving(head=0.3) as address, socket.create_connection(address) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        client.sendall(HALF_A_HEAD)
        assert ended(client)


def test_probes_are_answered_however_many_half_sent_heads_there_are(log: io.StringIO) -> None:
    with serving(connections=8) as address, ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(socket.create_connection(address)).sendall(HALF_A_HEAD)
        assert [status(address) for _ in range(5)] == [200] * 5
    reasons, counts = zip(*troubles(log), strict=True)
    assert set(reasons) == {"full"}
    assert len(counts) <= 2, "one line at once, one at the end"
    assert sum(counts) >= 32


def test_when_every_connection_has_a_request_in_work_a_new_one_is_told_to_come_back(log: io.StringIO) -> None:
    head = b"PUT /objects/dataset/x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\nx"
    with serving(connections=3) as address, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(address)).sendall(head)
        time.sleep(0.3)
        refused = stack.enter_context(socket.create_connection(address))
        answer = refused.recv(1000)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 5\r\n" in answer
    assert troubles(log) == [("full", 1)]


def test_a_reader_that_does_not_read_is_ended(log: io.StringIO) -> None:
    with serving(idle=0.5) as address, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(address)
        client.sendall(b"GET /objects/dataset/large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        deadline = time.monotonic() + 10
        while not troubles(log) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert ended(client)
    assert troubles(log) == [("slow-reader", 1)]


def test_a_slow_reader_gets_everything_while_it_reads() -> None:
    with serving(idle=1.0) as address, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        client.connect(address)
        client.sendall(b"GET /objects/dataset/large HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        received, started = 0, time.monotonic()
        while part := client.recv(2**18):
            received += len(part)
            time.sleep(0.02)
        assert received > 3 * PART
        assert time.monotonic() - started > 1.0, "longer than the time for one slice"


def test_an_answer_that_nobody_takes_does_not_keep_its_connection() -> None:
    with serving(connections=2, idle=0.3, head=0.3) as address, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(address)
        request = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        client.settimeout(1.0)
        with suppress(TimeoutError, ConnectionError):
            for _ in range(100_000):
                client.sendall(request)
        time.sleep(1.0)
        assert ended(client)


@pytest.mark.parametrize(
    "head",
    [
        b"nonsense\r\n\r\n",
        b"PUT /objects/dataset/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_is_counted_and_ended(head: bytes, log: io.StringIO) -> None:
    with serving() as address:
        for _ in range(3):
            with socket.create_connection(address) as client:
                client.sendall(head)
                assert ended(client)
    reasons, counts = zip(*troubles(log), strict=True)
    assert set(reasons) == {"invalid"}
    assert counts == (1, 2), "the first at once, the others together"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        (["X-Content-SHA256: " + "0" * 64] * 2, "header-repeated"),
        (['If-None-Match: "a"', "If-None-Match: *"], "header-repeated"),
        (["If-Match: *", 'If-Match: "a"'], "header-repeated"),
        (["Authorization: Bearer a", "authorization: Bearer b"], "header-repeated"),
        (["Range: bytes=0-1", "Range: bytes=1-2"], "header-repeated"),
        (["Content-Length: 3", "Transfer-Encoding: chunked"], "length-ambiguous"),
    ],
)
def test_a_request_that_can_be_read_in_two_ways_is_refused_and_its_connection_ends(
    headers: list[str], code: str
) -> None:
    following = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with serving() as address:
        for target in ("/objects/dataset/x", "/healthz", "/nowhere"):
            lines = [f"PUT {target} HTTP/1.1", "Host: 127.0.0.1", *headers, "", "3\r\nabc\r\n0\r\n\r\n"]
            with socket.create_connection(address) as client:
                client.sendall("\r\n".join(lines).encode() + following)
                answer = everything(client)
            assert answer.startswith(b"HTTP/1.1 400 "), target
            assert answer.count(b"HTTP/1.1 ") == 1, "what follows is not read as a request"
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == code


def test_trouble_is_logged_at_once_and_then_its_count(log: io.StringIO) -> None:
    import asyncio

    async def scene() -> None:
        trouble = TroubleLog("gateway", 3, seconds=0.2)
        for _ in range(100):
            trouble.note("full")
        trouble.note("invalid")
        await asyncio.sleep(0.3)
        trouble.note("full")
        trouble.log_rest()

    asyncio.run(scene())
    assert troubles(log) == [("full", 1), ("invalid", 1), ("full", 99), ("full", 1)]


def test_connections_are_as_many_as_files_may_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [64, 128]
    monkeypatch.setattr(resource, "getrlimit", lambda _which: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _which, pair: limits.__setitem__(slice(None), list(pair)))
    assert affordable(1000) == (128 - OWN_DESCRIPTORS) // 2
    assert limits == [128, 128], "the limit is raised as far as it may be"
    assert affordable(5) == 5
    limits[:] = [10, 10]
    assert affordable(1000) == 1
    limits[:] = [resource.RLIM_INFINITY, resource.RLIM_INFINITY]
    assert affordable(1000) == 1000
