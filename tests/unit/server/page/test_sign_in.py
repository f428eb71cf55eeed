"""Signing in to the page with a browser: a form, a cookie, forms that belong to the session, and the way out."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlencode

import pytest
from fastapi import FastAPI
from tests.support.asgi import Answer, ask
from tests.support.boards import judged, promote, served, variant
from tests.support.markup import Element, parse
from tests.support.series import hourly, table
from tests.support.stored import without

from flts.contracts.ports import Store
from flts.server.page.sign_in import MOST
from flts.web.security import Auth
from flts.web.tokens import Right, Token, digest_of

TOKEN = "a-token"  # noqa: S105
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def store() -> Store:
    store, decision = judged(300, 60)
    store = without(store)
    promote(store, variant(store, decision, "alone"))
    return store


@pytest.fixture
def app(store: Store) -> FastAPI:
    return served(store, token=TOKEN)


def post(app: FastAPI, target: str, fields: Mapping[str, str], **headers: str) -> Answer:
    return ask(app, "POST", target, FORM | headers, urlencode(fields).encode())


def cookie(app: FastAPI, token: str = TOKEN) -> str:
    """The cookie of a new session."""
    answer = post(app, "/sign-in", {"token": token, "after": "/"})
    assert answer.status == HTTPStatus.SEE_OTHER
    return answer.headers["set-cookie"].partition(";")[0]


def shown(app: FastAPI, signed_in: str, target: str = "/") -> Element:
    answer = ask(app, "GET", target, {"Cookie": signed_in})
    assert answer.status == HTTPStatus.OK
    assert TOKEN not in answer.body.decode()
    return parse(answer.body)


@pytest.mark.parametrize("target", ["/promotions/global?before=9", "/promotions/global"])
def test_the_form_leads_to_where_one_wanted_to_go(app: FastAPI, target: str) -> None:
    asked = ask(app, "GET", target)
    assert asked.status == HTTPStatus.UNAUTHORIZED
    form = parse(asked.body).one("form")
    fields = {field.attributes["name"]: field.attributes.get("value", "") for field in form.all("input")}
    answer = post(app, form.attributes["action"], fields | {"token": TOKEN})
    assert (answer.status, answer.headers["location"]) == (HTTPStatus.SEE_OTHER, target)
    assert "HttpOnly; SameSite=Strict" in answer.headers["set-cookie"]
    assert TOKEN not in answer.headers["set-cookie"]
    assert shown(app, answer.headers["set-cookie"].partition(";")[0], answer.headers["location"])


def test_a_wrong_token_gets_the_form_again_and_is_not_shown(app: FastAPI) -> None:
    answer = post(app, "/sign-in", {"token": "hunter2", "after": "//evil.example"})
    assert answer.status == HTTPStatus.UNAUTHORIZED
    assert "set-cookie" not in answer.headers
    assert "hunter2" not in answer.body.decode()
    assert "evil" not in answer.body.decode()


def test_every_page_and_the_box_are_for_who_signed_in(app: FastAPI) -> None:
    signed_in = cookie(app)
    for target in ("/", "/promotions/global", "/decisions/global/1"):
        assert shown(app, signed_in, target).one("form", action="/sign-out")
    word = shown(app, signed_in).one("form", action="/sign-out").one("input").attributes["value"]
    rows = table(hourly(40)).write_csv()
    for fields, status in (({"form": word}, 200), ({}, 403), ({"form": "0" * 64}, 403)):
        answer = post(app, "/forecast", {"rows": rows, "level": "0.8"} | fields, Cookie=signed_in)
        assert answer.status == status
        page = parse(answer.body)
        assert bool(page.all(class_="result")) == (status == HTTPStatus.OK)
        assert page.one("textarea").text().split() == rows.split()  # what was pasted is not lost


def test_who_may_read_alone_is_told_so_and_keeps_what_was_pasted(store: Store) -> None:
    rights: list[frozenset[Right]] = [frozenset({"read", "predict"})]
    auth = Auth("127.0.0.1", None, lambda: [Token("reader", rights[0], digest_of(TOKEN.encode()))])
    app = served(store, auth=auth)
    signed_in = cookie(app)
    word = shown(app, signed_in).one("form", action="/sign-out").one("input").attributes["value"]
    assert shown(app, signed_in).all("textarea")
    rights[0] = frozenset({"read"})
    page = shown(app, signed_in)
    assert not page.all("textarea")
    assert "'predict'" in page.one(id="forecast").text()
    answer = post(app, "/forecast", {"rows": "time,load\n1,2", "form": word}, Cookie=signed_in)
    page = parse(answer.body)
    assert answer.status == HTTPStatus.FORBIDDEN
    assert "'predict'" in page.one(id="box-error").text()
    assert page.one("textarea").text().split() == ["time,load", "1,2"]


def test_the_box_is_part_of_a_page_for_readers(store: Store) -> None:
    auth = Auth("127.0.0.1", None, lambda: [Token("caller", frozenset({"predict"}), digest_of(TOKEN.encode()))])
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = post(served(store, auth=auth), "/forecast", {"rows": "a"}, **headers)
    assert answer.status == HTTPStatus.FORBIDDEN
    assert b"Scoreboard" not in answer.body


def test_each_session_has_pages_of_its_own(app: FastAPI) -> None:
    words = {
        shown(app, signed_in).one("form", action="/sign-out").one("input").attributes["value"]
        for signed_in in (cookie(app), cookie(app))
    }
    assert len(words) == 2
    assert not parse(ask(app, "GET", "/", {"Authorization": f"Bearer {TOKEN}"}).body).all("form", action="/sign-out")


def test_the_way_out_ends_the_session_in_the_browser(app: FastAPI) -> None:
    signed_in = cookie(app)
    word = shown(app, signed_in).one("form", action="/sign-out").one("input").attributes["value"]
    assert post(app, "/sign-out", {"form": "0"}, Cookie=signed_in).status == HTTPStatus.FORBIDDEN
    answer = post(app, "/sign-out", {"form": word}, Cookie=signed_in)
    assert (answer.status, answer.headers["location"]) == (HTTPStatus.SEE_OTHER, "/")
    assert "=; Path=/; Max-Age=0" in answer.headers["set-cookie"]


def test_forms_of_other_pages_are_refused_also_where_nobody_signs_in(store: Store, app: FastAPI) -> None:
    foreign = {"Origin": "http://evil.example"}
    assert b"hunter2" not in post(served(store), "/forecast", {"rows": "hunter2"}, **foreign).body
    assert post(app, "/sign-in", {"token": TOKEN}, **foreign).status == HTTPStatus.FORBIDDEN
    assert post(served(store), "/forecast", {"rows": "a"}, **foreign).status == HTTPStatus.FORBIDDEN
    assert post(served(store), "/forecast", {"rows": "a"}, Origin="http://127.0.0.1:8080").status == 422


def test_a_form_larger_than_a_token_is_not_read(app: FastAPI) -> None:
    answer = post(app, "/sign-in", {"token": "a" * MOST})
    assert answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def test_a_cookie_opens_the_page_and_nothing_else(app: FastAPI) -> None:
    signed_in = cookie(app)
    for method, target in (("GET", "/model"), ("GET", "/queue"), ("POST", "/reload"), ("POST", "/predict")):
        assert ask(app, method, target, {"Cookie": signed_in}).status == HTTPStatus.UNAUTHORIZED
