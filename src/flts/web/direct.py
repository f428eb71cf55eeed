"""Endpoints that pass no framework, inside an application of one: its layers take as long as a network's forecast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from starlette.middleware import Middleware
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from flts.web.cycle import Cycle, Header
from flts.web.described import Described
from flts.web.problem import Answering
from flts.web.shortcuts import Start


class PlainRoute(Route):
    """The route of a plain endpoint; the layers around it find it in the scope, as they find those of FastAPI."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        return match, {**child, "route": self} if match is not Match.NONE else child


END = b"\r\n\r\n"
REMEMBERED, LONGEST = 256, 4096
"""Most heads that are remembered, and most bytes of one."""
HEAD = {"type": "http", "method": "POST", "http_version": "1.1"}


class Prompt(Protocol):
    """What an endpoint does without a task."""

    def refusal(self, scope: Scope, common: Sequence[Header]) -> bytes | None:
        """As `Shortcuts.refusal`. scope: what ASGI would say of the head."""

    def again(self, route: str, common: Sequence[Header]) -> bytes | None:
        """The answer to a POST like one that was refused. None where that is no longer refused."""

    def answer(self, cycle: Cycle, start: Start) -> bool:
        """As `Shortcuts.prompt`."""


class Direct(Described):
    """An application in which some endpoints are called at once. layers: around every endpoint, outermost first."""

    def __init__(self, *, layers: Sequence[Middleware], **options: Any) -> None:
        super().__init__(middleware=layers, **options)
        self._layers = tuple(layers)
        self._direct: dict[str, tuple[PlainRoute, ASGIApp]] = {}
        self._prompt: dict[str, tuple[PlainRoute, Prompt]] = {}
        self._refused: dict[bytes, tuple[int, str]] = {}
        """Heads that were refused, each with the length of the body that it announces and the path that it names."""

    def add_endpoint(self, path: str, endpoint: ASGIApp, prompt: Prompt | None = None) -> None:
        """Let an ASGI endpoint answer POST, before all other routes. One whose path has parameters passes FastAPI.

        prompt: answers what it can without a task, and without the layers.
        """
        route = PlainRoute(path, endpoint, methods=["POST"])
        self.router.routes.insert(0, route)
        if route.param_convertors:
            return
        within: ASGIApp = Answering(endpoint)
        for layer in reversed(self._layers):
            within = layer.cls(within, *layer.args, **layer.kwargs)
        self._direct[path] = route, within
        if prompt is not None:
            self._prompt[path] = route, prompt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._direct.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None:
            await super().__call__(scope, receive, send)
            return
        scope["app"], (scope["route"], endpoint) = self, found
        await endpoint(scope, receive, send)

    def refusal(
        self, target: bytes, method: bytes, headers: Sequence[Header], common: Sequence[Header]
    ) -> bytes | None:
        """As `Shortcuts` says. target: one with a query or in another spelling goes the way of ASGI."""
        found = self._prompt.get(target.decode("latin-1")) if method == b"POST" else None
        if found is None:
            return None
        route, prompt = found
        return prompt.refusal({"app": self, "route": route, "path": route.path, "headers": headers, **HEAD}, common)

    def remember(self, data: bytes, target: bytes, headers: Sequence[Header]) -> None:
        """As `Shortcuts` says. Where heads differ from request to request, they replace each other."""
        size = data.find(END) + len(END)
        length = next((int(value) for name, value in headers if name == b"content-length"), None)
        if length == len(data) - size and size <= LONGEST:
            if len(self._refused) >= REMEMBERED:
                self._refused.clear()
            self._refused[data[:size]] = length, target.decode("latin-1")

    def again(self, data: bytes, common: Sequence[Header]) -> bytes | None:
        """As `Shortcuts` says. Most requests of an overload have the same head: to read each takes twice as long."""
        if not self._refused:
            return None
        size = data.find(END) + len(END)
        length, path = self._refused.get(data[:size], (-1, ""))
        if length != len(data) - size:
            return None
        answer = self._prompt[path][1].again(path, common)
        if answer is None:
            self._refused.clear()
        return answer

    def prompt(self, cycle: Cycle, start: Start) -> bool:
        """As `Shortcuts` says."""
        scope = cycle.scope
        found = self._prompt.get(scope["path"]) if scope["method"] == "POST" else None
        if found is None:
            return False
        scope["app"], (scope["route"], prompt) = self, found
        return prompt.answer(cycle, start)
