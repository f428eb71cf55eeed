"""The list of all services, which `flts worker`, `flts doctor` and `flts up` read.

A new service is a file beside this one and an entry below. A new topic is a message class in `contracts.messages`.
The module of a service is imported when it is used, so that the command line stays quick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading

    from prometheus_client.registry import Collector

    from flts.runner.services.loop import Service
    from flts.settings import Settings
    from flts.wiring import RunContext


@dataclass(frozen=True)
class Staff:
    """What one process of a service runs.

    members: each handles the records of its own group; first: called before any work is taken; beside: each runs in a
    thread of its own until the event is set; measures: what is scraped besides the work itself.
    """

    members: Sequence[Service]
    first: Callable[[], None] | None = None
    beside: Sequence[Callable[[threading.Event], None]] = ()
    measures: Sequence[Collector] = ()


class ServiceClass(Protocol):
    """The class of a service, which handles the records of `topic`."""

    topic: str

    def staff(self, context: RunContext, settings: Settings, models: Sequence[str]) -> Staff:
        """A class method: what one process of the service runs. models: those it was started for."""


@dataclass(frozen=True)
class Declared:
    """One service in the list.

    name: of `flts worker NAME` and of its group; about: its help; path: module:class; per_model: it takes --model, and
    each model has a group of its own, NAME-MODEL.
    """

    name: str
    about: str
    path: str
    per_model: bool = False

    def load(self) -> ServiceClass:
        """Import its class."""
        service: ServiceClass = resolve_name(self.path)
        return service

    def group(self, model: str | None = None) -> str:
        """Name of its consumer group."""
        return f"{self.name}-{model}" if self.per_model else self.name


@dataclass(frozen=True)
class Group:
    """A consumer group that a run needs. model: the one it serves, where each model has a group of its own."""

    service: Declared
    model: str | None = None

    @property
    def name(self) -> str:
        """Its name on the bus."""
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
