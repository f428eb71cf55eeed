"""`flts serve`: forecasts of the promoted models over HTTP."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from flts.cli.options import Home, logged


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one. [8000]")] = None,
    token_file: Annotated[Path | None, typer.Option(help="File with the bearer token on one line.")] = None,
    home: Home = None,
) -> None:
    """Answer forecasts of the promoted models over HTTP until SIGTERM or Ctrl-C."""
    import importlib.util

    from flts.contracts import events
    from flts.contracts.errors import MissingExtra
    from flts.version import __version__

    if any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn", "prometheus_client")):
        raise MissingExtra("flts serve", "serve")
    from flts.server.app import SERVICE, create_app
    from flts.server.following import Following
    from flts.server.models import Models
    from flts.server.service import Service
    from flts.web import running
    from flts.web.connections import ConnectionLimits, LimitedServer, affordable
    from flts.web.security import Auth
    from flts.wiring import existing_store

    chosen = logged(terminal="text", home=home, host=host, serve_port=port, token_file=token_file)
    auth = Auth(chosen.host, chosen.bearer_token())
    models = Models(existing_store(chosen), chosen.serve_scopes)
    app = create_app(Service(models), auth=auth)
    server = LimitedServer(app, SERVICE, ConnectionLimits(affordable(chosen.max_connections)), chosen.grace)
    with (
        running.listen(chosen.host, chosen.serve_port) as listening,
        closing(Following(models, chosen.poll_seconds)) as following,
    ):
        following.start()
        events.emit(
            events.ServerStarted(
                service=SERVICE,
                version=__version__,
                address=running.url(listening),
                token_needed=chosen.bearer_token() is not None,
            )
        )
        with closing(following):
            running.serve(server, listening, SERVICE)
