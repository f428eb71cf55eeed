"""`POST /predict`: a history in, forecasts out, both in original units."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from flts.server.body import parse_body, read_body
from flts.server.document import to_bytes
from flts.server.endpoint import Endpoint, Write
from flts.server.wanted import Wanted


class Predict(Endpoint):
    """The protocol of FLTS itself."""

    async def read(self, request: HTTPConnection, body: bytes) -> tuple[Wanted, Write]:
        """A body as `body.py` describes it; an answer as `document.py` does."""
        return await parse_body(read_body, body), to_bytes
