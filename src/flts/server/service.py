"""The way of one request: find the model of its scope, read its history, forecast, say what happened."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus

from flts.contracts.errors import NoChampion
from flts.serve.answer import answer
from flts.server.models import Models, Served
from flts.server.wanted import Answered, Wanted
from flts.web.problem import Problem


@dataclass(frozen=True)
class Service:
    """What all requests share."""

    models: Models

    async def forecast(self, wanted: Wanted, request_id: str) -> Answered:
        """The forecast that a request asks for. Raises Problem."""
        served = self.model(wanted.scope)
        made = await asyncio.to_thread(answer, served.champion.bundle, wanted.history, wanted.level)
        return Answered(made, served, request_id)

    def model(self, scope: str) -> Served:
        """What a scope is served with. Raises Problem 404, or NoChampion before the first load."""
        served = self.models.served.get(scope)
        if served is not None:
            return served
        if not self.models.polled:
            raise NoChampion("no model is loaded yet", scope=scope)
        raise Problem(
            HTTPStatus.NOT_FOUND,
            f"no model is promoted in scope '{scope}'; scopes with one: {', '.join(self.models.served) or 'none'}",
            code="scope-unknown",
        )
