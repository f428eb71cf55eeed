"""The body of `POST /predict` → what it asks for. Raises Problem for everything that does not fit."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flts.preprocess.source import RawTable
from flts.server.wanted import DEFAULT_LEVEL, DEFAULT_SCOPE, Wanted
from flts.web.problem import Problem


class PredictBody(BaseModel):
    """A request for a forecast."""

    model_config = ConfigDict(extra="forbid", strict=True)

    history: dict[str, list[Any]]
    """Columns by name, the times of the rows in `time`, original units, any order."""
    horizon: Annotated[int, Field(ge=1)] | None = None
    identifier: str = ""
    level: float = DEFAULT_LEVEL


def read_body(body: bytes) -> Wanted:
    """Parse a body."""
    try:
        asked = PredictBody.model_validate(json.loads(body))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(faults), code="body-invalid") from None
    except ValueError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}", code="not-json") from None
    table = RawTable.of("history", asked.history)
    return Wanted(table, asked.identifier or DEFAULT_SCOPE, asked.horizon, asked.level)
