"""What the forecast service says of itself: which models answer, whether it is ready, how much waits."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict, Field

from flts.contracts.records.log import Kind
from flts.server.models import ServedModels
from flts.server.served import ScopeState, Served, Standing
from flts.version import __version__
from flts.web import problem
from flts.web.described import Health
from flts.web.limited import OPEN
from flts.web.observed import HttpMetrics
from flts.web.security import AUTH, REFUSALS

Moment = Annotated[str, Field(description="RFC 3339, UTC.")]


class Version(BaseModel):
    """The version of this service."""

    service: str = "serve"
    flts: str


class QueueState(BaseModel):
    """The queue of one process at this moment."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    depth: int = Field(default=0, ge=0, description="Requests that wait for a model.")
    limit: int = Field(default=0, ge=0, description="Most that may wait; any further one is refused with 429.")
    in_flight: int = Field(default=0, ge=0, description="Requests that a model computes now.")


class Stale(BaseModel):
    """Why the newest promotion of a scope does not answer."""

    since: Moment
    promotion: int = Field(ge=0, description="The newest one; 0 where the log is empty or cannot be read.")
    code: str = Field(description="For programs: stable, while the wording of reason may change.")
    reason: str


class Needs(BaseModel):
    """What a history for this model has to hold, in original units."""

    time_column: str
    columns: list[str]
    future: list[str]
    """Columns that a request has to bring for the rows to forecast."""
    targets: list[str]
    step: str
    timezone: str
    horizon: int = Field(ge=1, description="Rows ahead that the model was trained for.")
    min_history_rows: int = Field(ge=0)
    history_rows: int = Field(ge=0, description="Rows that count; older ones are cut off.")


class ServedModel(BaseModel):
    """The model that answers for a scope. Hashes and scores are those of its promotion."""

    scope: str
    promotion: int = Field(ge=1, description="Number of its entry in the promotion log.")
    newest_promotion: int = Field(ge=0)
    kind: Kind
    promoted: Moment
    actor: str
    since: Moment = Field(description="Since when this process answers with it; RFC 3339, UTC.")
    loaded: bool = Field(description="False where it was put out of memory; the next request loads it again.")
    model: str
    model_type: str
    model_hash: str
    config_hash: str
    data_hash: str
    bundle_sha256: str
    decision_id: str
    run_id: str | None
    model_uri: str
    score: float | None
    rmse: float | None
    mae: float | None
    mse: float | None
    trained_until: Moment | None = Field(description="The last train row; null where it is not loaded.")
    self_test_seconds: float | None
    needs: Needs | None = Field(description="Null where it is not loaded.")
    stale: Stale | None = Field(description="Null where the newest promotion answers.")


class UnservedScope(BaseModel):
    """A scope with a promotion of which no model was loaded yet."""

    scope: str
    newest_promotion: int
    stale: Stale | None = Field(description="Why not; null where it is being loaded, or was not asked for yet.")


class ModelList(BaseModel):
    """All scopes with a promotion, sorted."""

    models: list[ServedModel]
    waiting: list[UnservedScope]


def _models(request: Request) -> ServedModels:
    models: ServedModels = request.app.state.service.models
    return models


Following = Annotated[ServedModels, Depends(_models)]
STATE = APIRouter(tags=["state"])
"""Routes that read what the last poll of the promotion logs left."""


@STATE.get(
    "/model",
    dependencies=[AUTH],
    responses={**REFUSALS, **problem.responses(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE)},
)
async def model(
    models: Following,
    identifier: Annotated[str | None, Query(description="A scope; all of them without it.")] = None,
) -> ServedModel | ModelList:
    """The model that answers for a scope, or all of them."""
    if identifier is not None:
        state, standing = models.known(identifier)
        return described(state, standing)
    states = models.states()
    return ModelList(
        models=[described(state, state.standing) for state in states if state.standing is not None],
        waiting=[
            UnservedScope(scope=state.scope, newest_promotion=state.newest, stale=_stale(state))
            for state in states
            if state.standing is None
        ],
    )


@STATE.get("/healthz")
async def healthz() -> Health:
    """The process runs and answers."""
    return Health(status="ok")


@STATE.get("/readyz", dependencies=[OPEN], responses=problem.responses(HTTPStatus.SERVICE_UNAVAILABLE))
async def readyz(models: Following) -> Health:
    """A model is loaded and passed its self-test: of the named scopes, else of `global` if it has one, else any."""
    models.check_ready()
    return Health(status="ready")


@STATE.get("/queue", dependencies=[AUTH], responses=REFUSALS)
async def queue(request: Request) -> QueueState:
    """How many requests wait, how many may, and how many are computed."""
    state: QueueState = request.app.state.queue()
    return state


@STATE.post("/reload", dependencies=[AUTH], status_code=HTTPStatus.ACCEPTED, responses=REFUSALS)
async def reload(models: Following) -> Health:
    """Poll the promotion logs at once, and try again what could not be loaded."""
    models.hurry()
    return Health(status="polling")


@STATE.get("/version")
async def version() -> Version:
    """The version of this service."""
    return Version(flts=__version__)


@STATE.get(
    "/metrics",
    dependencies=[AUTH],
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, **REFUSALS},
)
def metrics(request: Request) -> Response:
    """Counts, durations and the state of every model in the format of Prometheus.

    Written in a thread, which asks the event loop how long it takes to turn.
    """
    measured: HttpMetrics = request.app.state.metrics
    return Response(generate_latest(measured.registry), media_type=CONTENT_TYPE_LATEST)


def described(state: ScopeState, standing: Standing) -> ServedModel:
    """A scope of which a model was loaded, as `GET /model` shows it."""
    entry = standing.entry
    return ServedModel(
        scope=state.scope,
        promotion=entry.number,
        newest_promotion=state.newest,
        kind=entry.kind,
        promoted=entry.time,
        actor=entry.actor,
        since=_moment(standing.since),
        loaded=state.served is not None,
        decision_id=entry.decision_id,
        trained_until=_trained_until(state.served),
        self_test_seconds=None if state.served is None else state.served.self_test_seconds,
        needs=None if state.served is None else _needs(state.served),
        stale=_stale(state),
        **entry.champion.model_dump(exclude={"weights"}),
    )


def _stale(state: ScopeState) -> Stale | None:
    stale = state.stale
    if stale is None:
        return None
    return Stale(since=_moment(stale.since), promotion=stale.head.number, code=stale.code, reason=stale.reason)


def _needs(served: Served) -> Needs:
    bundle = served.champion.bundle
    manifest, grid = bundle.manifest, bundle.model.task.fitted.grid
    return Needs(
        time_column=manifest.time_column,
        columns=list(manifest.columns),
        future=list(bundle.given),
        targets=list(manifest.targets),
        step=str(grid.step),
        timezone=grid.timezone,
        horizon=manifest.horizon,
        min_history_rows=manifest.min_history_rows,
        history_rows=bundle.rows_used,
    )


def _trained_until(served: Served | None) -> str | None:
    return None if served is None else _moment(served.champion.bundle.manifest.trained_until / 1e9)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
