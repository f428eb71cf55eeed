"""The Open Inference Protocol v2, as of KServe and Triton: a model is a scope, its version the number of a promotion.

A history is one tensor a column, a forecast one of times and three of numbers. Numbers that are not there are null:
JSON has no NaN, and the binary extension of the protocol, which has, is not spoken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, Field
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response

from flts.contracts.errors import nearest
from flts.preprocess.times import LONG, quoted
from flts.server.body import parse_body, parse_json, refuse_unknown, unfit, wanted
from flts.server.columns import Cells, shown
from flts.server.document import moments, warning
from flts.server.endpoint import Endpoint, Write
from flts.server.served import Served
from flts.server.service import ForecastService, refuse_other
from flts.server.wanted import Answered, Wanted
from flts.version import __version__
from flts.web import problem
from flts.web.limited import OPEN
from flts.web.problem import Problem
from flts.web.security import AUTH

PREFIX = "/v2"
INFER = (f"{PREFIX}/models/{{scope}}/infer", f"{PREFIX}/models/{{scope}}/versions/{{version}}/infer")
OUTPUTS = ("time", "mean", "lower", "upper")
TEXT, NUMBER = "BYTES", "FP64"
NUMBERS = (NUMBER, "FP32", "FP16", "INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8")
BINARY_LENGTH = "inference-header-content-length"
WHOLLY_BINARY = "binary_data_output"
BINARY = (WHOLLY_BINARY, "binary_data", "binary_data_size")
"""Parameters of the binary extension."""
PARAMETERS = ("horizon", "level")
NO_BINARY = "the binary extension is not spoken; send and ask for every tensor with binary_data=False"


class OpenServer(BaseModel):
    """The server, as the protocol names it."""

    name: str = "flts"
    version: str = __version__
    extensions: list[str] = []


class OpenLive(BaseModel):
    """The server lives."""

    live: bool = True


class OpenReady(BaseModel):
    """The server is ready."""

    ready: bool = True


class OpenModelReady(BaseModel):
    """The model of a scope is ready."""

    name: str
    ready: bool = True


class OpenTensor(BaseModel):
    """A tensor that a model takes or gives; -1 is any number of rows."""

    name: str
    datatype: str
    shape: list[int]


class OpenModel(BaseModel):
    """The model of a scope."""

    name: str
    versions: list[str] = Field(description="The number of the promotion that answers; no other one is served.")
    platform: str = "flts"
    inputs: list[OpenTensor]
    outputs: list[OpenTensor]


def _service(request: Request) -> ForecastService:
    service: ForecastService = request.app.state.service
    return service


Serving = Annotated[ForecastService, Depends(_service)]
Name = Annotated[str, Path(description="A scope.", examples=["jfk"])]
Version = Annotated[str, Path(description="The number of a promotion.", examples=["1"])]
ERROR = "OpenError"
"""Its schema in the OpenAPI document."""
_unready = partial(problem.responses, schema=ERROR, media_type="application/json")
_REFUSED = _unready(
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.MISDIRECTED_REQUEST,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
PROTOCOL = APIRouter(prefix=PREFIX, tags=["Open Inference Protocol"])
"""What the protocol asks beside forecasts."""


@PROTOCOL.get("")
async def server() -> OpenServer:
    """Name and version of the server."""
    return OpenServer()


@PROTOCOL.get("/health/live")
async def live() -> OpenLive:
    """The process runs and answers."""
    return OpenLive()


@PROTOCOL.get("/health/ready", dependencies=[OPEN], responses=_unready(HTTPStatus.SERVICE_UNAVAILABLE))
async def ready(service: Serving) -> OpenReady:
    """As `GET /readyz`."""
    service.models.check_ready()
    return OpenReady()


@PROTOCOL.get("/models/{scope}", dependencies=[AUTH], responses=_REFUSED)
async def model(scope: Name, service: Serving) -> OpenModel:
    """What the model of a scope takes and gives."""
    return _described(await service.models.find(scope))


@PROTOCOL.get("/models/{scope}/versions/{version}", dependencies=[AUTH], responses=_REFUSED)
async def model_version(scope: Name, version: Version, service: Serving) -> OpenModel:
    """The same of one promotion; others than the one that answers are not served."""
    served = await service.models.find(scope)
    refuse_other(scope, served.champion.entry.number, _number(version, scope))
    return _described(served)


@PROTOCOL.get("/models/{scope}/ready", dependencies=[AUTH], responses=_REFUSED)
async def model_ready(scope: Name, service: Serving) -> OpenModelReady:
    """A scope has a model that passed its self-test."""
    service.models.known(scope)
    return OpenModelReady(name=scope)


@PROTOCOL.get("/models/{scope}/versions/{version}/ready", dependencies=[AUTH], responses=_REFUSED)
async def model_version_ready(scope: Name, version: Version, service: Serving) -> OpenModelReady:
    """The same of one promotion."""
    _, standing = service.models.known(scope)
    refuse_other(scope, standing.entry.number, _number(version, scope))
    return OpenModelReady(name=scope)


def _number(version: str, scope: str) -> int:
    """The number of a promotion as a path names it. Raises Problem 404 for what is none."""
    if not re.fullmatch("[1-9][0-9]{0,17}", version):
        raise Problem(
            HTTPStatus.NOT_FOUND,
            f"scope '{scope[:100]}' has no version {quoted(version)}; a version is the number of a promotion",
            code="promotion-unknown",
        )
    return int(version)


def _described(served: Served) -> OpenModel:
    manifest = served.champion.bundle.manifest
    bounds = [OpenTensor(name=name, datatype=NUMBER, shape=[-1, len(manifest.targets)]) for name in OUTPUTS[1:]]
    return OpenModel(
        name=served.scope,
        versions=[str(served.champion.entry.number)],
        inputs=[
            OpenTensor(name=manifest.time_column, datatype=TEXT, shape=[-1]),
            *(OpenTensor(name=name, datatype=NUMBER, shape=[-1]) for name in manifest.columns),
        ],
        outputs=[OpenTensor(name="time", datatype=TEXT, shape=[-1]), *bounds],
    )


class Infer(Endpoint):
    """Forecasts by the protocol."""

    async def read(self, request: HTTPConnection, body: bytes) -> tuple[Wanted, Write]:
        """The scope and promotion of the path, the tensors of the body."""
        if BINARY_LENGTH in request.headers:
            raise unfit("binary-extension", NO_BINARY)
        scope, version = request.path_params["scope"], request.path_params.get("version")
        promotion = None if version is None else _number(version, scope)
        found, write = await parse_body(read_tensors, body)
        return found._replace(scope=scope, promotion=promotion), write


def read_tensors(body: bytes) -> tuple[Wanted, Write]:
    """What a body asks for, and how its answer is written. Raises Problem."""
    asked = parse_json(body)
    if not isinstance(asked, dict):
        raise unfit("body-invalid", f"the body is {shown(asked)}; an object with the key 'inputs' fits")
    refuse_unknown(asked, ("id", "parameters", "inputs", "outputs"))
    given_id = asked.get("id")
    if given_id is not None and type(given_id) is not str:
        raise unfit("value-type", f"id: {shown(given_id)} does not fit; text fits")
    parameters = _parameters(asked, "parameters")
    refuse_unknown(parameters, (*PARAMETERS, WHOLLY_BINARY), "parameters: ")
    outputs = _outputs(asked.get("outputs"))
    return wanted(_history(asked.get("inputs")), parameters), partial(to_tensors, given_id, outputs)


def _parameters(holder: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """The parameters of a request or a tensor. Refuses those that ask for the binary extension."""
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise unfit("value-type", f"{where}: {shown(parameters)} does not fit; an object fits")
    if any(parameters.get(name) for name in BINARY):
        raise unfit("binary-extension", f"{where}: {NO_BINARY}")
    return parameters


def _history(inputs: Any) -> Cells:
    """One column for each tensor."""
    columns: dict[str, list[Any]] = {}
    for name, tensor in _named(inputs, "inputs"):
        _parameters(tensor, f"inputs: {quoted(name)}")
        if name in columns:
            raise unfit("key-twice", f"inputs: the tensor {quoted(name)} stands twice; keep one of them")
        columns[name] = _data(name, tensor)
    return Cells(columns)


def _data(name: str, tensor: Mapping[str, Any]) -> list[Any]:
    """The cells of a tensor of one column, also where each row of it is a list of one."""
    where = f"inputs: {quoted(name)}"
    datatype, shape, data = tensor.get("datatype"), tensor.get("shape"), tensor.get("data")
    if datatype not in (TEXT, *NUMBERS):
        raise unfit(
            "value-type", f"{where}: datatype is {shown(datatype)}; {TEXT} fits for times, {NUMBER} for numbers"
        )
    if not isinstance(data, list):
        raise unfit("value-type", f"{where}: data is {shown(data)}; a list fits")
    if data and all(isinstance(row, list) and len(row) == 1 for row in data):
        data = [row[0] for row in data]
    if shape not in ([len(data)], [len(data), 1]) or any(type(size) is not int for size in shape):
        raise unfit("shape-unfit", f"{where}: shape and data differ: data has {len(data):,} cells, [{len(data)}] fits")
    odd = (
        next((cell for cell in data if cell is not None and type(cell) is not str), None) if datatype == TEXT else None
    )
    if odd is not None:
        raise unfit("value-type", f"{where}: {shown(odd)} is no {TEXT}; text fits")
    return data


def _outputs(outputs: Any) -> Sequence[str]:
    """The tensors that are asked for, in their order; all without a word."""
    if outputs is None or outputs == []:
        return OUTPUTS
    names = []
    for name, output in _named(outputs, "outputs"):
        _parameters(output, f"outputs: {quoted(name)}")
        if name not in OUTPUTS:
            raise unfit("output-unknown", f"outputs: unknown tensor {quoted(name)}; {nearest(name[:LONG], OUTPUTS)}")
        names.append(name)
    return list(dict.fromkeys(names))


def _named(tensors: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects of a list with their names."""
    if not isinstance(tensors, list):
        raise unfit("value-type", f"{where}: {shown(tensors)} does not fit; a list of objects with a name fits")
    for tensor in tensors:
        name = tensor.get("name") if isinstance(tensor, dict) else None
        if type(name) is not str:
            raise unfit("value-type", f"{where}: {shown(tensor)} without a name does not fit; each tensor has one")
        yield name, tensor


