"""MLflow's scoring protocol: `POST /invocations`, for programs that ask an `mlflow models serve`.

A body is one history in any of MLflow's forms, and an answer holds the rows of `/predict`. Times are text: pandas
writes counts of milliseconds unless it is told otherwise, and nothing says of which clock they are.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response

from flts.contracts.errors import DataError
from flts.preprocess.times import quoted
from flts.server.body import cells_of, parse_body, parse_json, refuse_unknown, unfit, wanted
from flts.server.columns import NAME, Cells, shown
from flts.server.document import forecasts
from flts.server.endpoint import Endpoint, Write
from flts.server.models import ServedModels
from flts.server.sent import read_sent
from flts.server.wanted import Answered, Wanted
from flts.web import problem
from flts.web.limited import OPEN
from flts.web.problem import Problem

PATH = "/invocations"
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
PARAMS = ("horizon", "level", "identifier")
JSON, CSV, TEXT = "application/json", "text/csv", "text/plain"
CODES = {
    HTTPStatus.BAD_REQUEST: "BAD_REQUEST",
    HTTPStatus.UNAUTHORIZED: "UNAUTHENTICATED",
    HTTPStatus.FORBIDDEN: "PERMISSION_DENIED",
    HTTPStatus.NOT_FOUND: "RESOURCE_DOES_NOT_EXIST",
    HTTPStatus.TOO_MANY_REQUESTS: "REQUEST_LIMIT_EXCEEDED",
    HTTPStatus.SERVICE_UNAVAILABLE: "TEMPORARILY_UNAVAILABLE",
    HTTPStatus.GATEWAY_TIMEOUT: "DEADLINE_EXCEEDED",
}
"""What MLflow calls a status; any other one is a BAD_REQUEST."""

_ALIVE = {
    200: {"description": "Ready.", "content": {TEXT: {"schema": {"type": "string"}}}},
    **problem.responses(HTTPStatus.SERVICE_UNAVAILABLE),
}
PROBES = APIRouter(tags=["MLflow"])
"""How a client of MLflow asks whether a server is ready."""


@PROBES.get("/ping", dependencies=[OPEN], response_class=Response, responses=_ALIVE)
@PROBES.get("/health", dependencies=[OPEN], response_class=Response, responses=_ALIVE)
async def ping(request: Request) -> Response:
    """As `GET /readyz`; the answer is an empty line."""
    models: ServedModels = request.app.state.service.models
    models.check_ready()
    return Response("\n", media_type=TEXT)


class Invocations(Endpoint):
    """MLflow's protocol."""

    async def read(self, request: HTTPConnection, body: bytes) -> tuple[Wanted, Write]:
        """A body of JSON or CSV, as its Content-Type says."""
        if _media_type(request.headers.get("content-type", "")) == JSON:
            return await parse_body(read_json, body), to_predictions
        # even a short CSV: the first one imports polars, and other requests would wait for that
        return await asyncio.to_thread(read_csv, body, self.service.max_body_bytes), to_predictions


def _media_type(content_type: str) -> str:
    """The media type of a body. Raises Problem 415 for any but JSON and CSV in UTF-8."""
    media, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if media not in {JSON, CSV} or any(part not in {"charset=utf-8", 'charset="utf-8"'} for part in parameters):
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Type is {content_type[:100]!r}; {JSON} and {CSV} fit, in UTF-8",
            code="media-type-unknown",
        )
    return media


def read_csv(body: bytes, most: int) -> Wanted:
    """What a table in CSV asks for. most: bytes that a request may have. Raises Problem."""
    try:
        return wanted(read_sent(NAME, body, most), {})
    except DataError as error:
        raise unfit(error.code, str(error)) from None


def read_json(body: bytes) -> Wanted:
    """What a JSON body asks for. Raises Problem."""
    asked = parse_json(body)
    if not isinstance(asked, dict):
        raise unfit("body-invalid", f"the body is {shown(asked)}; an object with one of {', '.join(FORMS)} fits")
    refuse_unknown(asked, (*FORMS, "params"))
    forms = [form for form in FORMS if form in asked]
    if len(forms) != 1:
        found = " and ".join(forms) or "none of them"
        raise unfit("key-missing", f"the body has {found}; exactly one of {', '.join(FORMS)} fits")
    params = {} if asked.get("params") is None else asked["params"]
    if not isinstance(params, dict):
        raise unfit("value-type", f"params: {shown(params)} does not fit; an object fits")
    refuse_unknown(params, PARAMS, "params: ")
    return wanted(_cells(forms[0], asked[forms[0]]), params)


def _cells(form: str, table: Any) -> Cells:
    match form:
        case "dataframe_split":
            return _of_split(form, table)
        case "inputs":
            return cells_of(table, form)
        case _:
            return _of_rows(form, table)


def _of_split(form: str, table: Any) -> Cells:
    """Names of columns beside rows of cells; the index counts for nothing."""
    if not isinstance(table, dict) or not isinstance(table.get("columns"), list):
        raise unfit("value-type", f"{form}: {shown(table)} does not fit; an object with columns and data fits")
    refuse_unknown(table, ("columns", "index", "data"), f"{form}: ")
    names, rows = table["columns"], table.get("data")
    if not isinstance(rows, list):
        raise unfit("value-type", f"{form}: data is {shown(rows)}; a list of rows fits")
    odd = next((name for name in names if type(name) is not str), "")
    if type(odd) is not str:
        raise unfit("value-type", f"{form}: the name of a column is {shown(odd)}; text fits")
    twice, times = Counter(names).most_common(1)[0] if names else ("", 0)
    if times > 1:
        raise unfit("key-twice", f"{form}: the column {quoted(twice)} stands twice; keep one of them")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, list) or len(row) != len(names):
            found = f"{len(row):,} cells" if isinstance(row, list) else shown(row)
            raise unfit(
                "row-unfit", f"{form}: row {number:,} has {found}; one cell for each of {len(names)} columns fits"
            )
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    return Cells(dict(zip(names, map(list, columns), strict=True)))


def _of_rows(form: str, rows: Any) -> Cells:
    """Rows that name their cells. All have the keys of the first: an absent key may be a misspelt one."""
    if not isinstance(rows, list):
        raise unfit("value-type", f"{form}: {shown(rows)} does not fit; a list of rows fits, each an object")
    names = rows[0] if rows else {}
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise unfit("row-unfit", f"{form}: row {number:,} is {shown(row)}; an object of its cells by name fits")
        if row.keys() != names.keys():
            odd = quoted(min(row.keys() ^ names.keys()))
            raise unfit(
                "row-unfit",
                f"{form}: row {number:,} and row 1 do not have the same columns: one lacks {odd}; write null where"
                " nothing was measured",
            )
    return Cells({name: [row[name] for row in rows] for name in names})


def to_predictions(answered: Answered) -> bytes:
    """The document of an answer in MLflow's form."""
    return orjson.dumps({"predictions": forecasts(answered.answer)})


def error(problem: Problem, _request_id: str) -> Response:
    """An error in MLflow's form, which has no 422. code: ours, for programs."""
    status = HTTPStatus.BAD_REQUEST if problem.status is HTTPStatus.UNPROCESSABLE_ENTITY else problem.status
    body = {"error_code": CODES.get(status, "BAD_REQUEST"), "message": problem.detail, "code": problem.code}
    return JSONResponse(body, int(status), problem.headers)
