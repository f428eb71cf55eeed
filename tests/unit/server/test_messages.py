"""Messages of a request that are asked for without a wait."""

from __future__ import annotations

import asyncio

from starlette.types import Message

from flts.server.messages import has_left


class Client:
    """The `receive` of a request whose body was read, as a server has it."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}


def test_whether_a_client_has_left_is_asked_without_waiting() -> None:
    async def test() -> None:
        client = Client()
        assert not has_left(client.receive)
        assert not client.left._waiters  # nothing waits on
        client.left.set()
        assert has_left(client.receive)

    asyncio.run(test())
