"""The load generator tells a request that was lost from one that met the end of a connection that had been quiet."""

from __future__ import annotations

import math
import socketserver
import threading
from collections.abc import Iterator

import pytest
from tests.bench import load


class EverySecondIsLost(socketserver.StreamRequestHandler):
    """Answers the first request of a connection, and closes it when the second one is there."""

    def handle(self) -> None:
        """Serve one connection."""
        for answer in (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""):
            while self.rfile.readline().strip():
                continue
            self.wfile.write(answer)


@pytest.fixture
def url() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), EverySecondIsLost) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_request_that_a_busy_connection_loses_is_an_error(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "QUIET", math.inf)
    found = load.closed(url, b"GET / HTTP/1.1\r\n\r\n", 2, 0.5)
    assert found.counts()[0] > 0
    assert (found.resent, found.unanswered) == (0, 0)


def test_a_request_that_meets_the_end_of_a_quiet_connection_is_sent_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "QUIET", 0.0)
    found = load.scheduled(url, b"GET / HTTP/1.1\r\n\r\n", 200.0, 0.2, 2)
    assert set(found.counts()) == {200}
    assert found.resent > 0
    assert found.unanswered == 0
