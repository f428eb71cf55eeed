"""Signing in and out: the form that asks for a token, and the cookie that stands for it afterwards."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from flts.server.page import rendering
from flts.server.page.forms import form_of, text
from flts.web.problem import Problem
from flts.web.session import Sessions, place_after

MOST = 2**16
"""Bytes of the form with a token."""
SECONDS = 10.0
"""How long it may take to arrive: anybody may send one."""


def sessions_of(request: Request) -> Sessions:
    """The sessions of the server that answers."""
    sessions: Sessions = request.app.state.sessions
    return sessions


def sign_in_page(request: Request, problem: Problem, after: str) -> Response:
    """A form that asks for a token, and goes on to `after`."""
    seen = sessions_of(request).open_to_readers(request.scope)
    response = rendering.page(
        "sign_in.html", problem.status, detail=problem.detail, after=place_after(after), seen=seen
    )
    response.headers.update(problem.headers)
    return response


async def sign_in(request: Request) -> Response:
    """Begin a session with a token, and go on to where the form was asked for."""
    after = "/"
    try:
        async with form_of(request, MOST, SECONDS) as form:
            after = place_after(text(form.get("after")))
            cookie = sessions_of(request).sign_in(request.scope, text(form.get("token")))
    except Problem as problem:
        return sign_in_page(request, problem, after)
    return RedirectResponse(after, HTTPStatus.SEE_OTHER, {"Set-Cookie": cookie})


async def sign_out(request: Request) -> Response:
    """End the session in this browser. Raises Problem for a form of another page."""
    sessions = sessions_of(request)
    async with form_of(request, MOST, SECONDS) as form:
        sessions.check_form(request.scope, request.state.session, text(form.get("form")))
    return RedirectResponse("/", HTTPStatus.SEE_OTHER, {"Set-Cookie": sessions.sign_out(request.scope)})
