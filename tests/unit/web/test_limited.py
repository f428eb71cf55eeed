"""A server that is asked to stop says so at once, goes on accepting for a while, and finishes what it has."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPSConnection
from typing import Any

import pytest
import trustme
from structlog.testing import capture_logs
from tests.support.asgi import ask
from tests.support.services import LONG, wait_until

from flts.backends.store import memory_store
from flts.contracts.errors import StageFailed
from flts.gateway.app import create_app
from flts.web.connections import ConnectionLimits
from flts.web.limited import LimitedServer
from flts.web.security import Auth

Address = tuple[str, int]


class Slow:
    """Answers once it may; `asked` when a request is in work."""

    def __init__(self) -> None:
        self.asked, self.may = threading.Event(), threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.set()
        while scope["path"] == "/slow" and not self.may.is_set():
            await asyncio.sleep(0.01)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def running(
    app: Any, *, connections: int = 8, head: float = 60.0, **options: Any
) -> Iterator[tuple[LimitedServer, Address]]:
    server = LimitedServer(app, "tests", ConnectionLimits(connections, head, 60.0), grace=LONG, **options)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield server, listening.getsockname()
        finally:
            server._drain, server.should_exit = 0.0, True
            thread.join()


def get(connection: HTTPConnection, target: str = "/") -> tuple[int, str | None]:
    """Status, and what the answer says of the connection."""
    connection.request("GET", target)
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.getheader("connection")


def test_while_it_drains_new_and_old_connections_get_one_more_answer() -> None:
    with running(Slow(), drain=LONG) as (server, address):
        old = HTTPConnection(*address, timeout=LONG)
        assert get(old) == (200, None)
        server.check_open()
        server.handle_exit(signal.SIGTERM, None)
        assert server.stopping()
        with pytest.raises(StageFailed):
            server.check_open()
        assert get(old) == (200, "close")
        assert get(HTTPConnection(*address, timeout=LONG)) == (200, "close")
    assert refuses(address)


def test_a_request_in_hand_is_answered_after_the_listening_socket_has_closed() -> None:
    app = Slow()
    with running(app) as (server, address):
        old = HTTPConnection(*address, timeout=LONG)
        old.request("GET", "/slow")
        assert app.asked.wait(LONG)
        server.handle_exit(signal.SIGTERM, None)
        wait_until(lambda: refuses(address), "no new connection")
        app.may.set()
        answer = old.getresponse()
        assert (answer.status, answer.read(), answer.getheader("connection")) == (200, b"ok", "close")


def refuses(address: Address) -> bool:
    try:
        with socket.create_connection(address, timeout=LONG):
            return False
    except ConnectionError:
        return True


def test_a_person_who_stops_it_does_not_wait() -> None:
    with running(Slow(), drain=LONG) as (server, address):
        server.handle_exit(signal.SIGINT, None)
        wait_until(lambda: refuses(address), "no new connection")


def test_readyz_says_it_too() -> None:
    app = create_app(memory_store(), auth=Auth("127.0.0.1", None), max_object_bytes=1)
    assert ask(app, "GET", "/readyz").status == 200
    app.state.stopping = lambda: True
    answer = ask(app, "GET", "/readyz")
    assert (answer.status, answer.code) == (503, "stopping")
    assert ask(app, "GET", "/healthz").status == 200


# --- TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def context(authority: trustme.CA) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(made)
    return made


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    made = ssl.create_default_context()
    authority.configure_trust(made)
    return made


async def scheme(scope: Any, _receive: Any, send: Any) -> None:
    """Answers with the scheme of the request."""
    body = scope["scheme"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def test_it_speaks_tls_and_takes_the_newest_certificate(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    contexts = [context(authority)]
    with running(scheme, tls=lambda: contexts[-1]) as (_, address):
        seen = set()
        for _ in range(2):
            client = HTTPSConnection(*address, timeout=LONG, context=trusting)
            for _ in range(2):
                client.request("GET", "/")
                assert client.getresponse().read() == b"https"
            seen.add(client.sock.getpeercert(binary_form=True))
            client.close()
            contexts.append(context(authority))
        assert len(seen) == 2


def test_what_comes_with_the_end_of_the_handshake_is_read(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    made = context(authority)
    with running(scheme, tls=lambda: made) as (_, address), socket.create_connection(address, timeout=LONG) as raw:
        inside, outside = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = trusting.wrap_bio(inside, outside, server_hostname="127.0.0.1")
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(outside.read())
                inside.write(raw.recv(2**16))
        client.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        raw.sendall(outside.read())  # the last bytes of the handshake and the request together
        received = b""
        while b"https" not in received:
            part = raw.recv(2**16)
            assert part, received
            inside.write(part)
            with suppress(ssl.SSLWantReadError):
                while more := client.read():
                    received += more
        assert received.startswith(b"HTTP/1.1 200 ")


def test_who_does_not_shake_hands_is_ended_and_keeps_nobody_out(
    authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    made = context(authority)
    with (
        capture_logs() as logged,
        running(scheme, tls=lambda: made, connections=4, head=2.0) as (_, address),
        ExitStack() as stack,
    ):
        silent = [stack.enter_context(socket.create_connection(address, timeout=LONG)) for _ in range(20)]
        client = HTTPSConnection(*address, timeout=LONG, context=trusting)
        client.request("GET", "/")
        assert client.getresponse().read() == b"https"
        client.close()
        for connection in silent:
            with suppress(ConnectionError):
                assert connection.recv(100) == b""
        plain = stack.enter_context(socket.create_connection(address, timeout=LONG))
        plain.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        with suppress(ConnectionError):
            while plain.recv(100):
                pass
    counts: dict[str, int] = {}
    for line in logged:
        counts[line["reason"]] = counts.get(line["reason"], 0) + line["count"]
    assert counts.keys() == {"full", "no-tls"}
    assert sum(counts.values()) > len(silent)
