"""Lines of `inference-logs/<scope>/<YYYYMMDD>/<uuid>.jsonl`: a part holds lines of one of the two kinds, as JSON.

AnswerLine    an answered request; the part is one of a server, and its UUID is of version 7: it says when it began
ForecastLine  one value of a batch forecast; the part is the answer to one claim
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, TypeAdapter

from flts.contracts.records.base import Digest, Number, Part, ScopeName, StoredRecord

Cells = list[list[float | None]]
"""[horizon][targets], None where there is no value."""


class AnswerDay(StoredRecord):
    """`inference-logs/<scope>/days/<uuid>.json`: the day under which a batch was answered first.

    The day is that of the claim, and a claim that is sent again may name another one.
    """

    v: Literal[1] = 1
    scope: ScopeName
    request_id: str
    """The UUID in the name of the object."""
    day: Annotated[str, Field(pattern=r"^[0-9]{8}$")]


class ForecastLine(Part):
    """A line: one step of one target from one origin, in original units."""

    origin: str
    """Time of the last history row, RFC 3339."""
    step: int
    """Rows after the origin, from 1."""
    time: str
    """Of the forecast row, RFC 3339."""
    target: str
    mean: float
    lower: float | None
    """Ends of the 80 % interval; None where the model has none."""
    upper: float | None
    request_id: str
    """The UUID in the name of the object."""
    model_type: str
    model_hash: Digest
    """Of the champion that answered."""
    promotion: int
    """Number of its entry in the promotion log."""


class AnswerLine(Part):
    """An answered request, in original units."""

    absent_when_none = frozenset({"history"})

    v: Literal[1] = 1
    request_id: str
    """See `contracts.request_ids`."""
    answered: str
    """When, RFC 3339 UTC."""
    token: str | None
    """Name of the token that asked; None where none was needed."""
    caller_id: str | None
    """The caller's own X-Request-Id."""
    promotion: Number
    """Number of the entry in the promotion log whose champion answered."""
    entry_sha256: Digest
    """Of that entry as it is stored: a number may come again where a person shortens the log."""
    model_type: str
    model_hash: Digest
    bundle_sha256: Digest
    """The bundle that made the numbers."""
    origin: str
    """Time of the last history row, RFC 3339 UTC."""
    times: list[str]
    """Of the forecast rows, RFC 3339 UTC."""
    targets: list[str]
    mean: list[list[float]]
    """[horizon][targets]."""
    level: float
    """Of the interval."""
    interval: str
    """static, adaptive or none."""
    lower: Cells
    upper: Cells
    warnings: list[str]
    """Codes of what the caller was warned of."""
    history: dict[str, list[str | float | None]] | None = None
    """The rows of the history that were used, as a request has them, and those to forecast where the model was told of
    them; stored with `prediction_log = rows` alone."""


def _kind(line: Any) -> str:
    return "forecast" if isinstance(line, dict) and "step" in line else "answer"


Line = Annotated[Annotated[AnswerLine, Tag("answer")] | Annotated[ForecastLine, Tag("forecast")], Discriminator(_kind)]
LINES: TypeAdapter[AnswerLine | ForecastLine] = TypeAdapter(Line)
"""Reads a line of either kind."""
