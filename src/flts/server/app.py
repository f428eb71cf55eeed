"""The forecast service: its routes, and what its OpenAPI document says of them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request

from flts.contracts.errors import NoChampion
from flts.server.predict import predict
from flts.server.service import Service
from flts.version import __version__
from flts.web import problem
from flts.web.observed import HttpMetrics, Observed
from flts.web.security import AUTH, Auth
from flts.web.unambiguous import Unambiguous

SERVICE = "serve"


def create_app(service: Service, *, auth: Auth) -> FastAPI:
    """The forecast service, for the requests that `auth` accepts."""
    app = FastAPI(
        title="FLTS forecasts",
        version=__version__,
        docs_url=None,  # these pages load scripts from other servers
        redoc_url=None,
        redirect_slashes=False,
    )
    metrics = HttpMetrics(SERVICE)
    app.state.auth, app.state.service, app.state.metrics = auth, service, metrics
    app.add_route("/predict", predict, methods=["POST"])
    app.add_api_route("/model", model, dependencies=[AUTH])
    app.add_api_route("/healthz", healthz)
    app.add_api_route("/readyz", readyz)
    app.add_api_route("/metrics", metrics_page, response_class=Response)
    problem.answer_with_problems(app)
    app.add_middleware(Unambiguous)
    app.add_middleware(Observed, service=SERVICE, metrics=metrics)
    return app


async def model(request: Request, identifier: str = "global") -> dict[str, Any]:
    """The model that answers for a scope."""
    served = request.app.state.service.model(identifier)
    entry = served.champion.entry
    return {"scope": served.scope, "promotion": entry.number, **entry.champion.model_dump()}


async def healthz() -> dict[str, str]:
    """The process runs and answers."""
    return {"status": "ok"}


async def readyz(request: Request) -> dict[str, str]:
    """A model is loaded and passed its self-test."""
    if not request.app.state.service.models.served:
        raise NoChampion("no model is loaded yet")
    return {"status": "ready"}


async def metrics_page(request: Request) -> Response:
    """Counts and durations in the format of Prometheus."""
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)
