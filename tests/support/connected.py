"""A connection of the server without a socket."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import ASGIApp
from uvicorn.server import ServerState

from flts.web.connections import ConnectionLimits
from flts.web.limited import LimitedServer


class Written(asyncio.Transport):
    """What the server sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent, self.closed = asyncio.Queue[bytes](), False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is buffered."""

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        """Whoever writes to the connection decides."""

    def resume_reading(self) -> None:
        """As above."""

    def write(self, data: Any) -> None:
        self.sent.put_nowait(bytes(data))


class Talk:
    """A connection to an app; tasks: those of its requests. Made on a running event loop."""

    def __init__(self, app: ASGIApp) -> None:
        config = LimitedServer(app, "tests", ConnectionLimits(1), 1.0).config
        config.load()
        state = ServerState()
        self.tasks, self.transport = state.tasks, Written()
        self.connection: Any = config.http_protocol_class(config=config, server_state=state, app_state={})  # type: ignore[call-arg]
        self.connection.connection_made(self.transport)

    def send(self, *packets: bytes) -> None:
        """Let the connection read these packets."""
        for packet in packets:
            self.connection.data_received(packet)

    async def answer(self) -> bytes:
        """The next packet of the server, which holds a whole answer where that is small."""
        return await self.transport.sent.get()


def post(target: str, body: bytes, *headers: str) -> bytes:
    """The bytes of a request."""
    lines = [f"POST {target} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
