"""Who is told how a run goes: a terminal, a program, or nobody."""

from __future__ import annotations

from typing import Protocol

from flts.contracts.messages import ModelTraining
from flts.contracts.ports import Progress, Silent


class Reporter(Protocol):
    """Told of every step of a run, from the thread that takes the step."""

    def stage(self, name: str, state: str, detail: str = "") -> None:
        """A stage started, or ended with this detail."""

    def model(self, name: str) -> Progress:
        """Where the progress of a model goes."""

    def ended(self, name: str, message: ModelTraining) -> None:
        """A model has a result or a reason."""


class Quiet:
    """A Reporter that says nothing."""

    def stage(self, name: str, state: str, detail: str = "") -> None:
        """Say nothing of a stage."""

    def model(self, name: str) -> Progress:
        """Say nothing of a model."""
        return Silent()

    def ended(self, name: str, message: ModelTraining) -> None:
        """Say nothing of a result."""
