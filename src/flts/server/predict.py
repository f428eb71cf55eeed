"""`POST /predict`: a history in, forecasts out, both in original units. A plain ASGI endpoint: nothing is between."""

from __future__ import annotations

from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from flts.server.body import parse_body, receive_body
from flts.server.caller import caller_of
from flts.server.document import to_bytes
from flts.server.service import Service, note
from flts.web.security import Auth

JSON = (b"content-type", b"application/json")


class Predict:
    """The endpoint of a service, for the requests that `auth` accepts."""

    def __init__(self, service: Service, auth: Auth) -> None:
        self._service, self._auth = service, auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        self._auth.check(scope, "predict")
        service.turns.check_room()
        caller = caller_of(scope, receive, service.request_seconds)
        body = await receive_body(receive, service.max_body_bytes, HTTPConnection(scope).headers.get("content-length"))
        answered = await service.forecast(await parse_body(body), caller)
        note(scope, answered)
        data = to_bytes(answered)
        length = (b"content-length", str(len(data)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [JSON, length]})
        await send({"type": "http.response.body", "body": data})
