"""The head of an answer and the beginning of its body leave in one packet, and nothing is lost or held back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from flts.web.together import Together


class Sent:
    """Stands in for a transport: what was sent at once, in order."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.packets.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 7


def sent_by(use: Callable[[Any], None]) -> Sent:
    """What is sent until the loop has turned twice."""

    async def test() -> Sent:
        sent: Any = Sent()
        use(Together(sent, asyncio.get_running_loop()))
        for _ in range(2):
            await asyncio.sleep(0)
        found: Sent = sent
        return found

    return asyncio.run(test())


@pytest.mark.parametrize(
    ("written", "packets"),
    [
        ([b"head", b"body"], [b"headbody"]),
        ([b"head", b"", b"more"], [b"head", b"more"]),
        ([b"head", b"part", b"part"], [b"headpart", b"part"]),
        ([b"head"], [b"head"]),
        ([], []),
    ],
)
def test_what_is_written_first_leaves_with_what_follows_or_when_the_loop_turns(
    written: list[bytes], packets: list[bytes]
) -> None:
    def use(transport: Together) -> None:
        for data in written:
            transport.write(data)

    assert sent_by(use).packets == packets


def test_an_answer_that_is_a_head_alone_is_sent_before_the_end() -> None:
    def use(transport: Together) -> None:
        transport.write(b"head")
        transport.close()

    sent = sent_by(use)
    assert (sent.packets, sent.closed) == ([b"head"], True)


def test_nothing_is_sent_on_a_connection_that_has_ended() -> None:
    def use(transport: Any) -> None:
        transport.write(b"head")
        transport._transport.close()

    assert sent_by(use).packets == []


def test_everything_else_is_that_of_the_connection() -> None:
    def use(transport: Any) -> None:
        assert transport.get_write_buffer_size() == 7

    sent_by(use)
