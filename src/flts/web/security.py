"""Who may send requests: clients with the bearer token, or without a token only this machine."""

from __future__ import annotations

import hmac
import ipaddress
import re
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from flts.contracts.errors import UsageError
from flts.web.problem import Problem

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, 2.1
_BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="Required when the server has a token.")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address. Any name other than localhost counts as reachable."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Auth:
    """Accepts a request, or raises a Problem.

    Without a token, only requests to a loopback name of this machine are accepted. That keeps out web pages whose own
    name points to this machine (DNS rebinding).
    """

    def __init__(self, host: str, token: str | None) -> None:
        """Raises UsageError when the address needs a token, or the token is not a valid bearer token."""
        if token is None and not is_loopback(host):
            raise UsageError(
                f"a token is needed, because other machines can reach {host}: set FLTS_TOKEN_FILE to a file with the"
                " token, or bind to 127.0.0.1",
                code="token-needed",
                host=host,
            )
        if token is not None and not _TOKEN.fullmatch(token):
            raise UsageError(
                "invalid token; a bearer token consists of A-Z, a-z, 0-9, '.', '_', '~', '+', '/' and '-'",
                code="token-invalid",
            )
        self._expected = None if token is None else f"Bearer {token}".encode()

    def check(self, request: HTTPConnection) -> None:
        """Raises Problem for a request that is not accepted."""
        if self._expected is None:
            self._check_address(request)
            return
        header = request.headers.get("authorization", "").encode("latin-1")
        scheme, _, credentials = header.partition(b" ")
        # the scheme may be written in any case, the token may not
        received = b"Bearer " + credentials.strip() if scheme.lower() == b"bearer" else header
        if not hmac.compare_digest(received, self._expected):
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "send the token of this server as 'Authorization: Bearer …'",
                {"WWW-Authenticate": 'Bearer realm="flts"'},
                code="token-needed",
            )

    def _check_address(self, request: HTTPConnection) -> None:
        host = request.headers.get("host", "")
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        if not is_loopback(name):
            raise Problem(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this server has no token, so it answers only requests to 127.0.0.1, ::1 or localhost",
                code="other-host",
            )


def _authorize(request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]) -> None:
    auth: Auth = request.app.state.auth
    auth.check(request)


AUTH = Depends(_authorize)
"""The dependency of every protected route; `app.state.auth` holds the Auth."""
