"""The number of a run: each claim takes the next one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.candidates import part
from tests.support.experiments import small_experiment
from tests.support.services import LONG
from tests.support.tracking import context_of

from flts.runner.claim import claim_run

pytestmark = pytest.mark.slow


def test_runs_are_numbered_from_one_and_their_claims_recorded() -> None:
    experiment, store = small_experiment()
    config_hash, data_hash = experiment.identity.config_hash, experiment.identity.data_hash
    context = context_of(store)
    assert [claim_run(context, config_hash, scope, data_hash, promotion=0) for scope in ("global", "north")] == [1, 2]
    assert claim_run(context, "f" * 64, "global", data_hash, promotion=0) == 1
    claim = part(store, experiment, "claim", 2)
    assert len(claim.pop("claimed_by")) == 32
    assert claim == {
        "v": 1,
        "run": 2,
        "scope": "north",
        "environment": "here",
        "data_hash": data_hash,
        "recompute": False,
        "promotion": 0,
        "flts": claim["flts"],
        "started": "2026-01-02T03:04:05+00:00",
    }


def test_concurrent_claims_get_different_numbers() -> None:
    experiment, store = small_experiment()
    context, start = context_of(store), threading.Barrier(8)

    def ask(_: int) -> int:
        start.wait(timeout=LONG)
        identity = experiment.identity
        return claim_run(context, identity.config_hash, "global", identity.data_hash, promotion=0)

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(ask, range(8))) == list(range(1, 9))
