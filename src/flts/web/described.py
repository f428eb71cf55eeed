"""What the OpenAPI documents of both servers share: errors are problem documents, and the answer of a probe."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from flts.web import problem


class Health(BaseModel):
    """The answer of a probe."""

    status: str


class Described(FastAPI):
    """FastAPI, but for its description of errors."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            described = super().openapi()
            problem.describe(described)
        assert self.openapi_schema is not None
        return self.openapi_schema
