"""The object store over HTTP: raw inputs can be uploaded, results can only be read."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from fastapi import APIRouter, FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from flts.contracts.errors import BackendUnavailable
from flts.contracts.ports import StreamedStore
from flts.gateway.objects import OBJECTS, Gateway, Served
from flts.gateway.room import BYTES_IN_FLIGHT, Room
from flts.version import __version__
from flts.web import problem
from flts.web.connections import IDLE_SECONDS
from flts.web.described import Described, Health
from flts.web.limited import OPEN
from flts.web.observed import HttpMetrics, Observed
from flts.web.security import Auth
from flts.web.unambiguous import Unambiguous

PROBE_SECONDS = 3.0
"""How long a readiness probe waits for the store."""
SERVICE = "gateway"


_health = APIRouter(tags=["health"])


def create_app(
    store: StreamedStore,
    *,
    auth: Auth,
    max_object_bytes: int,
    max_bytes_in_flight: int = BYTES_IN_FLIGHT,
    idle_seconds: float = IDLE_SECONDS,
) -> FastAPI:
    """The gateway to a store, for the requests that `auth` accepts."""
    app = Described(
        title="FLTS gateway",
        version=__version__,
        description=(__doc__ or "").strip(),
        docs_url=None,  # these pages load scripts from other servers
        redoc_url=None,
        redirect_slashes=False,
    )
    metrics = HttpMetrics(SERVICE)
    app.state.auth, app.state.metrics = auth, metrics
    app.state.gateway = Gateway(store, max_object_bytes, idle_seconds, metrics, Room(max_bytes_in_flight))
    app.include_router(_health)
    app.include_router(OBJECTS)
    problem.answer_with_problems(app)
    app.add_middleware(Unambiguous)
    app.add_middleware(Observed, service=SERVICE, metrics=metrics)
    return app


@_health.get("/healthz")
async def healthz() -> Health:
    """The process runs and answers."""
    return Health(status="ok")


@_health.get("/readyz", dependencies=[OPEN], responses=problem.responses(HTTPStatus.SERVICE_UNAVAILABLE))
async def readyz(gateway: Served) -> Health:
    """The object store answers; it is asked at every request."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await gateway.store.probe()
    except TimeoutError:
        raise BackendUnavailable(
            f"{gateway.store.url} did not answer in {PROBE_SECONDS:g} s", code="no-answer", url=gateway.store.url
        ) from None
    return Health(status="ready")


@_health.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(gateway: Served) -> Response:
    """Counts of requests and bytes, and durations, in the format of Prometheus."""
    return Response(generate_latest(gateway.metrics.registry), media_type=CONTENT_TYPE_LATEST)
