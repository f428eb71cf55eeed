"""The body of an upload as a stream: never whole in memory, and not stored when it differs from what was announced."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus

from flts.gateway.conditions import sent_digests
from flts.web.problem import Problem

SLICE = 2**18
"""Bytes of a body, or its end, that must arrive within the time a client has."""


def check_upload(headers: Mapping[str, str], most_bytes: int) -> set[str]:
    """The announced digests. Raises Problem when the headers already rule the upload out."""
    if "content-range" in headers:
        raise Problem(
            HTTPStatus.BAD_REQUEST, "Content-Range is not supported; send the whole object", code="part-of-object"
        )
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"unsupported Content-Encoding '{coding[:20]}'; objects are stored as sent, so send it without one",
            {"Accept-Encoding": "identity"},
            code="content-encoding",
        )
    if announced_bytes(headers, 0) > most_bytes:
        raise _too_large(most_bytes)
    return sent_digests(headers)


def announced_bytes(headers: Mapping[str, str], unknown: int) -> int:
    """The length of a body by its header, or `unknown`."""
    length = headers.get("content-length", "")
    return int(length) if length.isdecimal() else unknown


def _too_large(most_bytes: int) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"object too large; the limit is {most_bytes} bytes",
        code="object-too-large",
    )


class Body:
    """Counts and digests chunks, and raises at the end of a body that must not be stored.

    A client has `idle_seconds` for each SLICE of its body; the time that the store takes does not count.
    """

    def __init__(self, stream: AsyncIterator[bytes], most_bytes: int, idle_seconds: float, digests: set[str]) -> None:
        self._stream, self._most_bytes, self._idle_seconds, self._digests = stream, most_bytes, idle_seconds, digests
        self.size, self.sha256 = 0, hashlib.sha256()
        self._seconds, self._bytes = idle_seconds, 0

    async def chunks(self, last_check: Callable[[], Awaitable[None]] | None) -> AsyncIterator[bytes]:
        """The chunks. Raises Problem at the end of a body that must not be stored. last_check: may raise one, too."""
        while (chunk := await self._next()) is not None:
            self.size += len(chunk)
            if self.size > self._most_bytes:
                raise _too_large(self._most_bytes)
            self.sha256.update(chunk)
            yield chunk
        actual = self.sha256.hexdigest()
        if self._digests - {actual}:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"the SHA-256 of the {self.size} received bytes is {actual}, not the announced one; nothing was stored",
                code="digest-differs",
            )
        if last_check is not None:
            await last_check()

    async def _next(self) -> bytes | None:
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._seconds):
                chunk = await anext(self._stream, None)
        except TimeoutError:
            raise self._too_slow() from None
        self._seconds -= time.monotonic() - started
        self._bytes += len(chunk or b"")
        if self._bytes >= SLICE:
            self._seconds, self._bytes = self._idle_seconds, 0
        if self._seconds <= 0 and chunk is not None:
            raise self._too_slow()
        return chunk

    def _too_slow(self) -> Problem:
        detail = f"fewer than {SLICE} bytes in {self._idle_seconds:g} s; nothing was stored; send the object again"
        return Problem(HTTPStatus.REQUEST_TIMEOUT, detail)
