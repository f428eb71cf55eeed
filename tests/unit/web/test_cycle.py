"""How an answer is sent: the head leaves with the beginning of the body, and nothing invalid leaves at all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from flts.web.cycle import Cycle


class Sent:
    """Stands in for a transport: what was sent at once, in order."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.packets.append(data)

    def close(self) -> None:
        self.closed = True


def answer(
    *parts: bytes,
    headers: tuple[tuple[bytes, bytes], ...] = (),
    status: int = 200,
    method: str = "GET",
    keep_alive: bool = True,
) -> Sent:
    """What is sent of an answer with these parts of a body."""
    sent: Any = Sent()
    ended: list[bool] = []

    async def app() -> None:
        cycle = Cycle(
            {"type": "http", "method": method},
            sent,
            FlowControl(sent),
            lambda: ended.append(True),
            [(b"date", b"now")],
            keep_alive=keep_alive,
        )
        await cycle.send({"type": "http.response.start", "status": status, "headers": headers})
        assert sent.packets == []
        for number, part in enumerate(parts, 1):
            assert not ended
            await cycle.send({"type": "http.response.body", "body": part, "more_body": number < len(parts)})
        assert cycle.answered
        assert ended == [True]

    asyncio.run(app())
    found: Sent = sent
    return found


def length(count: int) -> tuple[bytes, bytes]:
    return b"content-length", str(count).encode()


HEAD = b"HTTP/1.1 200 OK\r\ndate: now\r\n"


def test_a_whole_answer_is_one_packet() -> None:
    sent = answer(b"body", headers=(length(4),))
    assert sent.packets == [HEAD + b"content-length: 4\r\n\r\nbody"]
    assert not sent.closed


def test_the_first_part_leaves_with_the_head_and_each_other_alone() -> None:
    assert answer(b"one", b"", b"two", headers=(length(6),)).packets == [
        HEAD + b"content-length: 6\r\n\r\none",
        b"",
        b"two",
    ]


def test_a_body_of_unknown_length_is_chunked() -> None:
    chunked = HEAD + b"transfer-encoding: chunked\r\n\r\n"
    assert answer(b"one", b"two").packets == [chunked + b"3\r\none\r\n", b"3\r\ntwo\r\n0\r\n\r\n"]
    assert answer(b"").packets == [chunked + b"0\r\n\r\n"]
    assert answer(b"x", headers=((b"transfer-encoding", b"chunked"),)).packets == [chunked + b"1\r\nx\r\n0\r\n\r\n"]


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_an_answer_without_a_body_has_none(method: str, status: int) -> None:
    (packet,) = answer(b"", status=status, method=method).packets
    assert packet.endswith(b"date: now\r\n\r\n")
    assert b"transfer-encoding" not in packet


def test_the_answer_to_head_keeps_the_length_of_what_it_leaves_out() -> None:
    assert answer(b"body", headers=(length(4),), method="HEAD").packets == [HEAD + b"content-length: 4\r\n\r\n"]


def test_the_last_answer_of_a_connection_says_so_and_closes_it() -> None:
    for sent in (
        answer(b"", headers=(length(0),), keep_alive=False),
        answer(b"", headers=(length(0), (b"connection", b"Close"))),
    ):
        assert sent.packets[0].lower().count(b"connection: close") == 1
        assert sent.closed


@pytest.mark.parametrize(
    "header", [(b"x-id", b"a\r\nset-cookie: b"), (b"x-id", b"a\x00"), (b"x id", b"a"), (b"x:id", b"a")]
)
def test_a_header_that_would_be_two_is_not_sent(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(RuntimeError, match="header"):
        answer(b"", headers=(length(0), header))


@pytest.mark.parametrize(("parts", "word"), [((b"12345",), "longer"), ((b"1",), "shorter"), ((b"123", b"4"), None)])
def test_a_body_is_as_long_as_its_head_says(parts: tuple[bytes, ...], word: str | None) -> None:
    if word is None:
        assert len(answer(*parts, headers=(length(4),)).packets) == len(parts)
        return
    with pytest.raises(RuntimeError, match=word):
        answer(*parts, headers=(length(4),))
