"""`flts gateway`: the object store over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flts.cli.door import auth_of, server_of
from flts.cli.options import Home, LogFormat, logged

if TYPE_CHECKING:
    from flts.settings import Settings
    from flts.web.limited import LimitedServer
    from flts.web.security import Auth


def gateway(
    host: Annotated[str | None, typer.Option(help="Address to listen on. [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one. [8080]")] = None,
    token_file: Annotated[Path | None, typer.Option(help="File with the bearer token on one line.")] = None,
    log_format: LogFormat = None,
    home: Home = None,
) -> None:
    """Put, get and list objects over HTTP until SIGTERM or Ctrl-C."""
    import importlib.util

    from flts.contracts import events
    from flts.contracts.errors import MissingExtra
    from flts.version import __version__

    if any(importlib.util.find_spec(name) is None for name in ("fastapi", "httptools", "uvicorn", "prometheus_client")):
        raise MissingExtra("flts gateway", "serve")
    from flts.web import running

    chosen = logged(service=True, log_format=log_format, home=home, host=host, gateway_port=port, token_file=token_file)
    auth = auth_of(chosen, "gateway")
    server = _server(chosen, auth)
    with running.listen(chosen.host, chosen.gateway_port) as listening:
        address = running.url(listening, server.tls)
        started = events.ServerStarted(
            service="gateway", version=__version__, address=address, token_needed=auth.needed
        )
        with running.announced(started):
            running.serve(server, listening, "gateway")


def _server(chosen: Settings, auth: Auth) -> LimitedServer:
    """The server, not started."""
    from flts.gateway.app import create_app
    from flts.home import open_home
    from flts.wiring import open_store

    if not chosen.store:
        open_home(chosen.home)
    app = create_app(
        open_store(chosen.store_url),
        auth=auth,
        max_object_bytes=chosen.max_object_bytes,
        max_bytes_in_flight=chosen.max_bytes_in_flight,
    )
    return server_of(app, chosen, "gateway")
