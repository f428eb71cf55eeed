"""The form of a request: received up to a limit, and parsed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from flts.server.body import receive_body
from flts.web.problem import Problem
from flts.web.security import header_of


@asynccontextmanager
async def form_of(request: Request, limit: int, seconds: float) -> AsyncIterator[FormData]:
    """The form, which has some seconds to arrive.

    Raises Problem for one that is late, for a body of more bytes or one that is no form, ClientDisconnect.
    """
    until, declared = time.monotonic() + seconds, header_of(request.scope, b"content-length")
    body = await receive_body(request.receive, limit, until, declared)

    async def received() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with Request(request.scope, received).form(max_files=1, max_fields=8, max_part_size=limit) as form:
            yield form
    except HTTPException as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"the form cannot be read: {error.detail}", code="form-invalid") from None


def text(value: Any) -> str:
    """A field of a form as text; empty for one that is absent, or a file."""
    return value if isinstance(value, str) else ""
