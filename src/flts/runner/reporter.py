"""Where the progress of a run is shown: a terminal, a program, or nowhere."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Protocol

from flts.contracts.messages import ModelTraining
from flts.contracts.ports import Progress, Silent

ONE_EACH: Mapping[str, int] = {}
"""No model searches a grid."""


class Reporter(Protocol):
    """Receives every step of a run, called from the thread that takes the step."""

    def stage(self, name: str, state: str, detail: str = "") -> None:
        """A stage started, or ended with this detail."""

    def expect(
        self,
        seconds: Mapping[str, float],
        others: Iterable[str] = (),
        fits: Mapping[str, int] = ONE_EACH,
        limit: float = math.inf,
    ) -> None:
        """How long each fit will take, as estimated. Raises Interrupted where a person does not want that.

        others: the models of the run without an estimate; fits: how many fits each model is that searches a grid;
        limit: seconds after which a fit is ended.
        """

    def model(self, name: str) -> Progress:
        """Where the progress of a model goes."""

    def ended(self, name: str, message: ModelTraining) -> None:
        """A model has a result or a reason."""


class Quiet:
    """A Reporter that shows nothing."""

    def stage(self, name: str, state: str, detail: str = "") -> None:
        """Ignore a stage."""

    def expect(
        self,
        seconds: Mapping[str, float],
        others: Iterable[str] = (),
        fits: Mapping[str, int] = ONE_EACH,
        limit: float = math.inf,
    ) -> None:
        """Ignore an estimate."""

    def model(self, name: str) -> Progress:
        """Ignore the progress of a model."""
        return Silent()

    def ended(self, name: str, message: ModelTraining) -> None:
        """Ignore a result."""
