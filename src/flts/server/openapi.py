"""What the OpenAPI document says beside what the framework finds: the plain endpoints, and an example for every route.

The framework describes the routes it calls itself. Forecasts have endpoints of their own, so their requests and answers
are written down here, in one place; a test sends the examples and random requests and compares the answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from flts.forecasting.intervals import LEVELS
from flts.server import invocations, openinference
from flts.server.body import MAX_ROWS
from flts.server.caller import LONGEST
from flts.version import __version__
from flts.web import problem

Schema = Mapping[str, Any]
JSON = "application/json"
MLFLOW_ERROR = "MlflowError"
REFUSALS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.MISDIRECTED_REQUEST,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
"""What every request for a forecast may be answered with instead of one."""

TIMES = ["2018-02-05T21:00:00Z", "2018-02-05T22:00:00Z", "2018-02-05T23:00:00Z"]
NUMBERS = [12.0, None, 15.5]
HISTORY = {"time": TIMES, "departures": NUMBERS}
ROW = {"time": "2018-02-06T00:00:00+00:00", "target": "departures", "mean": 14.2, "lower": 11.9, "upper": 16.4}
MODEL = {"model_type": "RIDGE", "run_id": None, "model_hash": "5f1c…", "config_hash": "9a07…", "promotion": 3}
REQUEST_ID = "20180205-jfk-019b7c1e-0000-7000-8000-000000000000"
NO_MODEL = "no model is loaded yet (GET /model says why); try again in 5 s"


def _object(required: Sequence[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


def _list(items: Any, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


CELL = {"type": ["number", "string", "boolean", "null"]}
HORIZON = {
    "type": ["integer", "null"],
    "minimum": 1,
    "description": "Steps; by default as many as the model was trained for.",
}
LEVEL = {"enum": [*sorted(LEVELS), None], "description": "Of the interval; 0.8 by default."}
IDENTIFIER = {"type": ["string", "null"], "description": "A scope; by default `global`, or the only one there is."}
COLUMNS = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": _list(CELL, maxItems=MAX_ROWS),
    "description": "A list of cells for each column, all of one length, in any order: the times as RFC 3339, numbers in"
    " original units, null where nothing was measured.",
}
NULLABLE = {"type": ["number", "null"]}
ROWS = _list(
    _object(
        ["time", "target", "mean", "lower", "upper"],
        time={"type": "string"},
        target={"type": "string"},
        mean={"type": "number"},
        lower=NULLABLE,
        upper=NULLABLE,
    )
)
TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype", "data"],
    "properties": {
        "name": {"type": "string"},
        "shape": _list({"type": "integer"}),
        "datatype": {"enum": [openinference.TEXT, *openinference.NUMBERS]},
        "parameters": {"type": "object"},
        "data": _list({}),
    },
}
SCHEMAS: Mapping[str, Schema] = {
    "PredictRequest": _object(
        ["history"],
        history=COLUMNS,
        future={
            "anyOf": [COLUMNS, {"type": "object", "maxProperties": 0}, {"type": "null"}],
            "description": "The rows to forecast: the time and the columns that the model knows ahead.",
        },
        identifier=IDENTIFIER,
        horizon=HORIZON,
        level=LEVEL,
    ),
    "PredictAnswer": _object(
        ["forecasts", "interval", "warnings", "series", "model", "request_id"],
        forecasts=ROWS,
        interval={"enum": ["static", "adaptive", "none"]},
        warnings=_list(
            _object(
                ["code", "column", "row", "text"],
                code={"type": "string", "description": "For programs: stable."},
                column={"type": ["string", "null"]},
                row={"type": ["integer", "null"], "description": "Of the history; the first is 1."},
                text={"type": "string"},
            )
        ),
        series={"type": "null"},
        model=_object(
            list(MODEL),
            model_type={"type": "string"},
            run_id={"type": ["string", "null"]},
            model_hash={"type": "string"},
            config_hash={"type": "string"},
            promotion={"type": "integer", "minimum": 1},
        ),
        request_id={"type": "string"},
    ),
    "InvocationsRequest": {
        **_object(
            [],
            dataframe_split=_object(
                ["columns", "data"], columns=_list({"type": "string"}), index=_list({}), data=_list(_list(CELL))
            ),
            dataframe_records=_list({"type": "object", "additionalProperties": CELL}),
            instances=_list({"type": "object", "additionalProperties": CELL}),
            inputs=COLUMNS,
            params=_object([], horizon=HORIZON, level=LEVEL, identifier=IDENTIFIER),
        ),
        "oneOf": [{"required": [form]} for form in invocations.FORMS],
    },
    "InvocationsAnswer": _object(["predictions"], predictions=ROWS),
    MLFLOW_ERROR: _object(
        ["error_code", "message", "code"],
        error_code={"type": "string"},
        message={"type": "string"},
        code={"type": "string", "description": "For programs: stable."},
    ),
    "InferRequest": _object(
        ["inputs"],
        id={"type": ["string", "null"]},
        parameters={
            "type": ["object", "null"],
            "properties": {"horizon": HORIZON, "level": LEVEL, openinference.WHOLLY_BINARY: {"enum": [False]}},
            "additionalProperties": False,
        },
        inputs=_list(TENSOR, minItems=1),
        outputs=_list(
            {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"enum": list(openinference.OUTPUTS)}, "parameters": {"type": "object"}},
            }
        ),
    ),
    "InferAnswer": _object(
        ["model_name", "model_version", "parameters", "outputs"],
        model_name={"type": "string"},
        model_version={"type": "string"},
        id={"type": "string"},
        parameters=_object(
            ["targets", "interval", "warnings", "request_id"],
            targets={"type": "string", "description": "The names of the targets, as JSON: the columns of the tensors."},
            interval={"enum": ["static", "adaptive", "none"]},
            warnings={"type": "string", "description": "The warnings of `/predict`, as JSON."},
            request_id={"type": "string"},
        ),
        outputs=_list(TENSOR),
    ),
    openinference.ERROR: _object(["error"], error={"type": "string"}),
}

HEADERS = [
    {
        "name": "X-Request-Timeout",
        "in": "header",
        "description": "Seconds after which no answer is of use any more.",
        "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST},
    },
    {
        "name": "X-Request-Id",
        "in": "header",
        "description": "The caller's own id, kept beside that of the service.",
        "schema": {"type": "string"},
    },
]


def _content(schema: str, example: Any) -> dict[str, Any]:
    return {JSON: {"schema": _ref(schema), "example": example}}


def _forecast(
    summary: str,
    tag: str,
    request: Mapping[str, Any],
    answer: Mapping[str, Any],
    refusals: Mapping[int | str, Any],
    parameters: Sequence[Any] = (),
) -> dict[str, Any]:
    """The description of an endpoint. request, answer: by media type."""
    return {
        "post": {
            "summary": summary,
            "tags": [tag],
            "security": [{"token": []}],
            "parameters": [*parameters, *HEADERS],
            "requestBody": {"required": True, "content": request},
            "responses": {"200": {"description": "The forecast.", "content": answer}, **_by_name(refusals)},
        }
    }


def _by_name(responses: Mapping[int | str, Any]) -> dict[str, Any]:
    return {str(status): response for status, response in responses.items()}


def _named(name: str, example: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string"},
        "example": example,
    }


SPLIT = {"columns": list(HISTORY), "data": [list(row) for row in zip(TIMES, NUMBERS, strict=True)]}
CSV = "time,departures\n2018-02-05T22:00:00Z,12\n2018-02-05T23:00:00Z,15.5\n"
INFER_REQUEST = {
    "id": "42",
    "parameters": {"level": 0.9},
    "inputs": [
        {"name": "time", "datatype": "BYTES", "shape": [3], "data": TIMES},
        {"name": "departures", "datatype": "FP64", "shape": [3], "data": NUMBERS},
    ],
    "outputs": [{"name": "time"}, {"name": "mean"}],
}
INFER_ANSWER = {
    "model_name": "jfk",
    "model_version": "3",
    "id": "42",
    "parameters": {
        "targets": '["departures"]',
        "interval": "adaptive",
        "warnings": "[]",
        "request_id": REQUEST_ID,
    },
    "outputs": [
        {"name": "time", "datatype": "BYTES", "shape": [1], "data": [ROW["time"]]},
        {"name": "mean", "datatype": "FP64", "shape": [1, 1], "data": [ROW["mean"]]},
    ],
}
SCOPE = _named("scope", "jfk", "A scope.")
VERSION = _named("version", "3", "The number of the promotion that answers; any other one is a 404.")
PATHS: Mapping[str, Any] = {
    "/predict": _forecast(
        "The forecast after a history, in original units.",
        "forecasts",
        _content("PredictRequest", {"history": HISTORY, "identifier": "jfk", "horizon": 1, "level": 0.8}),
        _content(
            "PredictAnswer",
            {
                "forecasts": [ROW],
                "interval": "adaptive",
                "warnings": [],
                "series": None,
                "model": MODEL,
                "request_id": REQUEST_ID,
            },
        ),
        problem.responses(*REFUSALS, HTTPStatus.UNPROCESSABLE_ENTITY),
    ),
    invocations.PATH: _forecast(
        "The same by MLflow's scoring protocol.",
        "MLflow",
        {
            **_content("InvocationsRequest", {"dataframe_split": SPLIT, "params": {"horizon": 1}}),
            invocations.CSV: {"schema": {"type": "string"}, "example": CSV},
        },
        _content("InvocationsAnswer", {"predictions": [ROW]}),
        problem.responses(*REFUSALS, schema=MLFLOW_ERROR, media_type=JSON),
    ),
    **{
        path: _forecast(
            "The same by the Open Inference Protocol.",
            "Open Inference Protocol",
            _content("InferRequest", INFER_REQUEST),
            _content("InferAnswer", INFER_ANSWER),
            problem.responses(*REFUSALS, schema=openinference.ERROR, media_type=JSON),
            [SCOPE, VERSION] if "version" in path else [SCOPE],
        )
        for path in openinference.INFER
    },
}
ERRORS: Mapping[str, Mapping[str, Any]] = {
    "Problem": {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "code": "no-model-loaded",
        "detail": NO_MODEL,
        "instance": f"urn:uuid:{REQUEST_ID}",
    },
    MLFLOW_ERROR: {"error_code": "TEMPORARILY_UNAVAILABLE", "message": NO_MODEL, "code": "no-model-loaded"},
    openinference.ERROR: {"error": NO_MODEL},
}
HASH = "5f1c" * 16
SERVED = {
    "scope": "jfk",
    "promotion": 3,
    "newest_promotion": 3,
    "kind": "promote",
    "promoted": "2018-02-05T20:14:07+00:00",
    "actor": "flts run",
    "since": "2018-02-05T20:14:09+00:00",
    "loaded": True,
    "model": "ridge",
    "model_type": "RIDGE",
    "model_hash": HASH,
    "config_hash": HASH,
    "data_hash": HASH,
    "bundle_sha256": HASH,
    "decision_id": HASH,
    "run_id": None,
    "model_uri": "",
    "score": 0.061,
    "rmse": 0.08,
    "mae": 0.06,
    "mse": 0.01,
    "trained_until": "2018-01-31T23:00:00+00:00",
    "self_test_seconds": 0.02,
    "needs": {
        "time_column": "time",
        "columns": ["departures"],
        "future": [],
        "targets": ["departures"],
        "step": "1h",
        "timezone": "UTC",
        "horizon": 1,
        "min_history_rows": 24,
        "history_rows": 1024,
    },
    "stale": None,
}
TENSORS = [
    {"name": "time", "datatype": "BYTES", "shape": [-1]},
    {"name": "departures", "datatype": "FP64", "shape": [-1]},
]
OPEN_MODEL = {
    "name": "jfk",
    "versions": ["3"],
    "platform": "flts",
    "inputs": TENSORS,
    "outputs": [TENSORS[0], {"name": "mean", "datatype": "FP64", "shape": [-1, 1]}],
}
READY = {"name": "jfk", "ready": True}
ANSWERS: Mapping[str, Any] = {
    "/model": SERVED,
    "/healthz": {"status": "ok"},
    "/readyz": {"status": "ready"},
    "/queue": {"depth": 0, "limit": 256, "in_flight": 1},
    "/reload": {"status": "polling"},
    "/version": {"service": "serve", "flts": __version__},
    "/metrics": 'flts_serve_stale{scope="jfk"} 0.0\n',
    "/ping": "\n",
    "/health": "\n",
    "/v2": {"name": "flts", "version": __version__, "extensions": []},
    "/v2/health/live": {"live": True},
    "/v2/health/ready": {"ready": True},
    "/v2/models/{scope}": OPEN_MODEL,
    "/v2/models/{scope}/versions/{version}": OPEN_MODEL,
    "/v2/models/{scope}/ready": READY,
    "/v2/models/{scope}/versions/{version}/ready": READY,
}
"""An example of what each route of the framework answers."""
LATER = {str(int(status)) for status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)}
"""Answers that may say when to ask again."""


def complete(document: dict[str, Any]) -> None:
    """Add to the framework's document what it does not know."""
    document["paths"] = {**PATHS, **document["paths"]}
    schemas = document["components"]["schemas"]
    schemas.update({name: dict(schema) for name, schema in SCHEMAS.items()})
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if status in LATER:
                    response["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
                for content in response.get("content", {}).values():
                    _exemplify(path, status, content)


def _exemplify(path: str, status: str, content: dict[str, Any]) -> None:
    """Add an example to what a route answers."""
    if status.startswith("2"):
        if path in ANSWERS:
            content["example"] = ANSWERS[path]
    else:
        name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        if name in ERRORS:
            content["example"] = ERRORS[name]
