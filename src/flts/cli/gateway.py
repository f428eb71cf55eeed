"""`flts gateway`: the object store over HTTP."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flts.cli.options import Home, logged

if TYPE_CHECKING:
    from flts.gateway.connections import LimitedServer
    from flts.settings import Settings


def gateway(
    host: Annotated[str | None, typer.Option(help="Address to listen on. [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one. [8080]")] = None,
    token_file: Annotated[Path | None, typer.Option(help="File with the bearer token on one line.")] = None,
    home: Home = None,
) -> None:
    """Put, get and list objects over HTTP until SIGTERM or Ctrl-C."""
    import importlib.util

    from flts.contracts import events
    from flts.contracts.errors import MissingExtra
    from flts.version import __version__

    if any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn", "prometheus_client")):
        raise MissingExtra("flts gateway", "serve")
    chosen = logged(terminal="text", home=home, host=host, gateway_port=port, token_file=token_file)
    server = _server(chosen)
    with _listen(chosen.host, chosen.gateway_port) as listening:
        events.emit(
            events.ServerStarted(
                service="gateway",
                version=__version__,
                address=_url(listening),
                token_needed=chosen.bearer_token() is not None,
            )
        )
        _serve(server, listening)


def _server(chosen: Settings) -> LimitedServer:
    """The server, not started. Raises UsageError for an address that needs a token and has none."""
    from flts.gateway.app import create_app
    from flts.gateway.connections import ConnectionLimits, LimitedServer, affordable
    from flts.gateway.security import Auth
    from flts.home import open_home
    from flts.wiring import open_store

    auth = Auth(chosen.host, chosen.bearer_token())
    if not chosen.store:
        open_home(chosen.home)
    app = create_app(
        open_store(chosen.store_url),
        auth=auth,
        max_object_bytes=chosen.max_object_bytes,
        max_bytes_in_flight=chosen.max_bytes_in_flight,
    )
    return LimitedServer(app, "gateway", ConnectionLimits(affordable(chosen.max_connections)), chosen.grace)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises UsageError."""
    from flts.contracts.errors import UsageError

    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror}; name another address with --host and --port",
            code="cannot-listen",
            host=host,
            port=port,
        ) from None


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _serve(server: LimitedServer, listening: socket.socket) -> None:
    """Serve until SIGTERM, or until Ctrl-C, which raises Interrupted."""
    from flts.contracts import events
    from flts.contracts.errors import Interrupted

    stopped_by: list[int] = []

    def stop(number: int, _frame: Any) -> None:
        # called before the server handles signals, and again after it has ended, when it raises them anew
        stopped_by.append(number)
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    server.run(sockets=[listening])
    events.emit(events.ServiceStopped(service="gateway"))
    if signal.SIGINT in stopped_by:
        raise Interrupted("the gateway was interrupted; requests in hand had time to finish")
