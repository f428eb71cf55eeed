"""Where the progress of a run is shown: a terminal, a program, or nowhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from flts.contracts.messages import ModelTraining
from flts.contracts.ports import Progress, Silent

if TYPE_CHECKING:
    from flts.runner.local import RunResult


@dataclass(frozen=True)
class Estimated:
    """What the fits of a run will take.

    seconds: of CPU, by model; others: the models without an estimate; fits: how many each model is that searches a
    grid; limit: seconds after which a fit is ended.
    """

    seconds: Mapping[str, float]
    others: Sequence[str] = ()
    fits: Mapping[str, int] = field(default_factory=dict)
    limit: float = math.inf


class Reporter(Protocol):
    """Receives every step of a run, called from the thread that takes the step."""

    def stage(self, name: str, state: str, detail: str = "") -> None:
        """A stage started, or ended with this detail."""

    def expect(self, estimated: Estimated) -> None:
        """What the fits will take, before they begin. Raises Interrupted where a person does not want that."""

    def model(self, name: str) -> Progress:
        """Where the progress of a model goes."""

    def ended(self, name: str, message: ModelTraining) -> None:
        """A model has a result or a reason."""

    def judged(self, result: RunResult) -> None:
        """The run is judged and the champion in force; tracked runs and their pictures follow."""


class Quiet:
    """A Reporter that shows nothing."""

    def stage(self, name: str, state: str, detail: str = "") -> None:
        """Ignore a stage."""

    def expect(self, estimated: Estimated) -> None:
        """Ignore an estimate."""

    def model(self, name: str) -> Progress:
        """Ignore the progress of a model."""
        return Silent()

    def ended(self, name: str, message: ModelTraining) -> None:
        """Ignore a result."""

    def judged(self, result: RunResult) -> None:
        """Ignore a result."""
