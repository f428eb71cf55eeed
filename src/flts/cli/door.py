"""What `flts gateway` and `flts serve` make of the settings about who may connect."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from flts.settings import Settings
    from flts.web.limited import LimitedServer
    from flts.web.security import Auth


def auth_of(chosen: Settings, service: str) -> Auth:
    """Who may send requests. Raises UsageError for an address that needs a token and has none, or a broken file."""
    from functools import partial

    from flts.web.kept import Kept
    from flts.web.security import Auth
    from flts.web.tokens import read_tokens

    file = chosen.tokens_file
    tokens = None if file is None else Kept(service, [file], partial(read_tokens, file))
    return Auth(chosen.host, chosen.bearer_token(), tokens, chosen.rate_per_token)


def server_of(app: FastAPI, chosen: Settings, service: str) -> LimitedServer:
    """The server of an app, not started. Raises UsageError for a certificate that cannot be used."""
    from flts.web.connections import ConnectionLimits, affordable
    from flts.web.limited import LimitedServer
    from flts.web.tls import kept_context

    limits = ConnectionLimits(affordable(chosen.max_connections))
    tls = kept_context(service, chosen.tls_certificate_file, chosen.tls_key_file)
    server = LimitedServer(app, service, limits, chosen.grace, chosen.drain_seconds, tls)
    app.state.stopping = server.stopping
    return server
