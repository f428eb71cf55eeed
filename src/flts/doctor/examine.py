"""All checks, in the order in which a run needs what they check."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from flts.contracts.errors import FltsError
from flts.doctor import bus, here, store
from flts.doctor.finding import Diagnosis, ok, refused, wrong
from flts.wiring import SystemClock, open_bus, open_store

if TYPE_CHECKING:
    from flts.settings import Settings


def examine(settings: Settings, models: Sequence[str]) -> Iterator[Diagnosis]:
    """Yield each finding as soon as it is made. models: those that an experiment expects."""
    services = not settings.bus.startswith("memory:")
    yield from here.secrets(settings)
    if not settings.store or not settings.mlflow_uri:
        yield from here.folder(settings)
    of_stack = list(here.stack(settings, os.environ))
    yield from of_stack
    ended = any(finding.unreachable for finding in of_stack)
    if not ended:  # what its servers would not answer, the finding above says once
        yield from _backends(settings, models, services=services)
    yield from here.extras(models, elsewhere=services)
    yield from here.packages()
    if not ended:
        yield from here.tracking(settings, shared=services)


def _backends(settings: Settings, models: Sequence[str], *, services: bool) -> Iterator[Diagnosis]:
    yield from _store(settings, services=services)
    if services:
        yield from _bus(settings, models)
    else:
        yield ok("bus", "not set, and not needed: `flts run` does all stages in one process")


def _store(settings: Settings, *, services: bool) -> Iterator[Diagnosis]:
    if not settings.store:
        if services:
            yield wrong("store", "a bus is set but no store, and services share both", "set store (FLTS_STORE)")
        if not (settings.home / "objects").is_dir():
            return  # `flts run` makes it
    try:
        opened = open_store(settings.store_url, make=False)
    except FltsError as error:
        yield refused("store", error, "set store (FLTS_STORE)")
        return
    yield from store.examine(opened, SystemClock())


def _bus(settings: Settings, models: Sequence[str]) -> Iterator[Diagnosis]:
    try:
        opened = open_bus(settings)
    except FltsError as error:
        yield refused("bus", error, "check bus (FLTS_BUS) and its options")
        return
    with closing(opened):
        yield from bus.examine(opened, models)
