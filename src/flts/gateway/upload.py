"""The body of an upload as it passes by: never whole in memory, and never stored when it is not what was announced."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus

from flts.gateway.conditions import sent_digests
from flts.gateway.problem import Problem


def check_upload(headers: Mapping[str, str], most_bytes: int) -> set[str]:
    """The digests to check, once the headers say that the body can be taken. Raises Problem."""
    if "content-range" in headers:
        raise Problem(
            HTTPStatus.BAD_REQUEST, "an object is written whole; send it without Content-Range", code="part-of-object"
        )
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"an object is kept as it is sent, without its Content-Encoding '{coding[:20]}'; send it without one",
            {"Accept-Encoding": "identity"},
            code="content-encoding",
        )
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > most_bytes:
        raise _too_large(most_bytes)
    return sent_digests(headers)


def _too_large(most_bytes: int) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"an object has at most {most_bytes} bytes here", code="object-too-large"
    )


class Body:
    """Counts and digests chunks, and ends in an error rather than in a wrong object."""

    def __init__(self, stream: AsyncIterator[bytes], most_bytes: int, idle_seconds: float, digests: set[str]) -> None:
        self._stream, self._most_bytes, self._idle_seconds, self._digests = stream, most_bytes, idle_seconds, digests
        self.size, self.sha256 = 0, hashlib.sha256()

    async def chunks(self, last_check: Callable[[], Awaitable[None]] | None) -> AsyncIterator[bytes]:
        """The body; raises Problem at the end of one that is not to be stored. last_check: may raise one too."""
        while (chunk := await self._next()) is not None:
            self.size += len(chunk)
            if self.size > self._most_bytes:
                raise _too_large(self._most_bytes)
            self.sha256.update(chunk)
            yield chunk
        arrived = self.sha256.hexdigest()
        if self._digests - {arrived}:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"{self.size} bytes arrived with the SHA-256 {arrived}, another one was announced; nothing is stored",
                code="digest-differs",
            )
        if last_check is not None:
            await last_check()

    async def _next(self) -> bytes | None:
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await anext(self._stream, None)
        except TimeoutError:
            words = f"nothing came for {self._idle_seconds:g} s, and nothing is stored; send it again"
            raise Problem(HTTPStatus.REQUEST_TIMEOUT, words) from None
