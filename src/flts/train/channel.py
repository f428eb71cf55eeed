"""Messages of a training process to its parent, one JSON line each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from flts.contracts.errors import Plain
from flts.contracts.records.base import JsonObject
from flts.train.stage import Trained


class _Line(BaseModel):
    """Strict, but accepts NaN: a loss that is not finite is shown before it fails the fit."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class BegunLine(_Line):
    """The first message: the process has what it needs to begin."""

    kind: Literal["begun"]


class EpochLine(_Line):
    """An epoch is done."""

    kind: Literal["epoch"]
    done: int
    of: int
    train_loss: float
    val_loss: float


class PhaseLine(_Line):
    """A phase of the fit begins."""

    kind: Literal["phase"]
    name: str


class EventLine(_Line):
    """An event for the parent to log."""

    kind: Literal["event"]
    fields: JsonObject


class TrainedLine(_Line):
    """The last message: the result is stored."""

    kind: Literal["trained"]
    trained: Trained


class FailedLine(_Line):
    """The last message: class, message, code and data of the error."""

    kind: Literal["failed"]
    error: str = Field(alias="class")
    reason: str
    code: str | None = None
    data: dict[str, Plain] = {}


LastLine = TrainedLine | FailedLine
_LINE: TypeAdapter[BegunLine | EpochLine | PhaseLine | EventLine | LastLine] = TypeAdapter(
    Annotated[BegunLine | EpochLine | PhaseLine | EventLine | TrainedLine | FailedLine, Field(discriminator="kind")]
)


def parse_line(line: str) -> BegunLine | EpochLine | PhaseLine | EventLine | LastLine:
    """Parse one line. Raises ValueError for anything that is not one of these messages."""
    return _LINE.validate_json(line)
