"""The server of the gateway and of the forecast service: it keeps its limits, and leaves without losing a request."""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from socket import socket
from types import FrameType
from typing import Any, cast

import uvicorn
from fastapi import Depends, Request
from starlette.types import ASGIApp

from flts.contracts.errors import StageFailed
from flts.web.connection import Connection
from flts.web.connections import ConnectionLimits, Connections
from flts.web.direct import Direct
from flts.web.handshake import Handshake
from flts.web.lag import Lag
from flts.web.problem import Problem
from flts.web.pulse import Pulse
from flts.web.shortcuts import NoShortcuts

FEWEST_ACCEPTED = 8
"""Connections accepted in one turn of the event loop, before the limit is looked at; a quarter of the limit if more."""
BEAT = 0.1
"""Seconds between two looks at whether a server that drains shall end at once."""


class LimitedServer(uvicorn.Server):
    """A server that keeps its limits, and logs as JSON what the event loop would write as text.

    grace: seconds that requests in hand have after SIGTERM; drain: seconds before, in which it still accepts
    connections; tls: the context of the next handshake, where it speaks TLS.
    """

    def __init__(
        self,
        app: ASGIApp,
        service: str,
        limits: ConnectionLimits,
        grace: float,
        drain: float = 0.0,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._among = Connections(service, limits)
        self._drain, self.tls = drain, tls is not None
        self.pulse, self.lag = Pulse(), Lag()
        shortcuts = app if isinstance(app, Direct) else NoShortcuts()
        plain: Callable[..., asyncio.Protocol] = partial(Connection, among=self._among, shortcuts=shortcuts)
        connection = plain if tls is None else partial(Handshake, plain, tls, self._among)
        super().__init__(
            uvicorn.Config(
                app,
                # the type of the parameter knows classes only, but it is called like a function
                http=cast("Any", connection),
                ws="none",
                lifespan="off",
                access_log=False,  # the app logs each request with its outcome itself
                log_config=None,
                log_level="critical",
                backlog=max(FEWEST_ACCEPTED, limits.connections // 4),
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=round(grace),
            )
        )

    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self.should_exit

    def check_open(self) -> None:
        """Raise StageFailed when it was asked to stop."""
        if self.should_exit:
            raise StageFailed("the server was asked to stop", code="stopping")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGINT:  # a person waits
            self._drain = 0.0
        self._among.draining = True
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket] | None = None) -> None:
        loop = self.pulse.loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._failed)
        self.lag.start()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        self._among.draining = True
        loop = asyncio.get_running_loop()
        end = loop.time() + self._drain
        while self._drain and loop.time() < end and not self.force_exit:
            await asyncio.sleep(BEAT)
        await super().shutdown(sockets)
        self.lag.close()
        self._among.trouble.log_rest()

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self._among.trouble.note(f"{context['message']}: {type(error).__name__}" if error else context["message"])


def _refuse_when_stopping(request: Request) -> None:
    stopping: Callable[[], bool] | None = getattr(request.app.state, "stopping", None)
    if stopping is not None and stopping():
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "this server was asked to stop", code="stopping")


OPEN = Depends(_refuse_when_stopping)
"""A dependency of /readyz: 503 once the server was asked to stop, which `app.state.stopping` tells where it is set."""
