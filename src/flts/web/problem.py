"""Every error over HTTP is a problem document (RFC 9457): one form, for people and for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from flts.contracts.errors import FltsError, NameTaken, NoChampion, Transient

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5
"""How long a client should wait when a backend did not answer."""
AWAY = "the object store does not answer"
SCHEMA = {
    "type": "object",
    "description": "RFC 9457. `detail` says what is wrong and what is valid.",
    "required": ["type", "title", "status", "code", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": {"type": "string", "description": "The name of the status."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "code": {"type": "string", "description": "For programs: stable, while the wording of detail may change."},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "The id of the request, also in X-Request-Id and in the log."},
    },
    "additionalProperties": False,
}


class Problem(Exception):
    """Ends a request with this status and detail. code: for programs; the name of the status by default."""

    def __init__(
        self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None, *, code: str | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})
        self.code = code or status.name.lower().replace("_", "-")


Form = Callable[[Problem, str], Response]
"""Writes a problem; the text is the id of the request."""


def document(problem: Problem, request_id: str) -> JSONResponse:
    """The response for a problem."""
    body = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": int(problem.status),
        "code": problem.code,
        "detail": problem.detail,
        "instance": f"urn:uuid:{request_id}",
    }
    return JSONResponse(body, int(problem.status), problem.headers, MEDIA_TYPE)


def written(problem: Problem, scope: Scope) -> Response:
    """The response for a problem in the form of the path that was asked for."""
    path, forms = scope["path"], getattr(scope["app"].state, "forms", {})
    form = next((form for start, form in forms.items() if path == start or path.startswith(f"{start}/")), document)
    response: Response = form(problem, scope["state"]["request_id"])
    return response


def responses(
    *statuses: HTTPStatus, schema: str = "Problem", media_type: str = MEDIA_TYPE
) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of the problems of a route. schema: of the form that they have there."""
    content = {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {int(status): {"description": status.phrase, "content": content} for status in statuses}


def describe(openapi: dict[str, Any]) -> None:
    """Replace the framework's description of invalid requests by that of problem documents."""
    schemas = openapi["components"]["schemas"]
    schemas["Problem"] = SCHEMA
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    operations = [operation for path in openapi["paths"].values() for operation in path.values()]
    for operation in operations:
        if "application/json" in operation["responses"].get("422", {}).get("content", {}):
            del operation["responses"]["422"]


def answer_with_problems(app: FastAPI, forms: Mapping[str, Form] = MappingProxyType({})) -> None:
    """Answer every expected error of an app with a problem document, and count it in `app.state.metrics`.

    The outermost layer answers all others, without details of the inside. forms: how errors are written at a path and
    below it, where another protocol says how.
    """
    app.state.forms = forms
    for kind, handler in _handlers().items():
        app.add_exception_handler(kind, handler)


class Answering:
    """The same for an endpoint that is called without the framework, in a scope that names its `app`."""

    def __init__(self, endpoint: ASGIApp) -> None:
        self._endpoint, self._handlers = endpoint, _handlers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._endpoint(scope, receive, send)
        except Exception as error:  # each error has the answer of its class; one that has none is raised again
            handler = next((self._handlers[kind] for kind in type(error).__mro__ if kind in self._handlers), None)
            if handler is None:
                raise
            await handler(Request(scope, receive), error)(scope, receive, send)


Handler = Callable[[Request, Exception], Response]


def _handlers() -> dict[type[Exception], Handler]:
    return {
        Problem: _problem,
        HTTPException: _http,
        RequestValidationError: _invalid,
        FltsError: _failed,
        NameTaken: _taken,
    }


def _answer(request: Request, problem: Problem) -> Response:
    request.app.state.metrics.refused(problem.code)
    return written(problem, request.scope)


def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _answer(request, error)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status, headers = HTTPStatus(error.status_code), dict(error.headers or {})
    path = request.url.path[:200]
    match status:
        case HTTPStatus.NOT_FOUND:
            detail = f"not found: {path}; see /openapi.json for what there is"
        case HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_methods(request))
            detail = f"{request.method[:20]} is not allowed for {path}; allowed: {headers['Allow']}"
        case _:
            detail = str(error.detail)
    return _answer(request, Problem(status, detail, headers))


def _methods(request: Request) -> Sequence[str]:
    """Every method of a path. The matched route knows only its own."""
    route = request.scope.get("route")
    described = request.app.openapi()["paths"].get(getattr(route, "path_format", ""))
    return sorted(map(str.upper, described or getattr(route, "methods", None) or {"GET"}))


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg']}" for fault in error.errors()]
    return _answer(request, Problem(HTTPStatus.BAD_REQUEST, "; ".join(faults)))


def _failed(request: Request, error: Exception) -> Response:
    # the message may name internal addresses, so it goes to the log only
    assert isinstance(error, FltsError)
    request.state.reason = str(error)
    if isinstance(error, Transient):
        what = "no model is loaded yet (GET /model says why)" if isinstance(error, NoChampion) else AWAY
        detail = f"{what}; try again in {RETRY_SECONDS} s"
        headers = {"Retry-After": str(RETRY_SECONDS)}
        return _answer(request, Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers, code=error.code))
    detail = "the object store refused the request; see the log of this server"
    return _answer(request, Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, code=error.code))


def _taken(request: Request, _error: Exception) -> Response:
    detail = "this store keeps objects as files: the key names a folder, or lies below an object; use another"
    return _answer(request, Problem(HTTPStatus.CONFLICT, detail, code="name-taken"))