def to_tensors(given_id: str | None, outputs: Sequence[str], answered: Answered) -> bytes:
    """The document of an answer: the tensors that were asked for. A bound that the model does not have is null."""
    answer, entry = answered.answer, answered.served.champion.entry
    tensors: dict[str, tuple[str, Sequence[int], Sequence[Any]]] = {
        "time": (TEXT, answer.times.shape, moments(answer)),
        **{
            name: (NUMBER, values.shape, values.reshape(-1).tolist())
            for name, values in (("mean", answer.mean), ("lower", answer.lower), ("upper", answer.upper))
        },
    }
    document = {
        "model_name": answered.served.scope,
        "model_version": str(entry.number),
        **({} if given_id is None else {"id": given_id}),
        "parameters": {  # the protocol has no lists here
            "targets": json.dumps(answer.targets),
            "interval": answer.interval,
            "warnings": json.dumps([warning(notice) for notice in answer.warnings]),
            "request_id": answered.request_id,
        },
        "outputs": [
            {"name": name, "datatype": datatype, "shape": shape, "data": data}
            for name, (datatype, shape, data) in ((name, tensors[name]) for name in outputs)
        ],
    }
    return orjson.dumps(document)


def error(problem: Problem, _request_id: str) -> Response:
    """An error in the form of the protocol, which knows 400 for a request that does not fit."""
    status = HTTPStatus.BAD_REQUEST if problem.status is HTTPStatus.UNPROCESSABLE_ENTITY else problem.status
    return JSONResponse({"error": problem.detail}, int(status), problem.headers)
