"""What a request asks for, whatever protocol it came by, and the answer that every protocol writes in its own form."""

from __future__ import annotations

from typing import NamedTuple

from flts.preprocess.source import Raw
from flts.serve.answer import Answer
from flts.server.caller import NOBODY, Caller
from flts.server.columns import Cells
from flts.server.served import Served

DEFAULT_LEVEL = 0.8


class Wanted(NamedTuple):
    """A forecast that a request asks for.

    history: a table with the time column and those of the manifest, in original units and any order; cells of JSON are
    read strictly. scope: whose champion answers, None for `global`, or for the only scope there is; horizon: steps,
    None for all that the model was trained for; level: of the interval; promotion: the number of the only one whose
    model may answer, None for whichever does; future: the rows to forecast with the columns that the model knows ahead,
    None where the last rows of the history may be these.
    """

    history: Raw | Cells
    scope: str | None = None
    horizon: int | None = None
    level: float = DEFAULT_LEVEL
    promotion: int | None = None
    future: Cells | None = None


class Answered(NamedTuple):
    """The answer to a request, and which model gave it: nothing in it changes when another model is promoted."""

    answer: Answer
    served: Served
    request_id: str
    caller: Caller = NOBODY
