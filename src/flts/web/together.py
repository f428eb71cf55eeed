"""The head of an answer and the beginning of its body leave together: one packet, and one call of the system."""

from __future__ import annotations

import asyncio
from typing import Any


class Together:
    """The transport of one answer. What is written first waits for what follows, at most until the loop turns."""

    __slots__ = ("_begun", "_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._begun, self._held = False, b""

    def write(self, data: bytes) -> None:
        """Send these bytes after those before."""
        if self._begun:
            held, self._held = self._held, b""
            self._transport.write(held + data if held else data)
        else:
            self._begun, self._held = True, data
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Send what waits, and close the connection."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._transport.write(held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
