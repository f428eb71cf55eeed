"""The applications of both servers: errors are problem documents in OpenAPI, and some endpoints pass no framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from flts.web import problem


class Health(BaseModel):
    """The answer of a probe."""

    status: str


class PlainRoute(Route):
    """The route of a plain endpoint; the layers around it find it in the scope, as they find those of FastAPI."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        return match, {**child, "route": self} if match is not Match.NONE else child


class Described(FastAPI):
    """FastAPI, but for its description of errors, and for endpoints that are called without its layers.

    Those take as long as the forecast of a network. complete: adds to the description what the framework does not know.
    """

    def __init__(self, *, complete: Callable[[dict[str, Any]], None] = lambda document: None, **options: Any) -> None:
        super().__init__(**options)
        self._complete = complete
        self._direct: dict[str, tuple[PlainRoute, ASGIApp]] = {}

    def add_endpoint(self, path: str, endpoint: ASGIApp, layers: Callable[[ASGIApp], ASGIApp]) -> None:
        """Let an ASGI endpoint answer POST, before all other routes.

        layers: what of the layers of the app it needs; a path with parameters has all of them.
        """
        route = PlainRoute(path, endpoint, methods=["POST"])
        self.router.routes.insert(0, route)
        if not route.param_convertors:
            self._direct[path] = route, layers(endpoint)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._direct.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None:
            await super().__call__(scope, receive, send)
            return
        scope["app"], (scope["route"], endpoint) = self, found
        await endpoint(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            described = super().openapi()
            self._complete(described)
            problem.describe(described)
        assert self.openapi_schema is not None
        return self.openapi_schema
