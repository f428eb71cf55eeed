"""What an application does for a connection itself: without a task, and without messages of ASGI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from flts.web.cycle import Cycle, Header

Start = Callable[[Cycle], None]
"""Lets a task answer a request."""


class Shortcuts(Protocol):
    """What a connection asks before it starts a task."""

    def refusal(
        self, target: bytes, method: bytes, headers: Sequence[Header], common: Sequence[Header]
    ) -> bytes | None:
        """The whole answer to a request that is refused whatever its body holds. None for all others.

        common: headers of every answer.
        """

    def prompt(self, cycle: Cycle, start: Start) -> bool:
        """Whether a request is answered here, now or later; `start` lets a task answer it after all."""


class NoShortcuts:
    """A task answers every request."""

    def refusal(
        self, target: bytes, method: bytes, headers: Sequence[Header], common: Sequence[Header]
    ) -> bytes | None:
        """None."""
        return None

    def prompt(self, cycle: Cycle, start: Start) -> bool:
        """No."""
        return False


PLACE = "00000000-0000-7000-8000-000000000000"
"""Where the id of a request stands in an answer that is written once."""


class Ready:
    """An answer of which only the date and the id of the request change. They stand at PLACE."""

    def __init__(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        self._first = STATUS_LINE[status]
        self._rest = b"".join([*map(_line, headers), b"\r\n", body])
        self.status, self.length = status, len(body)

    def to(self, unique: str, common: Sequence[Header]) -> bytes:
        """The answer to one request. unique: its id, a UUID."""
        return b"".join([self._first, *map(_line, common), self._rest.replace(PLACE.encode(), unique.encode())])


def _line(header: Header) -> bytes:
    return b"%b: %b\r\n" % header
