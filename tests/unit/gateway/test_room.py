"""Transfers share the memory of a gateway in the order in which they come."""

from __future__ import annotations

import asyncio

import pytest

from flts.gateway.room import Room
from flts.web.problem import Problem


async def hold(room: Room, wanted: int, until: asyncio.Event, log: list[str], name: str) -> None:
    """Hold bytes until an event is set."""
    async with room.held(wanted):
        log.append(name)
        await until.wait()


async def turns(number: int = 5) -> None:
    """Let other tasks run."""
    for _ in range(number):
        await asyncio.sleep(0)


def test_a_transfer_waits_until_enough_is_free_and_none_overtakes_another() -> None:
    async def scene() -> list[str]:
        room, first, rest = Room(10), asyncio.Event(), asyncio.Event()
        log: list[str] = []
        tasks = [asyncio.create_task(hold(room, 6, first, log, "six"))]
        await turns()
        tasks += [asyncio.create_task(hold(room, size, rest, log, name)) for size, name in ((8, "eight"), (2, "two"))]
        await turns()
        assert log == ["six"], "two would fit, but eight came first"
        first.set()
        await turns()
        rest.set()
        await asyncio.gather(*tasks)
        return log

    assert asyncio.run(scene()) == ["six", "eight", "two"]


def test_a_transfer_that_is_larger_than_the_room_takes_all_of_it() -> None:
    async def scene() -> None:
        room = Room(10, patience=0.01)
        async with room.held(1000):
            with pytest.raises(Problem) as caught:
                async with room.held(1):
                    pass
            assert (int(caught.value.status), caught.value.code) == (503, "busy")
            assert "Retry-After" in caught.value.headers
        async with room.held(10):
            pass

    asyncio.run(scene())


def test_a_client_that_leaves_while_it_waits_keeps_nothing_from_others() -> None:
    async def scene() -> list[str]:
        room, first, rest = Room(10), asyncio.Event(), asyncio.Event()
        log: list[str] = []
        holding = asyncio.create_task(hold(room, 10, first, log, "first"))
        await turns()
        leaving = asyncio.create_task(hold(room, 10, rest, log, "leaves"))
        staying = asyncio.create_task(hold(room, 10, rest, log, "stays"))
        await turns()
        first.set()
        leaving.cancel()
        await turns()
        rest.set()
        await asyncio.gather(holding, staying)
        assert leaving.cancelled()
        async with room.held(10):
            return log

    assert asyncio.run(scene()) == ["first", "stays"]
