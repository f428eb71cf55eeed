"""A session is whose token was shown, until its time, its token or the key ends; a form belongs to one session."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

import pytest

from flts.web.problem import Problem
from flts.web.proxies import Proxies
from flts.web.security import Auth
from flts.web.session import ATTEMPTS, COOKIE, SECONDS, SECURE_COOKIE, Session, Sessions, place_after
from flts.web.tokens import Token, digest_of

BOSS = Token("boss", frozenset({"read", "predict"}), digest_of(b"boss-token"))
PLAIN = Token("plain.v2", frozenset({"predict"}), digest_of(b"plain-token"))


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return made(clock)


def made(clock: Clock, *tokens: Token, secret: str | None = "a secret", token: str | None = None) -> Sessions:  # noqa: S107
    auth = Auth("127.0.0.1", token, lambda: tokens or (BOSS, PLAIN))
    return Sessions(auth, secret, Proxies.of(["10.0.0.0/8"]), clock)


def scope(*headers: tuple[str, str], peer: str = "1.2.3.4", scheme: str = "http") -> dict[str, Any]:
    listed = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return {"client": (peer, 1), "scheme": scheme, "headers": [(b"host", b"flts:80"), *listed], "state": {}}


def signed_in(sessions: Sessions, sent: str = "boss-token", **where: Any) -> str:
    """The cookie of a new session, as a browser sends it."""
    return sessions.sign_in(scope(**where), sent).partition(";")[0]


def session_of(sessions: Sessions, cookie: str, **where: Any) -> Session | None:
    return sessions.check(scope(("cookie", cookie), **where), "read")


def refusal(sessions: Sessions, cookie: str, **where: Any) -> HTTPStatus:
    with pytest.raises(Problem) as raised:
        session_of(sessions, cookie, **where)
    return raised.value.status


def test_the_cookie_is_for_this_server_alone_and_holds_nothing_of_the_token(sessions: Sessions) -> None:
    cookie = sessions.sign_in(scope(), "boss-token")
    pair, _, rest = cookie.partition("; ")
    assert re.fullmatch(rf"{COOKIE}=1028800\.[0-9a-f]{{16}}\.[0-9a-f]{{64}}\.boss", pair)
    assert rest == f"Path=/; Max-Age={SECONDS}; HttpOnly; SameSite=Strict"
    assert "boss-token" not in cookie
    assert digest_of(b"boss-token").hex() not in cookie


def test_a_session_is_whose_token_was_shown(sessions: Sessions) -> None:
    asked = scope(("cookie", f"other=1; {signed_in(sessions)}"))
    session = sessions.check(asked, "predict")
    assert session is not None
    assert session.name == asked["state"]["token"] == "boss"
    with pytest.raises(Problem) as raised:
        sessions.check(scope(("cookie", signed_in(sessions))), "admin")
    assert raised.value.code == "right-missing"


def test_where_tls_is_spoken_the_cookie_goes_nowhere_else(sessions: Sessions) -> None:
    proxied = scope(("x-forwarded-proto", "https"), peer="10.1.1.1")
    for asked in (scope(scheme="https"), proxied):
        cookie = sessions.sign_in(asked, "boss-token")
        assert cookie.startswith(f"{SECURE_COOKIE}=")
        assert cookie.endswith("; Secure")
        pair = cookie.partition(";")[0]
        assert session_of(sessions, pair, scheme="https") is not None
        assert refusal(sessions, pair) is HTTPStatus.UNAUTHORIZED
    pretended = scope(("x-forwarded-proto", "https"))
    assert "Secure" not in sessions.sign_in(pretended, "boss-token")


def test_a_session_ends_with_its_time(sessions: Sessions, clock: Clock) -> None:
    cookie = signed_in(sessions)
    clock.now += SECONDS - 1
    assert session_of(sessions, cookie) is not None
    clock.now += 2
    assert refusal(sessions, cookie) is HTTPStatus.UNAUTHORIZED


def test_a_session_ends_with_its_token(clock: Clock) -> None:
    cookie = signed_in(made(clock))
    renewed = Token("boss", BOSS.rights, digest_of(b"another"))
    assert session_of(made(clock, renewed, BOSS), cookie) is not None
    assert refusal(made(clock, renewed), cookie) is HTTPStatus.UNAUTHORIZED
    expired = Token("boss", BOSS.rights, BOSS.digest, expires=1.0)
    assert refusal(made(clock, expired), cookie) is HTTPStatus.UNAUTHORIZED


def test_replicas_that_share_a_secret_or_the_token_share_sessions(clock: Clock) -> None:
    cookie = signed_in(made(clock))
    assert session_of(made(clock), cookie) is not None
    assert refusal(made(clock, secret="other"), cookie) is HTTPStatus.UNAUTHORIZED  # noqa: S106
    one = signed_in(made(clock, secret=None, token="all"), "all")  # noqa: S106
    assert session_of(made(clock, secret=None, token="all"), one) is not None  # noqa: S106
    assert refusal(made(clock, secret=None), signed_in(made(clock, secret=None))) is HTTPStatus.UNAUTHORIZED


def test_the_file_of_tokens_alone_makes_no_session(clock: Clock) -> None:
    """Who reads the file has the digest of the token, also where the same token is that of `token_file`."""
    same = Token("boss", BOSS.rights, digest_of(b"all"))
    real = made(clock, same, secret=None, token="all")  # noqa: S106
    forged = made(clock, same, secret=same.digest.hex()).cookie(same)
    assert refusal(real, f"{COOKIE}={forged}") is HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize("part", range(4))
def test_a_changed_cookie_is_none(sessions: Sessions, part: int) -> None:
    name, _, value = signed_in(sessions).partition("=")
    parts = value.split(".")
    for other in ("", "0", parts[part] + "0", "9" * 30, parts[part].upper() + "\xe9", "plain"):
        changed = f"{name}={'.'.join([*parts[:part], other, *parts[part + 1 :]])}"
        assert refusal(sessions, changed) is HTTPStatus.UNAUTHORIZED, changed


def test_a_token_beside_the_cookie_decides(sessions: Sessions) -> None:
    cookie = signed_in(sessions)
    with pytest.raises(Problem):
        sessions.check(scope(("cookie", cookie), ("authorization", "Bearer wrong")), "read")
    assert sessions.check(scope(("authorization", "Bearer boss-token")), "read") is None


def test_signing_in_needs_a_token_that_may_look(sessions: Sessions) -> None:
    for sent, status in (("wrong", 401), ("", 401), ("plain-token", 403), ("\ud800", 401)):
        with pytest.raises(Problem) as raised:
            sessions.sign_in(scope(), sent)
        assert raised.value.status == status


def test_attempts_to_sign_in_are_limited_for_each_address(sessions: Sessions) -> None:
    codes = []
    for _ in range(int(ATTEMPTS) + 1):
        with pytest.raises(Problem) as raised:
            sessions.sign_in(scope(), "wrong")
        codes.append(raised.value.code)
    assert codes == ["token-unknown"] * int(ATTEMPTS) + ["too-many-attempts"]
    assert 0 < int(raised.value.headers["Retry-After"]) <= 10
    with pytest.raises(Problem):
        sessions.sign_in(scope(), "boss-token")
    assert signed_in(sessions, peer="1.2.3.5")


def test_a_form_belongs_to_one_session(sessions: Sessions) -> None:
    first, second = (session_of(sessions, signed_in(sessions)) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.form != second.form
    sessions.check_form(scope(), first, first.form)
    sessions.check_form(scope(), None, "")
    for sent in ("", second.form, first.form[:-1], "\xe9"):
        with pytest.raises(Problem) as raised:
            sessions.check_form(scope(), first, sent)
        assert raised.value.code == "form-foreign"


@pytest.mark.parametrize(
    "headers",
    [
        [("origin", "http://evil.example")],
        [("origin", "http://flts:81")],
        [("origin", "null")],
        [("origin", "http://[")],
        [("sec-fetch-site", "cross-site")],
        [("sec-fetch-site", "same-site"), ("origin", "http://flts:80")],
    ],
)
def test_a_form_of_another_page_is_refused(sessions: Sessions, headers: list[tuple[str, str]]) -> None:
    for act in (sessions.check_origin, lambda asked: sessions.sign_in(asked, "boss-token")):
        with pytest.raises(Problem) as raised:
            act(scope(*headers))
        assert raised.value.code == "other-origin"


@pytest.mark.parametrize("headers", [[], [("origin", "http://FLTS:80")], [("sec-fetch-site", "same-origin")]])
def test_a_form_of_this_server_is_taken(sessions: Sessions, headers: list[tuple[str, str]]) -> None:
    sessions.check_origin(scope(*headers))


@pytest.mark.parametrize(
    ("asked", "after"),
    [
        ("/promotions/global?before=3", "/promotions/global?before=3"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\r\nSet-Cookie: x", "/"),
        ("/sign-out", "/"),
        ("/" + "a" * 3000, "/"),
        ("", "/"),
    ],
)
def test_after_signing_in_one_stays_on_this_server(asked: str, after: str) -> None:
    assert place_after(asked) == after
