"""The TLS handshake of a connection, which counts among the connections from its first byte, and has limited time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

from flts.web.connections import Connections


class Handshake(asyncio.Protocol):
    """A new connection, until its handshake is done; then the protocol that `connected` makes goes on with it.

    tls: the context, which may be another one for every connection; options: those of the protocol.
    """

    transport: asyncio.Transport

    def __init__(
        self,
        connected: Callable[..., asyncio.Protocol],
        tls: Callable[[], ssl.SSLContext],
        among: Connections,
        **options: Any,
    ) -> None:
        self._connected, self._tls, self._among = partial(connected, **options), tls, among
        self._early = b""
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        transport.set_write_buffer_limits(high=0)
        transport.pause_reading()
        if self._among.admit(self):
            self._among.waits(self)
            self._task = asyncio.get_running_loop().create_task(self._shake())
        else:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self._early += data  # it came with the last bytes of the handshake

    def connection_lost(self, exc: Exception | None) -> None:
        self._among.forget(self)

    async def _shake(self) -> None:
        seconds = self._among.limits.head_seconds
        try:
            transport = await asyncio.get_running_loop().start_tls(
                self.transport,
                self,
                self._tls(),
                server_side=True,
                ssl_handshake_timeout=seconds,
                ssl_shutdown_timeout=seconds,
            )
        except OSError:  # no TLS, no version or cipher in common, or no time left
            self._among.trouble.note("no-tls")
            self.transport.abort()
            self._among.forget(self)
            return
        self._among.forget(self)
        if transport is None or transport.is_closing():
            return
        protocol = self._connected(below=self.transport)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if self._early:
            protocol.data_received(self._early)
