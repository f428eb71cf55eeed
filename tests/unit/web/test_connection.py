"""A client can cost a server only so much before it has shown who it is."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from typing import Any

import pytest
from fastapi import FastAPI
from tests.support.asgi import ask
from tests.support.connected import Talk

from flts.backends.store import memory_store
from flts.contracts import events
from flts.contracts.ports import PART
from flts.gateway.app import create_app
from flts.server.app import create_app as create_forecasts
from flts.server.models import ServedModels
from flts.server.service import ForecastService
from flts.web.connection import HEAD_BYTES, PIPELINED
from flts.web.connections import ConnectionLimits
from flts.web.direct import Direct
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


App = Callable[[], FastAPI]


def gateway() -> FastAPI:
    """A gateway to a store with one large object."""
    store = memory_store()
    store.replace("dataset/large", bytes(3 * PART))
    return create_app(store, auth=Auth("127.0.0.1", None), max_object_bytes=1000)


def forecasts() -> FastAPI:
    """A forecast service without a model."""
    return create_forecasts(ForecastService(ServedModels(memory_store())), auth=Auth("127.0.0.1", None))


both = pytest.mark.parametrize("app", [gateway, forecasts])


@contextmanager
def serving(
    app: App = gateway, *, connections: int = 8, head: float = 60.0, idle: float = 60.0, quiet: float = 60.0
) -> Iterator[tuple[str, int]]:
    """The address of a server."""
    server = LimitedServer(app(), "tests", ConnectionLimits(connections, head, idle, quiet), grace=1.0)
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


@both
def test_a_head_that_does_not_end_is_ended_also_when_bytes_keep_coming(app: App, log: io.StringIO) -> None:
    with serving(app, head=0.3) as address, socket.create_connection(address) as client:
        client.sendall(HALF_A_HEAD)
        started = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() - started < 10:
                client.sendall(b"x")
                time.sleep(0.02)
        assert time.monotonic() - started < 5
    assert troubles(log) == [("slow-head", 1)]


@both
def test_the_second_head_of_a_connection_has_no_more_time_than_the_first(app: App) -> None:
    with serving(app, head=0.3) as address, socket.create_connection(address) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        client.sendall(HALF_A_HEAD)
        assert ended(client)


@both
def test_a_connection_stays_open_after_an_answer_for_longer_than_a_head_may_take(app: App, log: io.StringIO) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with serving(app, head=0.1, quiet=0.6) as address, socket.create_connection(address) as client:
        for _ in range(2):
            client.sendall(request)
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
            time.sleep(0.3)
        assert ended(client)
    assert troubles(log) == []


class Full(Direct):
    """An application that refuses every request by its head alone."""

    def __init__(self) -> None:
        super().__init__(layers=())

    def refusal(self, target: bytes, method: bytes, headers: Any, common: Any) -> bytes:
        return b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"

    def remember(self, data: bytes, target: bytes, headers: Any) -> None:
        """Each head is read."""


def test_an_answer_that_comes_before_the_body_leaves_a_connection_open_for_as_long(log: io.StringIO) -> None:
    with serving(Full, head=0.1, idle=0.1, quiet=0.6) as address, socket.create_connection(address) as client:
        for _ in range(2):
            client.sendall(POST + b"Content-Length: 1\r\n\r\nx")
            assert client.recv(1000).startswith(b"HTTP/1.1 429")
            time.sleep(0.3)
        assert ended(client)
    assert troubles(log) == []


@both
def test_probes_are_answered_however_many_half_sent_heads_there_are(app: App, log: io.StringIO) -> None:
    with serving(app, connections=8) as address, ExitStack() as stack:
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


@both
def test_an_answer_that_nobody_takes_does_not_keep_its_connection(app: App) -> None:
    with serving(app, connections=2, idle=0.3, head=0.3) as address, socket.socket() as client:
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
        (["X-Request-Timeout: 1", "X-Request-Timeout: 300"], "header-repeated"),
        (["Origin: http://127.0.0.1", "Origin: http://elsewhere"], "header-repeated"),
        (["Content-Type: text/csv", "Content-Type: application/json"], "header-repeated"),
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


POST = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
FOLLOWING = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@both
@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (
            POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            400,
            "length-ambiguous",
        ),
        (
            POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            400,
            "length-ambiguous",
        ),
        (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400, "length-ambiguous"),
        (POST + b"Content-Length: 3, 3\r\n\r\nabc", 400, "request-unreadable"),
        (POST + b"Content-Length: +3\r\n\r\nabc", 400, "request-unreadable"),
        (POST + b"Content-Length : 3\r\n\r\nabc", 400, "request-unreadable"),
        (POST + b"Transfer-Encoding: xchunked\r\n\r\n", 400, "request-unreadable"),
        (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n", 400, "request-unreadable"),
        (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n", 400, "request-unreadable"),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "transfer-encoding-unknown"),
        (CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n", 400, "length-ambiguous"),
        (POST + b"X-A: b\r\n c\r\n\r\n", 400, "request-unreadable"),
        (POST + b"X-A: b\rc\r\n\r\n", 400, "request-unreadable"),
        (POST + b"X-A: b\x00c\r\n\r\n", 400, "request-unreadable"),
        (POST + b"X A: b\r\n\r\n", 400, "request-unreadable"),
        (POST.replace(b"\r\n", b"\n") + b"\n", 400, "request-unreadable"),
        (POST + b"Host: b\r\n\r\n", 400, "header-repeated"),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400, "host-missing"),
        (b"GET /healthz\r\n\r\n", 505, "http-version"),
        (b"GET /healthz HTTP/1.2\r\nHost: a\r\n\r\n", 400, "request-unreadable"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "request-unreadable"),
        (b"GET /he althz HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request-unreadable"),
        (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request-unreadable"),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request-unreadable"),
        (b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request-unreadable"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * HEAD_BYTES + b"\r\n\r\n", 431, "head-too-large"),
        (b"GET /" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431, "head-too-large"),
    ],
)
def test_a_head_that_smuggles_or_grows_is_refused_and_nothing_after_it_is_read(
    app: App, sent: bytes, status: int, code: str
) -> None:
    with serving(app) as address, socket.create_connection(address) as client:
        with suppress(ConnectionError):
            client.sendall(sent + FOLLOWING)
        answer = everything(client)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"\r\nconnection: close\r\n" in answer.lower()
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == code


@both
@pytest.mark.parametrize("more", [b"X-A: " + b"a" * 2 * HEAD_BYTES, b"X: a\r\n" * HEAD_BYTES, b"X-" + b"a" * 2**20])
def test_a_head_that_goes_on_and_on_ends_its_connection(app: App, more: bytes, log: io.StringIO) -> None:
    with serving(app) as address, socket.create_connection(address) as client:
        with suppress(ConnectionError):
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + more)
        assert ended(client)
    assert troubles(log) == [("invalid", 1)]


@both
@pytest.mark.parametrize(
    "body",
    [
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabcXX0\r\n\r\n",
        b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        b"3;" + b"a" * 2 * HEAD_BYTES,
    ],
)
def test_a_chunk_that_can_be_read_in_two_ways_ends_the_connection(app: App, body: bytes) -> None:
    with serving(app) as address, socket.create_connection(address) as client:
        with suppress(ConnectionError):
            client.sendall(CHUNKED + body + FOLLOWING)
        answer = everything(client)
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert not answer.startswith(b"HTTP/1.1 2")


@both
def test_trailers_are_no_headers_and_may_not_grow(app: App) -> None:
    """A token that comes after the body is one that nobody looked at when the request was accepted."""
    trailed = CHUNKED + b"3\r\nabc\r\n0\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\r\n"
    with serving(app) as address:
        with socket.create_connection(address) as client:
            client.sendall(trailed + FOLLOWING.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert everything(client).count(b"HTTP/1.1 ") == 2
        with socket.create_connection(address) as client:
            with suppress(ConnectionError):
                client.sendall(CHUNKED + b"0\r\n" + b"X: a\r\n" * HEAD_BYTES)
            assert ended(client)


@both
def test_requests_sent_ahead_are_answered_in_order_and_not_without_end(app: App) -> None:
    with serving(app) as address:
        with socket.create_connection(address) as client:
            client.sendall(FOLLOWING * 20 + FOLLOWING.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert everything(client).count(b"HTTP/1.1 200 ") == 21
        with socket.create_connection(address) as client:
            client.sendall(FOLLOWING * 3 * PIPELINED)
            answers = everything(client).count(b"HTTP/1.1 200 ")
    assert 1 <= answers <= PIPELINED + 1


@both
def test_what_came_before_a_broken_request_is_answered(app: App, log: io.StringIO) -> None:
    with serving(app) as address, socket.create_connection(address) as client:
        client.sendall(FOLLOWING + b"nonsense\r\n\r\n" + FOLLOWING)
        answer = everything(client)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert troubles(log) == [("invalid", 1)]


@both
@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
def test_no_other_protocol_is_spoken(app: App, protocol: bytes) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n" % protocol
    with serving(app) as address, socket.create_connection(address) as client:
        client.sendall(head + FOLLOWING)
        answer = everything(client)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"\r\nconnection: close\r\n" in answer


@both
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("at_once", [True, False])
def test_the_body_of_a_request_that_offers_another_protocol_is_read(app: App, chunked: bool, at_once: bool) -> None:
    """As of the HTTP client of Java, which offers h2c by default."""
    target = b"/objects/dataset/offered" if app is gateway else b"/predict"
    offers = b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAA\r\n"
    length = b"Transfer-Encoding: chunked\r\n" if chunked else b"Content-Length: 2\r\n"
    method, body = b"PUT" if app is gateway else b"POST", b"2\r\n[]\r\n0\r\n\r\n" if chunked else b"[]"
    head = b"%b %b HTTP/1.1\r\nHost: 127.0.0.1\r\n%b%b\r\n" % (method, target, length, offers)
    with serving(app) as address, socket.create_connection(address) as client:
        for packet in [head + body + FOLLOWING] if at_once else [head[:-20], head[-20:], body + FOLLOWING]:
            client.sendall(packet)
            time.sleep(0.05)
        answer = everything(client)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"\r\nconnection: close\r\n" in answer
        if app is forecasts:
            assert b"body-invalid" in answer
            return
        assert answer.startswith(b"HTTP/1.1 201 ")
        with socket.create_connection(address) as reader:
            reader.sendall(b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n" % target)
            assert everything(reader).endswith(b"\r\n\r\n[]")


@both
def test_a_refused_body_that_waits_for_permission_is_not_read_as_a_request(app: App) -> None:
    head = POST.replace(b"127.0.0.1", b"evil.example") + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n"
    with serving(app) as address, socket.create_connection(address) as client:
        client.sendall(head % len(FOLLOWING) + FOLLOWING)
        answer = everything(client)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 4")


@both
def test_other_origins_get_no_permission(app: App) -> None:
    for target in ("/healthz", "/openapi.json", "/metrics"):
        asked = ask(app(), "OPTIONS", target, {"Origin": "http://a", "Access-Control-Request-Method": "POST"})
        assert asked.status == 405
        shown = ask(app(), "GET", target, {"Origin": "http://a"})
        assert not any(name.startswith("access-control") for answer in (asked, shown) for name in answer.headers)


@pytest.mark.parametrize("sent", [FOLLOWING, POST + b"Content-Length: 3\r\n\r\na", HALF_A_HEAD])
def test_a_connection_that_has_ended_is_freed_without_the_collector(sent: bytes) -> None:
    async def test() -> None:
        talk = Talk(forecasts())
        ended = weakref.ref(talk.connection)
        talk.send(sent)
        await asyncio.sleep(0.0)
        talk.connection.connection_lost(None)
        while talk.tasks:
            await asyncio.sleep(0.0)
        del talk
        await asyncio.sleep(0.0)
        assert ended() is None

    gc.disable()
    try:
        asyncio.run(test())
    finally:
        gc.enable()
