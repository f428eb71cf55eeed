"""`POST /predict`: a history in, forecasts out, both in original units."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from flts.server.body import read_body
from flts.server.service import Service
from flts.server.wanted import Answered


async def predict(request: Request) -> Response:
    """Answer one request."""
    service: Service = request.app.state.service
    answered = await service.forecast(read_body(await request.body()), request.state.request_id)
    return Response(json.dumps(document(answered)).encode(), media_type="application/json")


def document(answered: Answered) -> dict[str, Any]:
    """The answer as JSON: one object per step and target, newest step last; bounds null where the model has none."""
    answer = answered.answer
    frame = answer.frame().to_dicts()
    entry = answered.served.champion.entry
    return {
        "forecasts": [{**row, "time": row["time"].isoformat()} for row in frame],
        "interval": answer.interval,
        "warnings": [
            {"code": notice.code, "column": notice.column, "row": notice.row, "text": notice.text}
            for notice in answer.warnings
        ],
        "series": None,
        "model": {
            "model_type": entry.champion.model_type,
            "run_id": entry.champion.run_id,
            "model_hash": entry.champion.model_hash,
            "config_hash": entry.champion.config_hash,
            "promotion": entry.number,
        },
        "request_id": answered.request_id,
    }
