"""Experiments with an ensemble whose members are fitted in no time: ridge, and two families that repeat the past."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import pytest

from flts.backends.store import memory_store
from flts.contracts.ports import Store
from flts.evaluate.case import Candidate
from flts.promotion.ensemble import make_ensemble
from flts.promotion.judge import Waiting, gather_trained, yardstick
from flts.spec.installed import discover
from flts.spec.models import ENSEMBLE
from flts.train.experiment import Experiment
from flts.train.stage import Trained
from tests.support.distributions import Site
from tests.support.experiments import small_experiment, small_spec
from tests.support.stored import copy, fit

MEMBERS = ("last", "ridge", "season")
REPEATING = """
from flts.models.naive import Naive, SeasonalNaive

class Last(Naive):
    name = "last"

class Season(SeasonalNaive):
    name = "season"
"""


@pytest.fixture
def repeating(site: Site) -> Iterator[None]:
    """Installs the families `last` and `season` for the length of a test."""
    site.install("flts-repeating", "1.0", {"last": "repeating:Last", "season": "repeating:Season"}, repeating=REPEATING)
    yield
    discover.cache_clear()


def ensemble_experiment(members: Sequence[str] = MEMBERS, **tables: dict[str, Any]) -> tuple[Experiment, Store]:
    """An experiment with these members and their ensemble; nothing is fitted."""
    return small_experiment(small_spec((*members, ENSEMBLE), **tables))


def with_members(members: Sequence[str] = MEMBERS, **tables: dict[str, Any]) -> tuple[Experiment, Store]:
    """The same with its members fitted, once for all tests of a process; each gets a store of its own."""
    experiment, fitted = _fitted(tuple(members), json.dumps(tables))
    store = memory_store()
    copy(fitted, store)
    return experiment, store


@cache
def _fitted(members: tuple[str, ...], tables: str) -> tuple[Experiment, Store]:
    experiment, store = ensemble_experiment(members, **json.loads(tables))
    for name in members:
        fit(store, experiment, name)
    return experiment, store


def members_of(store: Store, experiment: Experiment, run: int | None = None) -> list[Candidate]:
    """The candidates that an ensemble may be made of, none of which is awaited."""
    found = gather_trained(store, experiment, run)
    assert not isinstance(found, Waiting)
    return found


def made(store: Store, experiment: Experiment, candidates: Sequence[Candidate] | None = None) -> Trained:
    """The ensemble of what is stored."""
    scale = yardstick(experiment.dataset, experiment.task)
    chosen = members_of(store, experiment) if candidates is None else candidates
    return make_ensemble(store, experiment, chosen, scale, recompute=False)
