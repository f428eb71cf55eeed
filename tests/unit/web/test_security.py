"""Who may do what: the right, the end and the rate of a token, and what a server without one refuses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import pytest

from flts.web.problem import Problem
from flts.web.security import Auth
from flts.web.tokens import Right, Token, digest_of


def scope(*headers: tuple[str, str]) -> dict[str, Any]:
    listed = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return {"headers": [(b"host", b"127.0.0.1:80"), *listed], "state": {}}


def bearer(token: str) -> dict[str, Any]:
    return scope(("authorization", f"Bearer {token}"))


def token(name: str, *rights: Right, sent: str = "", expires: float | None = None) -> Token:
    return Token(name, frozenset(rights), digest_of((sent or name).encode()), expires)


def refused(auth: Auth, asked: dict[str, Any], right: Right = "read") -> Problem:
    with pytest.raises(Problem) as raised:
        auth.check(asked, right)
    return raised.value


def test_a_token_may_do_what_its_rights_say_and_its_name_is_known() -> None:
    auth = Auth("0.0.0.0", "all", lambda: [token("nightly", "predict"), token("boss", "admin")])  # noqa: S104
    for sent, name, rights in (
        ("nightly", "nightly", {"predict"}),
        ("boss", "boss", {"admin"}),
        ("all", "token", {"predict", "read", "admin"}),
    ):
        for right in ("predict", "read", "admin"):
            asked = bearer(sent)
            if right in rights:
                auth.check(asked, right)
            else:
                problem = refused(auth, asked, right)
                assert (problem.status, problem.code) == (HTTPStatus.FORBIDDEN, "right-missing")
            assert asked["state"]["token"] == name


@pytest.mark.parametrize(
    "asked",
    [
        scope(),
        bearer("nobody"),
        bearer(""),
        bearer("nightly nightly"),
        scope(("authorization", "nightly")),
        scope(("authorization", "Basic nightly")),
        scope(("authorization", "Bearer \xff")),
        scope(("authorization", f"Bearer {digest_of(b'nightly').hex()}")),
    ],
)
def test_nothing_else_passes(asked: dict[str, Any]) -> None:
    problem = refused(Auth("127.0.0.1", None, lambda: [token("nightly", "read")]), asked)
    assert (problem.status, problem.code) == (HTTPStatus.UNAUTHORIZED, "token-needed")
    assert "token" not in asked["state"]


def test_a_token_ends_and_its_successor_goes_on() -> None:
    now = time.time()
    tokens: Sequence[Token] = [
        token("nightly", "read", sent="old", expires=now - 1),
        token("nightly", "read", sent="new", expires=now + 3600),
    ]
    auth = Auth("127.0.0.1", None, lambda: tokens)
    assert refused(auth, bearer("old")).code == "token-expired"
    auth.check(bearer("new"), "read")


def test_a_token_that_leaves_the_file_is_refused_at_once() -> None:
    tokens = [token("a", "read"), token("b", "read")]
    auth = Auth("127.0.0.1", None, lambda: tokens)
    auth.check(bearer("a"), "read")
    del tokens[0]
    assert refused(auth, bearer("a")).status is HTTPStatus.UNAUTHORIZED
    auth.check(bearer("b"), "read")


def test_each_name_has_its_rate() -> None:
    tokens = [token("a", "read"), token("b", "read"), token("b", "read", sent="b2")]
    auth = Auth("127.0.0.1", None, lambda: tokens, rate=0.001)
    auth.check(bearer("a"), "read")
    problem = refused(auth, bearer("a"))
    assert (problem.status, problem.code) == (HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests")
    assert 900 < int(problem.headers["Retry-After"]) <= 1000
    auth.check(bearer("b"), "read")
    assert refused(auth, bearer("b2")).code == "too-many-requests", "a successor has no rate of its own"
    assert refused(auth, bearer("wrong")).code == "token-needed", "who has no token takes nothing from those who do"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example", "http://[", ""])
def test_without_a_token_pages_of_other_machines_are_refused(origin: str) -> None:
    auth = Auth("127.0.0.1", None)
    problem = refused(auth, scope(("origin", origin)))
    assert (problem.status, problem.code) == (HTTPStatus.FORBIDDEN, "other-origin")


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "http://localhost", "http://[::1]:80"])
def test_without_a_token_pages_of_this_machine_are_answered(origin: str) -> None:
    Auth("127.0.0.1", None).check(scope(("origin", origin)), "admin")
