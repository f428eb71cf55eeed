"""The memory that transfers share: each takes what it may hold at most, and one for which none is left waits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from flts.contracts.ports import PART
from flts.web.problem import RETRY_SECONDS, Problem

DOWNLOAD = PART
"""Most bytes that a download holds: one part, whatever its reader takes."""
UPLOAD = 4 * PART
"""Most bytes that an upload holds: its first part, the next one, and two on their way to the store."""
BYTES_IN_FLIGHT = 256 * 2**20
"""Most bytes that all transfers hold together, unless the settings say otherwise."""
PATIENCE = 10.0
"""Seconds that a transfer waits for memory before it is refused."""


class Room:
    """So many bytes, handed out in the order in which they were asked for."""

    def __init__(self, size: int, patience: float = PATIENCE) -> None:
        self._size, self._free, self._patience = size, size, patience
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def held(self, wanted: int) -> AsyncIterator[None]:
        """Hold `wanted` bytes, or all if these are fewer. Raises Problem 503 when they do not become free in time."""
        wanted = min(wanted, self._size)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, turn))
        self._hand_out()
        try:
            async with asyncio.timeout(self._patience):
                await turn
        except TimeoutError:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"this server is busy with other transfers; try again in {RETRY_SECONDS} s",
                {"Retry-After": str(RETRY_SECONDS)},
                code="busy",
            ) from None
        else:
            yield
        finally:
            if not turn.cancelled():  # else it was still waiting, and has nothing to give back
                self._free += wanted
            self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting:
            wanted, turn = self._waiting[0]
            if not turn.cancelled():
                if wanted > self._free:
                    return
                self._free -= wanted
                turn.set_result(None)
            self._waiting.popleft()
