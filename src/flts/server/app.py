"""The forecast service: its routes, and what its OpenAPI document says of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from fastapi import FastAPI
from starlette.middleware import Middleware

from flts.server import invocations, openapi, openinference
from flts.server.endpoint import Endpoint
from flts.server.invocations import Invocations
from flts.server.metrics import ServeMetrics
from flts.server.openinference import Infer
from flts.server.page.routes import add_page
from flts.server.predict import Predict
from flts.server.prompt import PromptForecasts
from flts.server.service import ForecastService, ModelTurns
from flts.server.state import STATE, QueueState
from flts.version import __version__
from flts.web import problem
from flts.web.direct import Direct
from flts.web.observed import Emit, Observed, Observer, at_once
from flts.web.security import Auth
from flts.web.session import Sessions
from flts.web.unambiguous import Unambiguous

SERVICE = "serve"


def create_app(
    service: ForecastService, *, auth: Auth, sessions: Sessions | None = None, emit: Emit = at_once
) -> FastAPI:
    """The forecast service, for the requests that `auth` accepts. `app.state.metrics` holds its ServeMetrics.

    sessions: of those who signed in to the page; emit: logs what happens.
    """
    queue = partial(queue_state, service.turns)
    metrics = ServeMetrics(service.models, queue)
    app = Direct(
        layers=[Middleware(Observed, service=SERVICE, metrics=metrics, emit=emit), Middleware(Unambiguous)],
        complete=openapi.complete,
        title="FLTS forecasts",
        version=__version__,
        description="Forecasts of the promoted models, in original units.",
        docs_url=None,  # these pages load scripts from other servers
        redoc_url=None,
        redirect_slashes=False,
    )
    service.watch(metrics.answered)
    service.turns.waited = metrics.waited
    if service.log is not None:
        metrics.registry.register(service.log)
    app.state.auth, app.state.service, app.state.metrics, app.state.queue = auth, service, metrics, queue
    app.state.sessions = sessions or Sessions(auth)

    endpoints: Mapping[str, type[Endpoint]] = {
        "/predict": Predict,
        invocations.PATH: Invocations,
        **dict.fromkeys(openinference.INFER, Infer),
    }
    observer = Observer(SERVICE, metrics, emit)
    for path, kind in endpoints.items():
        endpoint = kind(service, auth)
        app.add_endpoint(path, endpoint, PromptForecasts(endpoint, metrics, observer))
    app.include_router(STATE)
    app.include_router(invocations.PROBES)
    app.include_router(openinference.PROTOCOL)
    add_page(app)
    problem.answer_with_problems(app, {invocations.PATH: invocations.error, openinference.PREFIX: openinference.error})
    return app


def queue_state(turns: ModelTurns) -> QueueState:
    """How much waits now."""
    return QueueState.model_validate(turns.state())
