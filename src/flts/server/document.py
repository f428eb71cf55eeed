"""An answer as the bytes of a JSON document."""

from __future__ import annotations

import zoneinfo
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson

from flts.contracts.notices import Notice
from flts.serve.answer import Answer
from flts.server.served import Served
from flts.server.wanted import Answered
from flts.spec.steps import SECOND


def to_bytes(answered: Answered) -> bytes:
    """The document of an answer, in JSON."""
    answer = answered.answer
    return orjson.dumps(
        {
            "forecasts": forecasts(answer),
            "interval": answer.interval,
            "warnings": [warning(notice) for notice in answer.warnings],
            "series": None,
            "model": answered.served.once(_model),
            "request_id": answered.request_id,
        }
    )


def _model(served: Served) -> orjson.Fragment:
    """The model that answers, as every answer names it."""
    entry = served.champion.entry
    return orjson.Fragment(
        orjson.dumps(
            {
                "model_type": entry.champion.model_type,
                "run_id": entry.champion.run_id,
                "model_hash": entry.champion.model_hash,
                "config_hash": entry.champion.config_hash,
                "promotion": entry.number,
            }
        )
    )


def forecasts(answer: Answer) -> list[dict[str, Any]]:
    """One object per step and target, newest step last; a bound that the model does not have is NaN, in JSON null."""
    return [
        {"time": time, "target": target, "mean": mean, "lower": lower, "upper": upper}
        for time, *of_step in zip(
            moments(answer),
            answer.mean.tolist(),
            answer.lower.tolist(),
            answer.upper.tolist(),
            strict=True,
        )
        for target, mean, lower, upper in zip(answer.targets, *of_step, strict=True)
    ]


def moments(answer: Answer) -> list[str]:
    """The times of an answer as RFC 3339, in the zone of the Spec."""
    return [moment(time, answer.timezone) for time in answer.times.tolist()]


@lru_cache(maxsize=4096)  # clients ask from the same origins: the newest row that there is
def moment(time: int, timezone: str) -> str:
    """A time in UTC nanoseconds as RFC 3339 in a zone, with as many digits of a second as it has."""
    seconds, beyond = divmod(time, SECOND)
    text = datetime.fromtimestamp(seconds, zoneinfo.ZoneInfo(timezone)).isoformat()
    if not beyond:
        return text
    whole = len("2018-02-05T23:40:00")
    return f"{text[:whole]}.{beyond:09d}".rstrip("0") + text[whole:]


def warning(notice: Notice) -> dict[str, Any]:
    """A warning as an object."""
    return {"code": notice.code, "column": notice.column, "row": notice.row, "text": notice.text}
