"""The routes of the page. Reading, rendering and parsing happen in threads of its own, so that no request waits."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TypeVar

from fastapi import FastAPI
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from flts.contracts import layout
from flts.contracts.canonical import is_digest
from flts.contracts.errors import DamagedObject, DataError, FltsError, NoChampion, Transient, UsageError
from flts.contracts.layout import RunEntry
from flts.server.caller import Caller
from flts.server.models import GLOBAL
from flts.server.page import rendering
from flts.server.page.box import Pasted, Result, box, result, table
from flts.server.page.evidence import Current, PageReader, Recent
from flts.server.page.forms import form_of, text
from flts.server.page.promotions import NEWEST, PAGE
from flts.server.page.shown import moment, moment_of
from flts.server.page.sign_in import sessions_of, sign_in, sign_in_page, sign_out
from flts.server.page.views import decision_view, home_view, promotions_view
from flts.server.served import Served
from flts.server.service import ForecastService, note
from flts.server.wanted import DEFAULT_LEVEL, Answered, Wanted
from flts.spec.steps import SECOND
from flts.web.problem import RETRY_SECONDS, Problem
from flts.web.security import check_right
from flts.web.session import Session

SECONDS = 10.0
"""How long a page waits for the store."""
FORM_SECONDS = 60.0
"""How long the rows of a person may take to arrive."""
THREADS = 2
PAGES = 16
"""First pages that are kept, each for the minute in which it was made."""
READ, SEND = ["GET", "HEAD"], ["POST"]
FOREVER = "public, max-age=31536000, immutable"
T = TypeVar("T")
View = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Submitted:
    """What became of a form: a result, or the error that is said at the box."""

    pasted: Pasted
    status: HTTPStatus = HTTPStatus.OK
    error: str = ""
    result: Result | None = None
    answered: Answered | None = None


@dataclass(frozen=True)
class Bar:
    """Who looks at a page, and the scopes above it. refused: why they may not forecast; empty where they may."""

    scopes: tuple[str, ...]
    session: Session | None
    refused: str


NOTHING = Pasted("", "", b"", DEFAULT_LEVEL)
UNSENT = Submitted(NOTHING)


def add_page(app: FastAPI) -> None:
    """Add the page to the app of a forecast service."""
    page = Pages(app.state.service)
    for path, view, methods in (
        ("/", _guarded(page.home), READ),
        ("/forecast", _guarded(page.forecast), SEND),
        ("/promotions/{scope}", _guarded(page.promotions), READ),
        ("/decisions/{scope}", _guarded(page.decisions), READ),
        ("/decisions/{scope}/{name}", _guarded(page.decision), READ),
        ("/sign-in", sign_in, SEND),
        ("/sign-out", _guarded(sign_out), SEND),
        ("/static/{name}", static, READ),
    ):
        app.add_api_route(path, view, methods=methods, include_in_schema=False, response_model=None)


def _guarded(view: View) -> View:
    """A view for those who may read, and its errors as pages. `request.state.session` is that of who signed in."""

    async def guarded(request: Request) -> Response:
        try:
            request.state.session = sessions_of(request).check(request.scope, "read")
            return await view(request)
        except Problem as problem:
            return _problem_page(request, problem)
        except FltsError as error:
            # the message may name internal addresses, so it goes to the log only
            request.state.reason = str(error)
            return _problem_page(request, _unavailable(error))

    return guarded


def _problem_page(request: Request, problem: Problem) -> Response:
    if problem.status is HTTPStatus.UNAUTHORIZED:
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return sign_in_page(request, problem, here if request.method in READ else "/")
    response = rendering.page("problem.html", problem.status, title=problem.status.phrase, detail=problem.detail)
    response.headers.update(problem.headers)
    return response


def _unavailable(error: FltsError) -> Problem:
    headers = {"Retry-After": str(RETRY_SECONDS)}
    if isinstance(error, NoChampion):
        detail = "No model is loaded yet; /model says why. Load this page again in a moment."
    elif isinstance(error, Transient):
        detail = "The object store does not answer. Forecasts go on; load this page again in a moment."
    else:
        detail, headers = "A stored object cannot be read; the log of the server names it. Forecasts go on.", {}
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers, code=error.code)


class Pages:
    """The views of one service."""

    def __init__(self, service: ForecastService) -> None:
        self._service = service
        self._evidence = PageReader(service.models.store)
        self._pages: Recent[Hashable, Response] = Recent(PAGES)
        self._threads = ThreadPoolExecutor(THREADS, "page")

    async def home(self, request: Request) -> Response:
        """The champion of a scope: the one that is asked for, `global`, or the first there is."""
        bar = self._bar(request)
        if not bar.scopes and self._service.models.polled:
            return await self._run(partial(rendering.page, "empty.html"))
        current = await self._current(request.query_params.get("scope") or _first(bar.scopes))
        target = request.query_params.get("target")
        minute = int(time.time() // 60)  # the page says how long ago things were
        key = current.scope, current.entry_sha256, current.stale_since, target, bar, minute
        return await self._run(partial(self._pages.get, key, partial(self._home, current, bar, target)))

    async def forecast(self, request: Request) -> Response:
        """The same, with the forecast of what was sent, or the reason why there is none."""
        bar = self._bar(request)
        current = await self._current(request.query_params.get("scope") or _first(bar.scopes))
        sent = await self._try(request, current.scope)
        if sent.answered is not None:
            current = _of_served(sent.answered.served)
        return await self._run(partial(self._home, current, bar, None, sent))

    async def _try(self, request: Request, scope: str) -> Submitted:
        """Forecast what a form holds. Raises nothing that its sender can mend: that is said at the box."""
        pasted, sessions = NOTHING, sessions_of(request)
        try:
            sessions.check_origin(request.scope)  # what another page sent is not shown
            self._service.turns.check_room()
            pasted, word = await _read(request, self._service.max_body_bytes)
            sessions.check_form(request.scope, request.state.session, word)
            check_right(request.scope, "predict")  # the page is for readers, and what they sent stays on it
            rows = await self._run(partial(table, pasted, self._service.max_body_bytes))
            caller = Caller(time.monotonic() + SECONDS, token=request.scope["state"].get("token"))
            answered = await self._service.forecast(Wanted(rows, scope, level=pasted.level), caller)
            note(request.scope, answered)
            found = await self._run(partial(result, answered, rows, pasted.level))
            return Submitted(pasted, result=found, answered=answered)
        except Problem as problem:
            return Submitted(pasted, problem.status, problem.detail)
        except (DataError, UsageError) as refused:
            return Submitted(pasted, HTTPStatus.UNPROCESSABLE_ENTITY, str(refused))

    async def promotions(self, request: Request) -> Response:
        """All promotions of a scope, some at a time."""
        current = await self._current(request.path_params["scope"])
        before = request.query_params.get("before", "")
        number = int(before) if re.fullmatch("[0-9]{1,9}", before) else None
        return await self._run(partial(self._promotions, current, self._bar(request), number))

    async def decisions(self, request: Request) -> Response:
        """The decisions of a scope that promoted nothing, of some runs at a time."""
        current = await self._current(request.path_params["scope"])
        before = layout.run_entry_of(request.query_params.get("before", ""))
        return await self._run(partial(self._decisions, current, self._bar(request), before))

    async def decision(self, request: Request) -> Response:
        """One decision, by the number of its promotion or by its id."""
        current = await self._current(request.path_params["scope"])
        name, target = request.path_params["name"], request.query_params.get("target")
        return await self._run(partial(self._decision, current, self._bar(request), name, target))

    def _home(self, current: Current, bar: Bar, target: str | None, sent: Submitted = UNSENT) -> Response:
        manifest = current.manifest or self._evidence.manifest(current.entry.champion.bundle_sha256)
        form = box(manifest, sent.pasted, sent.error, sent.result, bar.refused if sent is UNSENT else "")
        view = home_view(current, manifest, self._evidence, target, form, NEWEST, time.time())
        return rendering.page(
            "home.html", sent.status, view=view, scope=current.scope, scopes=bar.scopes, session=bar.session
        )

    def _promotions(self, current: Current, bar: Bar, before: int | None) -> Response:
        view = promotions_view(current, self._evidence, PAGE, before)
        return rendering.page("promotions.html", view=view, scope=current.scope, scopes=bar.scopes, session=bar.session)

    def _decisions(self, current: Current, bar: Bar, before: RunEntry | None) -> Response:
        found = self._evidence.keeps(current.scope, PAGE, before)
        rows = [(keep, moment(keep.judged), moment_of(keep.last // SECOND)) for keep in found.rows]
        return rendering.page(
            "decisions.html", rows=rows, found=found, scope=current.scope, scopes=bar.scopes, session=bar.session
        )

    def _decision(self, current: Current, bar: Bar, name: str, target: str | None) -> Response:
        entries = self._evidence.promotions_of(current, name)
        if not entries and not is_digest(name):
            raise self._no_decision(current.scope, name)
        try:
            found = self._evidence.behind(entries[0]) if entries else self._evidence.judgement(current.scope, name)
        except DamagedObject as damage:
            if damage.code == "object-missing" and not entries:
                raise self._no_decision(current.scope, name) from None
            raise
        view = decision_view(found, entries, current, target)
        return rendering.page("decision.html", view=view, scope=current.scope, scopes=bar.scopes, session=bar.session)

    def _no_decision(self, scope: str, name: str) -> Problem:
        newest = self._evidence.newest(scope)
        return Problem(
            HTTPStatus.NOT_FOUND,
            f"There is no decision '{name[:70]}' in scope '{scope}'. Those of promotions have the numbers 1 to"
            f" {newest}; one that promoted nothing has its id.",
            code="decision-unknown",
        )

    async def _current(self, scope: str) -> Current:
        """What answers in a scope. A model that was put out of memory is not loaded again for its page."""
        models = self._service.models
        try:
            state, standing = models.known(scope)
        except NoChampion:  # never loaded: there was no room for it yet
            return _of_served(await models.find(scope))
        if state.served is not None:
            return _of_served(state.served)
        stale_since = state.stale.since if state.stale else None
        return Current(scope, standing.entry, standing.sha256, standing.since, stale_since)

    def _bar(self, request: Request) -> Bar:
        refused = ""
        try:
            check_right(request.scope, "predict")
        except Problem as problem:
            refused = problem.detail
        scopes = tuple(state.scope for state in self._service.models.states())
        return Bar(scopes, request.state.session, refused)

    async def _run(self, work: Callable[[], T]) -> T:
        """The result of work in a thread of the page. Raises Problem where the store keeps it waiting."""
        try:
            return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(self._threads, work), SECONDS)
        except TimeoutError:
            detail = f"The object store did not answer within {SECONDS:g} s. Forecasts go on; load this page again."
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": str(RETRY_SECONDS)}, code="store-slow"
            ) from None


def _first(scopes: Sequence[str]) -> str:
    return GLOBAL if GLOBAL in scopes or not scopes else scopes[0]


def _of_served(served: Served) -> Current:
    champion = served.champion
    return Current(
        served.scope,
        champion.entry,
        served.entry_sha256,
        served.since,
        served.stale_since,
        champion.bundle.manifest,
    )


async def _read(request: Request, limit: int) -> tuple[Pasted, str]:
    """What was sent for a forecast, and the word of the page that sent it. Raises Problem."""
    async with form_of(request, limit, FORM_SECONDS) as form:
        file = form.get("file")
        data = await file.read() if isinstance(file, UploadFile) else b""
        name = (file.filename or "") if isinstance(file, UploadFile) else ""
        pasted = Pasted(text(form.get("rows")), name, data, _level(text(form.get("level"))))
        return pasted, text(form.get("form"))


def _level(text: str) -> float:
    """A level as it was sent; one that is not offered is refused where the interval is made."""
    try:
        return float(text or DEFAULT_LEVEL)
    except ValueError:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"'{text[:20]}' is not a level", code="unknown-level") from None


async def static(request: Request) -> Response:
    """A file of the page. It holds no data, so it needs no token."""
    asset = rendering.assets().get(request.path_params["name"])
    if asset is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    headers = dict(rendering.HEADERS)
    if request.query_params.get("v") == asset.version:
        headers["Cache-Control"] = FOREVER
    return Response(asset.data, media_type=asset.media_type, headers=headers)
