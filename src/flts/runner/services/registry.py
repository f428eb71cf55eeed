"""Every service that there is, in one place: `flts worker`, `flts doctor` and `flts up` read it here.

A new service is a file beside this one and an entry below. A new topic is a message class in `contracts.messages`.
Nothing is imported before a service is asked for, so that the command line stays quick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading

    from flts.runner.services.loop import Service
    from flts.settings import Settings
    from flts.wiring import RunContext


@dataclass(frozen=True)
class Staff:
    """What one process of a service runs.

    members: each with the records of its own group; first: what is done before any work is taken; beside: what else
    goes on, in threads of their own, until the event is set.
    """

    members: Sequence[Service]
    first: Callable[[], None] | None = None
    beside: Sequence[Callable[[threading.Event], None]] = ()


class ServiceClass(Protocol):
    """The class of a service: what handles the records of `topic`."""

    topic: str

    def staff(self, context: RunContext, settings: Settings, models: Sequence[str]) -> Staff:
        """A class method: what a process of the service runs; models: those it was started for."""


@dataclass(frozen=True)
class Declared:
    """A service as people start it.

    name: of `flts worker NAME` and of its group; about: its help; path: module:class; per_model: it takes --model, and
    each model is a group of its own, NAME-MODEL.
    """

    name: str
    about: str
    path: str
    per_model: bool = False

    def load(self) -> ServiceClass:
        """Its class."""
        found: ServiceClass = resolve_name(self.path)
        return found

    def group(self, model: str | None = None) -> str:
        """The group of its members."""
        return f"{self.name}-{model}" if self.per_model else self.name


@dataclass(frozen=True)
class Group:
    """A group that is expected to have members; model: which one it serves, where each has a group of its own."""

    service: Declared
    model: str | None = None

    @property
    def name(self) -> str:
        """As the bus knows it."""
        return self.service.group(self.model)

    @property
    def start(self) -> str:
        """The command that starts a member."""
        return f"flts worker {self.service.name}" + (f" --model {self.model}" if self.model else "")


SERVICES: tuple[Declared, ...] = (
    Declared(
        "train",
        "Fit models of every claim, each in a process of its own.",
        "flts.runner.services.train:Trainer",
        per_model=True,
    ),
    Declared(
        "evaluate",
        "Judge every run whose models all have a result or a reason.",
        "flts.runner.services.evaluate:Evaluator",
    ),
    Declared(
        "forecast",
        "Answer every claim of rows with forecasts of the champion.",
        "flts.runner.services.forecast:Forecaster",
    ),
)


def groups(models: Sequence[str]) -> Iterator[Group]:
    """Every group that a run of these models needs."""
    for service in SERVICES:
        if service.per_model:
            yield from (Group(service, model) for model in models)
        else:
            yield Group(service)
