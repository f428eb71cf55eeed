"""A request for a forecast by any protocol: bytes in, bytes out. A plain ASGI endpoint: nothing is between."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from flts.server.body import receive_body
from flts.server.caller import caller_of
from flts.server.messages import has_left
from flts.server.service import ForecastService, note
from flts.server.wanted import Answered, Wanted
from flts.web.problem import Problem
from flts.web.security import Auth, header_of

JSON = (b"content-type", b"application/json")
ACCEPTED = "accepted"
"""Stands in the state of a request for which `auth` was asked, and is not asked again."""
READ = "read"
"""Holds what `glance` made of its body, where it did."""
Write = Callable[[Answered], bytes]
"""Writes an answer as the body of a JSON response."""


class Endpoint(ABC):
    """One protocol of a service, for the requests that `auth` accepts."""

    def __init__(self, service: ForecastService, auth: Auth) -> None:
        self.service, self.auth = service, auth

    def glance(self, body: bytes) -> tuple[Wanted, Write] | None:
        """As `read`, at once and where the body is plain; None where that has to decide."""
        return None

    @abstractmethod
    async def read(self, request: HTTPConnection, body: bytes) -> tuple[Wanted, Write]:
        """What a request asks for, and how its answer is written. Raises Problem for what does not fit."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service, request = self.service, HTTPConnection(scope)
        service.turns.check_room()
        if not scope["state"].get(ACCEPTED):
            self.auth.check(scope, "predict")
        caller = caller_of(scope, partial(has_left, receive), service.request_seconds)
        _refuse_encoded(header_of(scope, b"content-encoding"))
        declared = header_of(scope, b"content-length")
        body = await receive_body(receive, service.max_body_bytes, caller.until, declared)
        wanted, write = scope["state"].pop(READ, None) or await self.read(request, body)
        answered = await service.forecast(wanted, caller)
        note(scope, answered)
        data = write(answered)
        await send({"type": "http.response.start", "status": 200, "headers": answer_headers(data)})
        await send({"type": "http.response.body", "body": data})


def answer_headers(data: bytes) -> list[tuple[bytes, bytes]]:
    """What the head of an answer says of its body."""
    return [JSON, (b"content-length", str(len(data)).encode())]


def _refuse_encoded(given: bytes | None) -> None:
    """Refuse a compressed body, which nobody unpacks here: it would be called no JSON."""
    coding = "identity" if given is None else given.decode("latin-1").strip().lower()
    if coding != "identity":
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Encoding is {coding[:40]!r}; send the body as it is, without that header",
            code="content-encoding",
        )
