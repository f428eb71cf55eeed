"""Who may ask: a bearer token, or nobody but this machine."""

from __future__ import annotations

import hmac
import ipaddress
import re
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from flts.contracts.errors import UsageError
from flts.gateway.problem import Problem

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, 2.1
_BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="Needed where the server has a token.")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address; a name other than localhost is taken to lead outside."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Auth:
    """Lets a request in, or says why not.

    Without a token only requests addressed to this machine by its loopback names are answered: a page in a browser
    that lets its own name point here (DNS rebinding) is not.
    """

    def __init__(self, host: str, token: str | None) -> None:
        """Raises UsageError when the address needs a token, or the token could not be sent in a header."""
        if token is None and not is_loopback(host):
            raise UsageError(
                f"{host} can be reached from other machines, so a token is needed: set FLTS_TOKEN_FILE to a file with"
                " it, or bind to 127.0.0.1",
                code="token-needed",
                host=host,
            )
        if token is not None and not _TOKEN.fullmatch(token):
            raise UsageError(
                "the token has characters that a bearer token cannot have, or none; use A-Z, a-z, 0-9, '.', '_', '~',"
                " '+', '/' and '-'",
                code="token-invalid",
            )
        self._expected = None if token is None else f"Bearer {token}".encode()

    def check(self, request: Request) -> None:
        """Raises Problem for whom it stays closed."""
        if self._expected is None:
            self._check_address(request)
            return
        given = request.headers.get("authorization", "").encode("latin-1")
        scheme, _, credentials = given.partition(b" ")
        # the scheme is written in any case, the token in one
        said = b"Bearer " + credentials.strip() if scheme.lower() == b"bearer" else given
        if not hmac.compare_digest(said, self._expected):
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "send the token of this server as 'Authorization: Bearer …'",
                {"WWW-Authenticate": 'Bearer realm="flts"'},
                code="token-needed",
            )

    def _check_address(self, request: Request) -> None:
        host = request.headers.get("host", "")
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        if not is_loopback(name):
            raise Problem(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this server has no token and answers only what is sent to 127.0.0.1, ::1 or localhost",
                code="other-host",
            )


def _enter(request: Request, _shown: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]) -> None:
    auth: Auth = request.app.state.auth
    auth.check(request)


AUTH = Depends(_enter)
"""What a route depends on that is not for everybody; the app's state holds the `auth`."""
