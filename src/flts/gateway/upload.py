"""The body of an upload as a stream: never whole in memory, and not stored when it differs from what was announced."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus

from flts.gateway.conditions import sent_digests
from flts.gateway.problem import Problem


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
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > most_bytes:
        raise _too_large(most_bytes)
    return sent_digests(headers)


def _too_large(most_bytes: int) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"object too large; the limit is {most_bytes} bytes",
        code="object-too-large",
    )


class Body:
    """Counts and digests chunks, and raises at the end of a body that must not be stored."""

    def __init__(self, stream: AsyncIterator[bytes], most_bytes: int, idle_seconds: float, digests: set[str]) -> None:
        self._stream, self._most_bytes, self._idle_seconds, self._digests = stream, most_bytes, idle_seconds, digests
        self.size, self.sha256 = 0, hashlib.sha256()

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
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await anext(self._stream, None)
        except TimeoutError:
            detail = f"no data for {self._idle_seconds:g} s; nothing was stored; send the object again"
            raise Problem(HTTPStatus.REQUEST_TIMEOUT, detail) from None
