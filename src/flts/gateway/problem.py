"""Every error over HTTP is a problem document (RFC 9457): one shape, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from flts.contracts.errors import FltsError, NameTaken, Transient

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5
"""What a client is told to wait when a backend did not answer."""
SCHEMA = {
    "type": "object",
    "description": "RFC 9457. `detail` says what was found and what would fit.",
    "required": ["type", "title", "status", "code", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": {"type": "string", "description": "The name of the status."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "code": {"type": "string", "description": "For programs: it stays when the words of detail change."},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "The id of the request, also in X-Request-Id and in the log."},
    },
    "additionalProperties": False,
}


class Problem(Exception):
    """A request that ends with this status and these words; code: for programs, without one that of the status."""

    def __init__(
        self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None, *, code: str | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})
        self.code = code or status.name.lower().replace("_", "-")


def document(problem: Problem, request_id: str) -> JSONResponse:
    """The answer that a problem is."""
    body = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": int(problem.status),
        "code": problem.code,
        "detail": problem.detail,
        "instance": f"urn:uuid:{request_id}",
    }
    return JSONResponse(body, int(problem.status), problem.headers, MEDIA_TYPE)


def responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of the problems of a route."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {int(status): {"description": status.phrase, "content": content} for status in statuses}


def describe(openapi: dict[str, Any]) -> None:
    """Replace what the framework says of invalid requests by what is answered here."""
    schemas = openapi["components"]["schemas"]
    schemas["Problem"] = SCHEMA
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    operations = [operation for path in openapi["paths"].values() for operation in path.values()]
    for operation in operations:
        if "application/json" in operation["responses"].get("422", {}).get("content", {}):
            del operation["responses"]["422"]


def answer_with_problems(app: FastAPI) -> None:
    """Let every error of an app that a person can do something about be a problem document.

    What is left over is for the outermost layer: it knows how to say that something broke without saying what.
    """
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(FltsError, _no_store)
    app.add_exception_handler(NameTaken, _taken)


def _said(request: Request, problem: Problem) -> JSONResponse:
    return document(problem, request.state.request_id)


def _problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return _said(request, error)


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status, headers = HTTPStatus(error.status_code), dict(error.headers or {})
    path = request.url.path[:200]
    match status:
        case HTTPStatus.NOT_FOUND:
            detail = f"there is nothing at {path}; /openapi.json says what there is"
        case HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_methods(request))
            detail = f"{request.method[:20]} is not for {path}; {headers['Allow']} is"
        case _:
            detail = str(error.detail)
    return _said(request, Problem(status, detail, headers))


def _methods(request: Request) -> Sequence[str]:
    """Every method of a path; the route that was found knows only its own."""
    route = request.scope.get("route")
    described = request.app.openapi()["paths"].get(getattr(route, "path_format", ""))
    return sorted(map(str.upper, described or getattr(route, "methods", None) or {"GET"}))


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = [f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg']}" for fault in error.errors()]
    return _said(request, Problem(HTTPStatus.BAD_REQUEST, "; ".join(faults)))


def _no_store(request: Request, error: Exception) -> JSONResponse:
    # the message names addresses inside, and is for the log
    assert isinstance(error, FltsError)
    request.state.reason = str(error)
    if isinstance(error, Transient):
        words = f"the object store does not answer; try again in {RETRY_SECONDS} s"
        later = {"Retry-After": str(RETRY_SECONDS)}
        return _said(request, Problem(HTTPStatus.SERVICE_UNAVAILABLE, words, later, code=error.code))
    words = "the object store refused the request; the log of the gateway has the reason"
    return _said(request, Problem(HTTPStatus.SERVICE_UNAVAILABLE, words, code=error.code))


def _taken(request: Request, _error: Exception) -> JSONResponse:
    words = "this store keeps objects as files, and there is a folder of this name or a file above it; take another key"
    return _said(request, Problem(HTTPStatus.CONFLICT, words, code="name-taken"))
