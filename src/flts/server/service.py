"""The way of one request: find the model of its scope, read its history, forecast, say what happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus

from starlette.types import Scope

from flts.contracts import events
from flts.contracts.errors import DataError, NotApplicable, TrainingFailed, UsageError
from flts.contracts.request_ids import new_request_id
from flts.forecasting.bundle import Bundle
from flts.serve.answer import refuse_unavailable
from flts.server.caller import NOBODY, Caller
from flts.server.columns import usable
from flts.server.models import ServedModels
from flts.server.prediction_log import PredictionLog
from flts.server.questions import Question, Told, answer_together, plain, windows_of
from flts.server.served import Served
from flts.server.turns import Turns
from flts.server.wanted import Answered, Wanted
from flts.web.problem import Problem

UNFIT = (DataError, UsageError, NotApplicable, TrainingFailed)
"""What is wrong with a request: its history, its level or its horizon does not fit the model."""
QUEUE_LIMIT, REQUEST_SECONDS, BODY_BYTES = 256, 1.0, 4 * 2**20

Watcher = Callable[[Answered], None]
"""Is told of every answer. Called on the event loop, so it takes microseconds and raises nothing."""


ModelTurns = Turns[Question, "Told | None"]


def model_turns(limit: int) -> ModelTurns:
    """The turns of a service. limit: most requests that wait."""
    return Turns(limit, answer_together)


@dataclass(frozen=True)
class ForecastService:
    """What all requests share.

    log: where answers are kept; request_seconds: what a request may take unless its head says otherwise;
    max_body_bytes: of one request.
    """

    models: ServedModels
    log: PredictionLog | None = None
    turns: ModelTurns = field(default_factory=lambda: model_turns(QUEUE_LIMIT))
    request_seconds: float = REQUEST_SECONDS
    max_body_bytes: int = BODY_BYTES
    _watchers: list[Watcher] = field(default_factory=list)

    async def forecast(self, wanted: Wanted, caller: Caller = NOBODY) -> Answered:
        """The forecast that a request asks for. Raises Problem, and ClientDisconnect where nobody waits any more."""
        served = await self.models.find(wanted.scope, caller.until)
        refuse_other(served.scope, served.champion.entry.number, wanted.promotion)
        bundle = served.champion.bundle
        try:
            refuse_unavailable(bundle, wanted.level, wanted.horizon)
            told = await self._told(bundle, wanted, caller)
        except UNFIT as error:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), code=error.code) from None
        return self._answered(told, served, wanted, caller)

    def ask(self, wanted: Wanted, caller: Caller, tell: Callable[[Answered | Exception | None], None]) -> bool:
        """Ask for a forecast without waiting for it; False for one that only `forecast` can make.

        tell: gets the answer, or what `forecast` would raise; None where that has to be asked. Raises Problem 429.
        """
        served = self.models.loaded(wanted.scope)
        if served is None or wanted.promotion is not None:
            return False
        bundle, history = served.champion.bundle, wanted.history
        if wanted.future is not None or not plain(history, bundle, wanted.horizon):
            return False

        def told(found: Told | Exception | None) -> None:
            made: Answered | Exception | None
            try:
                made = self._answered(found, served, wanted, caller) if isinstance(found, Told) else found
            except Exception as error:  # noqa: BLE001 - others of the batch wait to be told, too
                made = error
            tell(made)

        question, windows = Question(history, wanted.level, wanted.horizon), windows_of(history, bundle)
        self.turns.put(bundle, question, windows, told, caller.until, caller.gone)
        return True

    def _answered(self, told: Told, served: Served, wanted: Wanted, caller: Caller) -> Answered:
        """An answer, and everybody who watches has heard of it."""
        answered = Answered(told.answer, served, new_request_id(served.scope, caller.unique), caller)
        if self.log is not None:
            self.log.record(answered, wanted.level, told.rows, token=caller.token, caller_id=caller.id)
        for watch in self._watchers:
            watch(answered)
        return answered

    async def _told(self, bundle: Bundle, wanted: Wanted, caller: Caller) -> Told:
        """The answer of a model. A plain history waits as it is, and is read with those that wait beside it."""
        history, until = wanted.history, caller.until
        if wanted.future is None and plain(history, bundle, wanted.horizon):
            question = Question(history, wanted.level, wanted.horizon)
            told = await self.turns.take(bundle, question, windows_of(history, bundle), until, caller.gone)
            if told is not None:
                return told
        rows, warnings = await usable(bundle, history, wanted.future, wanted.horizon)
        question = Question(rows, wanted.level, wanted.horizon, warnings)
        told = await self.turns.take(bundle, question, bundle.windows(rows), until, caller.gone)
        assert told is not None  # it was read
        return told

    def watch(self, watcher: Watcher) -> None:
        """Tell this one of every answer from now on."""
        self._watchers.append(watcher)


def refuse_other(scope: str, served: int, promotion: int | None) -> None:
    """Raise Problem where another promotion of a scope is served than the one that is asked for, if any is."""
    if promotion not in {None, served}:
        raise Problem(
            HTTPStatus.NOT_FOUND,
            f"promotion {promotion} of scope '{scope}' is not served; number {served} is",
            code="promotion-unknown",
        )


def note(scope: Scope, answered: Answered) -> None:
    """Tell the layers around an endpoint what it answers: they log it, and put the id of the request into the head."""
    state = scope["state"]
    state["request_id"], state["caller_id"] = answered.request_id, answered.caller.id
    state["event"] = partial(_served_event, answered, scope["path"])


def _served_event(answered: Answered, path: str, ms: float, received: int, sent: int) -> events.Happened:
    caller, answer = answered.caller, answered.answer
    return answered.served.once(_forecast_served).happened(
        forecasts=answer.mean.size,
        request_id=answered.request_id,
        caller_id=caller.id,
        token=caller.token,
        route=path,
        interval=answer.interval,
        duration_ms=round(ms, 2),
        received=received,
        sent=sent,
    )


def _forecast_served(served: Served) -> events.Often:
    entry = served.champion.entry
    return events.Often(
        events.ForecastServed,
        service="serve",
        config_hash=entry.champion.config_hash,
        model_type=entry.champion.model_type,
        promotion=entry.number,
        scope=served.scope,
    )
