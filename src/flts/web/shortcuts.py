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

    def remember(self, data: bytes, target: bytes, headers: Sequence[Header]) -> None:
        """One request, which was refused by its head. data: its bytes, with its body if that came in one piece."""

    def again(self, data: bytes, common: Sequence[Header]) -> bytes | None:
        """The answer to a request whose head is, byte for byte, one that was refused, and still is. None for others.

        data: what came where a request begins; it is answered where it ends with the request, and is not read.
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

    def remember(self, data: bytes, target: bytes, headers: Sequence[Header]) -> None:
        """Nothing is refused here."""

    def again(self, data: bytes, common: Sequence[Header]) -> bytes | None:
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
        self._status_line = STATUS_LINE[status]
        self._around = b"".join([*map(_line, headers), b"\r\n", body]).split(PLACE.encode())
        self._common: Sequence[Header] = ()
        self._first = self._status_line
        self.status, self.length = status, len(body)

    def to(self, unique: str, common: Sequence[Header]) -> bytes:
        """The answer to one request. unique: its id, a UUID."""
        if common is not self._common:  # a server makes them anew each second, for the date
            self._common, self._first = common, b"".join([self._status_line, *map(_line, common)])
        return self._first + unique.encode().join(self._around)


def _line(header: Header) -> bytes:
    return b"%b: %b\r\n" % header
