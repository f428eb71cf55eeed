"""A request that can be read in two ways is refused: a proxy in front of the server may read it in the other."""

from __future__ import annotations

from collections.abc import Awaitable
from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from flts.web.problem import Problem, written
from flts.web.security import header_of

SINGLE = frozenset(
    {
        b"authorization",
        b"content-digest",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"expect",
        b"host",
        b"if-match",
        b"if-none-match",
        b"if-range",
        b"inference-header-content-length",
        b"origin",
        b"range",
        b"sec-fetch-site",
        b"transfer-encoding",
        b"want-repr-digest",
        b"x-content-sha256",
        b"x-request-timeout",
    }
)
"""Every header that a server reads, but Connection, Cookie and those of proxies, which may list."""


class Unambiguous:
    """Refuses a request that repeats a header, or whose end two readers may see differently; ends the connection."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        problem = ambiguity(scope) if scope["type"] == "http" else None
        answer = self._app if problem is None else written(problem, scope)
        return answer(scope, receive, send)


def ambiguity(scope: Scope) -> Problem | None:
    """Why a head can be read in two ways, if it can."""
    # after such a request, nobody knows where the next one begins
    close = {"Connection": "close"}
    listed = [name for name, _ in scope["headers"]]
    names = frozenset(listed)
    for name in sorted(SINGLE & names) if len(names) < len(listed) else ():
        if listed.count(name) > 1:
            detail = f"the header {name.decode()} is sent {listed.count(name)} times; send it once"
            return Problem(HTTPStatus.BAD_REQUEST, detail, close, code="header-repeated")
    if b"content-length" in names and b"transfer-encoding" in names:
        detail = "both Content-Length and Transfer-Encoding are sent; send one of them"
        return Problem(HTTPStatus.BAD_REQUEST, detail, close, code="length-ambiguous")
    if b"transfer-encoding" in names:
        if (header_of(scope, b"transfer-encoding") or b"").strip().lower() != b"chunked":
            detail = "Transfer-Encoding takes chunked alone"
            return Problem(HTTPStatus.NOT_IMPLEMENTED, detail, close, code="transfer-encoding-unknown")
        if scope["http_version"] != "1.1":
            detail = "Transfer-Encoding belongs to HTTP/1.1"
            return Problem(HTTPStatus.BAD_REQUEST, detail, close, code="length-ambiguous")
    if b"host" not in names and scope["http_version"] == "1.1":
        return Problem(HTTPStatus.BAD_REQUEST, "the header Host is missing", close, code="host-missing")
    if scope["http_version"] == "0.9":
        return Problem(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/0.9 is not spoken here", close, code="http-version")
    return None
