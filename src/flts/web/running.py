"""A server from its first connection to its last: it listens, says where, and ends when it is asked to."""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from flts.contracts import events
from flts.contracts.errors import Interrupted, UsageError

COLLECTED = (50_000, 20, 50)
"""Objects that are made and kept between two looks of the collector, and its looks between two longer ones."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one, and :: every address of both families. Raises UsageError."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        both = host == "::" and socket.has_dualstack_ipv6()
        listening = socket.create_server(address, family=family, backlog=2048, dualstack_ipv6=both)
        # inherited by its connections: else the end of an answer waits 40 ms for the client to confirm its head
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror}; name another address with --host and --port",
            code="cannot-listen",
            host=host,
            port=port,
        ) from None


def url(listening: socket.socket, tls: bool = False) -> str:
    """The address of a listening socket, as a browser takes it."""
    host, port = listening.getsockname()[:2]
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


@contextmanager
def announced(started: events.ServerStarted) -> Iterator[None]:
    """Say that a server has started, and at the end that it has stopped: the last thing that it says."""
    events.emit(started)
    try:
        yield
    finally:
        events.emit(events.ServiceStopped(service=started.service))


def serve(server: uvicorn.Server, listening: socket.socket, service: str) -> None:
    """Serve until SIGTERM, or until Ctrl-C, which raises Interrupted. Requests in hand have time to finish."""
    stopped_by: list[int] = []

    def stop(number: int, _frame: Any) -> None:
        # called before the server handles signals, and again after it has ended, when it raises them anew
        stopped_by.append(number)
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    _calm_collector()
    server.run(sockets=[listening])
    if signal.SIGINT in stopped_by:
        raise Interrupted(f"the {service} was interrupted; requests in hand had time to finish")


def _calm_collector() -> None:
    """Let the collector of garbage pass over what exists by now, and come less often: a request leaves it nothing.

    It took a tenth of the time of an answer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED)
