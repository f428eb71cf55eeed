"""Signing in to the page: a cookie that says whose token was shown, for some hours, and holds nothing of the token.

Nothing is kept on the server: the cookie is signed with a key that every replica has, together with the digest of the
token. So a session ends with its time, with its token, and with the key.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.requests import cookie_parser
from starlette.types import Scope

from flts.web.problem import Problem
from flts.web.proxies import Proxies
from flts.web.rates import Rates
from flts.web.security import Auth, header_of
from flts.web.tokens import Right, Token

SECONDS = 8 * 3600
"""How long a session lasts."""
COOKIE, SECURE_COOKIE = "flts-session", "__Host-flts-session"
"""Its name; where TLS is spoken, one that a browser takes from this host alone."""
ATTEMPTS, RATE = 10.0, 0.1
"""Attempts to sign in from one address at once, and per second after that."""
LONGEST = 512
"""Characters of a cookie that is looked at."""


@dataclass(frozen=True)
class Session:
    """Who has signed in. form: what every form of this sign-in carries, and no other page knows."""

    name: str
    form: str


class Sessions:
    """The sessions of one server.

    secret: what signs cookies, the same for every replica; without one it is made of the one token of `auth`, or at
    random, and then sessions end when this process does.
    """

    def __init__(
        self,
        auth: Auth,
        secret: str | None = None,
        proxies: Proxies | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._auth, self._proxies, self._clock = auth, proxies or Proxies(), clock
        seed = secret.encode() if secret else auth.seed or secrets.token_bytes(32)
        self._key = hmac.digest(seed, b"flts session", "sha256")
        self._attempts = Rates(RATE, ATTEMPTS)

    def check(self, scope: Scope, right: Right) -> Session | None:
        """The session of a request; None for one with a token of its own, or where none is needed. Raises Problem."""
        if not self._auth.needed or header_of(scope, b"authorization") is not None:
            self._auth.check(scope, right)
            return None
        found = self.read(self._cookie(scope))
        if found is None:
            raise Problem(HTTPStatus.UNAUTHORIZED, "Sign in with a token of this server.", code="token-needed")
        session, token = found
        self._auth.admit(scope, token, right)
        return session

    def sign_in(self, scope: Scope, sent: str) -> str:
        """The header Set-Cookie for who sends a token that may look at the page. Raises Problem."""
        self.check_origin(scope)
        seconds = self._attempts.take(self._proxies.client(scope))
        if seconds:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"Too many attempts. Try again in {seconds} s.",
                {"Retry-After": str(seconds)},
                code="too-many-attempts",
            )
        token = self._auth.find(sent.strip().encode(errors="replace"))
        if token is None:
            raise Problem(HTTPStatus.UNAUTHORIZED, "This is no token of this server.", code="token-unknown")
        self._auth.admit(scope, token, "read")
        return self._set(scope, self.cookie(token), SECONDS)

    def sign_out(self, scope: Scope) -> str:
        """The header Set-Cookie that ends a session in this browser."""
        return self._set(scope, "", 0)

    def check_origin(self, scope: Scope) -> None:
        """Raises Problem for a form that a page of another server sent, as far as the browser says so."""
        site, origin = header_of(scope, b"sec-fetch-site"), header_of(scope, b"origin")
        if site is not None:
            same = site in {b"same-origin", b"none"}
        else:
            same = origin is None or _authority(origin) == self._proxies.host(scope).lower()
        if not same:
            raise Problem(HTTPStatus.FORBIDDEN, "This form was sent by another page.", code="other-origin")

    def check_form(self, scope: Scope, session: Session | None, sent: str) -> None:
        """Raises Problem for a form that no page of this sign-in sent."""
        self.check_origin(scope)
        if session is not None and not hmac.compare_digest(session.form.encode(), sent.encode(errors="replace")):
            raise Problem(
                HTTPStatus.FORBIDDEN, "This form is of an older session. Load the page again.", code="form-foreign"
            )

    def open_to_readers(self, scope: Scope) -> bool:
        """Whether a token that is typed in now can be read on its way."""
        return not self._proxies.https(scope)

    def cookie(self, token: Token) -> str:
        """A new cookie for a token: when it ends, a random word, the signature of all, the name."""
        end, nonce = int(self._clock()) + SECONDS, secrets.token_hex(8)
        return f"{end}.{nonce}.{self._signature(end, nonce, token)}.{token.name}"

    def read(self, cookie: str) -> tuple[Session, Token] | None:
        """Whose cookie it is; None for one that this key did not sign, or that has ended, or whose token is gone."""
        parts = cookie.split(".", 3)
        if len(cookie) > LONGEST or len(parts) < 4 or not (cookie.isascii() and parts[0].isdigit()):
            return None
        end, nonce, signature, name = int(parts[0]), *parts[1:]
        if str(end) != parts[0] or end <= self._clock():
            return None
        for token in self._auth.tokens():
            if token.name == name and hmac.compare_digest(self._signature(end, nonce, token), signature):
                return Session(name, self._signed(f"form.{signature}".encode())), token
        return None

    def _signature(self, end: int, nonce: str, token: Token) -> str:
        return self._signed(f"{end}.{nonce}.{token.name}.".encode() + token.digest)

    def _signed(self, message: bytes) -> str:
        return hmac.digest(self._key, message, "sha256").hex()

    def _cookie(self, scope: Scope) -> str:
        header = b"; ".join(value for name, value in scope["headers"] if name == b"cookie").decode("latin-1")
        return cookie_parser(header).get(self._name(scope), "")

    def _name(self, scope: Scope) -> str:
        return SECURE_COOKIE if self._proxies.https(scope) else COOKIE

    def _set(self, scope: Scope, value: str, seconds: int) -> str:
        secure = "; Secure" if self._proxies.https(scope) else ""
        return f"{self._name(scope)}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"


def _authority(origin: bytes) -> str | None:
    """Host and port of an Origin; None where it has none, which no Host equals."""
    try:
        return urlsplit(origin.decode("latin-1")).netloc.lower() or None
    except ValueError:
        return None


def place_after(text: str) -> str:
    """Where to go after signing in: a path of this server, the first page for anything else."""
    inside = text.startswith("/") and not text.startswith(("//", "/\\", "/sign-")) and len(text) <= 2000
    return text if inside and text.isascii() and text.isprintable() and "\\" not in text else "/"
