"""Requests that are answered or refused where they were read: without a task, without messages of ASGI.

Only what is plain comes this way: a body that is there as a whole, a model that is in memory, a history that waits as
its cells. The endpoint decides about everything else, and finds the words of each refusal but one: where the queue is
full, a request is refused by its head alone, so that it costs a fraction of an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from http import HTTPStatus

from starlette.requests import ClientDisconnect
from starlette.types import Scope

from flts.contracts.request_ids import uuid7
from flts.server.caller import caller_of
from flts.server.endpoint import ACCEPTED, READ, Endpoint, Write, answer_headers
from flts.server.service import note
from flts.server.turns import FULL
from flts.server.wanted import Answered
from flts.web.cycle import Cycle, Header
from flts.web.observed import CLIENT_GONE, HttpMetrics, Observer, with_ours
from flts.web.problem import Problem, written
from flts.web.security import header_of
from flts.web.shortcuts import PLACE, Ready, Start
from flts.web.unambiguous import ambiguity


class PromptForecasts:
    """The prompt answers of one endpoint."""

    def __init__(self, endpoint: Endpoint, metrics: HttpMetrics, observer: Observer) -> None:
        self._endpoint, self._service = endpoint, endpoint.service
        self._metrics, self._observer = metrics, observer
        self._full: Ready | None = None

    def refusal(self, scope: Scope, common: Sequence[Header]) -> bytes | None:
        """The answer to a request that comes while the queue is full. None where its head has to be looked at."""
        turns = self._service.turns
        if not turns.full or ambiguity(scope) is not None:
            return None
        full = self._full = self._full or Ready(*_parts(turns.refusal(), {**scope, "state": {"request_id": PLACE}}))
        self._observer.begin(scope)
        self._metrics.refused(FULL)
        self._observer.end(scope, full.status, 0, full.length)
        return full.to(scope["state"]["request_id"], common)

    def again(self, route: str, common: Sequence[Header]) -> bytes | None:
        """The answer to a request with the head of one that was refused. None where the queue is full no more."""
        full = self._full
        if full is None or not self._service.turns.full:
            return None
        self._observer.refused_alike(route, FULL, full.status, full.length)
        return full.to(uuid7(), common)

    def answer(self, cycle: Cycle, start: Start) -> bool:
        """Whether a request is answered or refused without a task; `start` lets one answer it after all."""
        scope = cycle.scope
        if ambiguity(scope) is not None:
            return False
        self._observer.begin(scope)
        try:
            self._endpoint.auth.check(scope, "predict")
            scope["state"][ACCEPTED] = True
            self._service.turns.check_room()
            return self._ask(cycle, start)
        except Problem as problem:
            if problem.status != HTTPStatus.TOO_MANY_REQUESTS:
                return False
            self._refuse(cycle, problem)
            return True

    def _ask(self, cycle: Cycle, start: Start) -> bool:
        """Let a forecast wait for its turn. Raises Problem."""
        scope, service = cycle.scope, self._service
        if header_of(scope, b"content-encoding") is not None or len(cycle.body) > service.max_body_bytes:
            return False
        read = self._endpoint.glance(bytes(cycle.body))
        if read is None:
            return False
        scope["state"][READ] = read
        wanted, write = read
        caller = caller_of(scope, cycle.gone, service.request_seconds)
        return service.ask(wanted, caller, partial(self._tell, cycle, start, write))

    def _tell(self, cycle: Cycle, start: Start, write: Write, found: Answered | Exception | None) -> None:
        if isinstance(found, Answered):
            try:
                note(cycle.scope, found)
                data = write(found)
            except Exception:  # noqa: BLE001 - the endpoint meets it again, and the layers around it log and answer it
                start(cycle)
                return
            self._send(cycle, HTTPStatus.OK, with_ours(answer_headers(data), cycle.scope["state"]), data)
        elif isinstance(found, Problem):
            self._refuse(cycle, found)
        elif isinstance(found, ClientDisconnect):
            self._observer.end(cycle.scope, CLIENT_GONE, len(cycle.body), 0)
        else:
            start(cycle)

    def _refuse(self, cycle: Cycle, problem: Problem) -> None:
        self._metrics.refused(problem.code)
        self._send(cycle, *_parts(problem, cycle.scope))

    def _send(self, cycle: Cycle, status: int, headers: list[Header], data: bytes) -> None:
        cycle.answer(status, headers, data)
        self._observer.end(cycle.scope, status, len(cycle.body), len(data))


def _parts(problem: Problem, scope: Scope) -> tuple[int, list[Header], bytes]:
    """Status, headers and body of a refusal."""
    response = written(problem, scope)
    return response.status_code, with_ours(response.raw_headers, scope["state"]), bytes(response.body)
