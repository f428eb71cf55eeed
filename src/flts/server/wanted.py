"""What a request asks for, whatever protocol it came by, and the answer that every protocol writes in its own form."""

from __future__ import annotations

from dataclasses import dataclass

from flts.preprocess.source import RawTable
from flts.serve.answer import Answer
from flts.server.models import Served

DEFAULT_SCOPE = "global"
DEFAULT_LEVEL = 0.8


@dataclass(frozen=True)
class Wanted:
    """A forecast that a request asks for.

    history: a table with the time column and those of the manifest, in original units and any order. scope: whose
    champion answers; horizon: steps, None for all that the model was trained for; level: of the interval.
    """

    history: RawTable
    scope: str = DEFAULT_SCOPE
    horizon: int | None = None
    level: float = DEFAULT_LEVEL


@dataclass(frozen=True)
class Answered:
    """The answer to a request, and which model gave it: nothing in it changes when another model is promoted."""

    answer: Answer
    served: Served
    request_id: str
