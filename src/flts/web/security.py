"""Who may send requests: clients with a bearer token, or without any token only this machine."""

from __future__ import annotations

import hmac
import ipaddress
import re
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import Scope

from flts.contracts.errors import UsageError
from flts.web.problem import Problem, responses
from flts.web.rates import Rates
from flts.web.tokens import RIGHTS, Right, Token, digest_of

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, 2.1
_BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="Required when the server has a token.")
ONE = "token"
"""Name of the token of `token_file`."""
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="flts"'}
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
"""The usual names of this machine; there are more addresses of it."""
READING = frozenset({"GET", "HEAD"})
"""Methods for which the right `read` is enough, unless an endpoint says otherwise."""
REFUSALS = responses(
    HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.MISDIRECTED_REQUEST, HTTPStatus.TOO_MANY_REQUESTS
)
"""The answers of a protected route to those who may not, for its description."""
Tokens = Callable[[], Iterable[Token]]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address. Any name other than localhost counts as reachable."""
    try:
        return host in LOCAL or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def header_of(scope: Scope, name: bytes) -> bytes | None:
    """The value of a header. name: in lower case."""
    for found, value in scope["headers"]:
        if found == name:
            return bytes(value)
    return None


class Auth:
    """Accepts a request, or raises a Problem. `state["token"]` of an accepted one is the name of its token.

    Without a token, only requests to a loopback name of this machine are accepted, and from pages of this machine only.
    That keeps out web pages whose own name points to this machine (DNS rebinding), and their forms.
    """

    def __init__(self, host: str, token: str | None, tokens: Tokens | None = None, rate: float = 0.0) -> None:
        """token: may do everything; tokens: those of a file; rate: requests per second of each name, 0 for any number.

        Raises UsageError when the address needs a token, or the token is not a valid bearer token.
        """
        self.needed = token is not None or tokens is not None
        if not self.needed and not is_loopback(host):
            raise UsageError(
                f"a token is needed, because other machines can reach {host}: set FLTS_TOKEN_FILE to a file with the"
                " token, or FLTS_TOKENS_FILE to one with several, or bind to 127.0.0.1",
                code="token-needed",
                host=host,
            )
        if token is not None and not _TOKEN.fullmatch(token):
            raise UsageError(
                "invalid token; a bearer token consists of A-Z, a-z, 0-9, '.', '_', '~', '+', '/' and '-'",
                code="token-invalid",
            )
        self.seed = None if token is None else hmac.digest(token.encode(), b"flts session", "sha256")
        """Something that only who has the token can make; nothing in a file of tokens tells it."""
        self._one = () if token is None else (Token(ONE, RIGHTS, digest_of(token.encode())),)
        self._more = tokens
        self._rates = Rates(rate, max(1.0, rate)) if rate else None

    def tokens(self) -> tuple[Token, ...]:
        """Every token, expired ones among them."""
        return self._one if self._more is None else (*self._one, *self._more())

    def check(self, scope: Scope, right: Right) -> None:
        """Raises Problem for a request that is not accepted."""
        if not self.needed:
            self._check_address(scope)
            return
        scheme, _, credentials = (header_of(scope, b"authorization") or b"").partition(b" ")
        # the scheme may be written in any case, the token may not
        token = self.find(credentials.strip()) if scheme.lower() == b"bearer" else None
        if token is None:
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "send a token of this server as 'Authorization: Bearer …'",
                CHALLENGE,
                code="token-needed",
            )
        self.admit(scope, token, right)

    def find(self, sent: bytes) -> Token | None:
        """The token that was sent. Takes the same time whichever it is, and however much of it is right."""
        digest, found = digest_of(sent), None
        for token in self.tokens():
            if hmac.compare_digest(token.digest, digest):
                found = token
        return found

    def admit(self, scope: Scope, token: Token, right: Right) -> None:
        """Let a request with this token pass. Raises Problem where it expired, lacks a right, or comes too often."""
        scope["state"]["token"], scope["state"]["admitted"] = token.name, token
        if token.expires is not None and token.expires <= time.time():
            raise Problem(
                HTTPStatus.UNAUTHORIZED, f"the token '{token.name}' has expired", CHALLENGE, code="token-expired"
            )
        check_right(scope, right)
        seconds = self._rates.take(token.name) if self._rates is not None else 0
        if seconds:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"the token '{token.name}' sends more requests than it may; send the next one in {seconds} s",
                {"Retry-After": str(seconds)},
                code="too-many-requests",
            )

    def _check_address(self, scope: Scope) -> None:
        if not is_loopback(_hostname(header_of(scope, b"host"))):
            raise Problem(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this server has no token, so it answers only requests to 127.0.0.1, ::1 or localhost",
                code="other-host",
            )
        origin = header_of(scope, b"origin")
        if origin is not None and not is_loopback(_origin(origin)):
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "this server has no token, so it answers no page of another machine",
                code="other-origin",
            )


def check_right(scope: Scope, right: Right) -> None:
    """Raise Problem where the token of an accepted request lacks a right. A server without tokens asks for none."""
    token: Token | None = scope["state"].get("admitted")
    if token is not None and right not in token.rights:
        raise Problem(
            HTTPStatus.FORBIDDEN,
            f"this needs the right '{right}'; the token '{token.name}' has {', '.join(sorted(token.rights))}",
            code="right-missing",
        )


def _hostname(host: bytes | None) -> str:
    name = (host or b"").decode("latin-1")
    return name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]


def _origin(origin: bytes) -> str:
    """The host of an Origin; none where a browser keeps it to itself."""
    try:
        return urlsplit(origin.decode("latin-1")).hostname or ""
    except ValueError:
        return ""


def _authorize(request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]) -> None:
    auth: Auth = request.app.state.auth
    auth.check(request.scope, "read" if request.method in READING else "admin")


AUTH = Depends(_authorize)
"""The dependency of every protected route; `app.state.auth` holds the Auth."""
