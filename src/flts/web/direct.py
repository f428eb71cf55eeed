"""Endpoints that pass no framework, inside an application of one: its layers take as long as a network's forecast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.middleware import Middleware
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from flts.web.described import Described
from flts.web.problem import Answering


class PlainRoute(Route):
    """The route of a plain endpoint; the layers around it find it in the scope, as they find those of FastAPI."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        return match, {**child, "route": self} if match is not Match.NONE else child


class Direct(Described):
    """An application in which some endpoints are called at once. layers: around every endpoint, outermost first."""

    def __init__(self, *, layers: Sequence[Middleware], **options: Any) -> None:
        super().__init__(middleware=layers, **options)
        self._layers = tuple(layers)
        self._direct: dict[str, tuple[PlainRoute, ASGIApp]] = {}

    def add_endpoint(self, path: str, endpoint: ASGIApp) -> None:
        """Let an ASGI endpoint answer POST, before all other routes. One whose path has parameters passes FastAPI."""
        route = PlainRoute(path, endpoint, methods=["POST"])
        self.router.routes.insert(0, route)
        if route.param_convertors:
            return
        within: ASGIApp = Answering(endpoint)
        for layer in reversed(self._layers):
            within = layer.cls(within, *layer.args, **layer.kwargs)
        self._direct[path] = route, within

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._direct.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None:
            await super().__call__(scope, receive, send)
            return
        scope["app"], (scope["route"], endpoint) = self, found
        await endpoint(scope, receive, send)
