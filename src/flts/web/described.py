"""What OpenAPI says of both servers: their errors are problem documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from flts.web import problem


class Health(BaseModel):
    """The answer of a probe."""

    status: str


class Described(FastAPI):
    """FastAPI, but for what its description says of errors. complete: adds what the framework does not know."""

    def __init__(self, *, complete: Callable[[dict[str, Any]], None] = lambda document: None, **options: Any) -> None:
        super().__init__(**options)
        self._complete = complete

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            described = super().openapi()
            self._complete(described)
            problem.describe(described)
        assert self.openapi_schema is not None
        return self.openapi_schema
