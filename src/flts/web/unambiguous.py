"""A request that can be read in two ways is refused: a proxy in front of the gateway may read it in the other."""

from __future__ import annotations

from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from flts.web.problem import Problem, document

SINGLE = frozenset(
    {
        b"authorization",
        b"content-digest",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"expect",
        b"host",
        b"if-match",
        b"if-none-match",
        b"if-range",
        b"range",
        b"transfer-encoding",
        b"want-repr-digest",
        b"x-content-sha256",
    }
)
"""Every header that the gateway or its server reads, but Connection."""


class Unambiguous:
    """Answers 400 to a request that repeats a header, or announces its length in two ways, and ends the connection."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = _ambiguity([name for name, _ in scope["headers"]]) if scope["type"] == "http" else None
        answer = self._app if problem is None else document(problem, scope["state"]["request_id"])
        await answer(scope, receive, send)


def _ambiguity(names: list[bytes]) -> Problem | None:
    # after such a request, nobody knows where the next one begins
    close = {"Connection": "close"}
    for name in sorted(SINGLE.intersection(names)):
        if names.count(name) > 1:
            detail = f"the header {name.decode()} is sent {names.count(name)} times; send it once"
            return Problem(HTTPStatus.BAD_REQUEST, detail, close, code="header-repeated")
    if b"content-length" in names and b"transfer-encoding" in names:
        detail = "both Content-Length and Transfer-Encoding are sent; send one of them"
        return Problem(HTTPStatus.BAD_REQUEST, detail, close, code="length-ambiguous")
    return None
