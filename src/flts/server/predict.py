"""`POST /predict`: a history in, forecasts out, both in original units."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from flts.server.body import ON_LOOP, parse_body, quick, read_body
from flts.server.document import to_bytes
from flts.server.endpoint import Endpoint, Write
from flts.server.wanted import Wanted


class Predict(Endpoint):
    """The protocol of FLTS itself."""

    def glance(self, body: bytes) -> tuple[Wanted, Write] | None:
        wanted = quick(body) if len(body) <= ON_LOOP else None
        return None if wanted is None else (wanted, to_bytes)

    async def read(self, request: HTTPConnection, body: bytes) -> tuple[Wanted, Write]:
        """A body as `body.py` describes it; an answer as `document.py` does."""
        return await parse_body(read_body, body), to_bytes
