"""A folder with many runs, as years leave it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flts.backends.store import ObjectStoreAdapter, memory_store, open_store
from flts.contracts import layout, run_index
from flts.contracts.canonical import digest
from flts.contracts.ports import DatedStore
from flts.contracts.records.run import JudgePart, RunClaim

APART = timedelta(minutes=10)
"""Time between two runs."""
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def indexed_runs(
    count: int, scopes: Sequence[str] = ("global",), store: ObjectStoreAdapter | None = None
) -> tuple[ObjectStoreAdapter, Sequence[str]]:
    """The same as this flts leaves them: in the index, and judged; the first scopes are those of the first runs."""
    store, hashes = store or memory_store(), [digest(f"run {number}") for number in range(count)]
    run_index.completed(store)
    for number, config_hash in enumerate(hashes):
        claim = _claim(FIRST + number * APART, scopes[min(number, len(scopes) - 1)])
        run_index.enter(store, config_hash, claim, waits=False)
        store.create(layout.spec(config_hash), b"{}")
        store.create(layout.run_part(config_hash, 1, "claim"), claim.to_bytes())
        store.create(layout.run_part(config_hash, 1, "judge"), _judged(claim).to_bytes())
    return store, hashes


def _claim(began: datetime, scope: str = "global") -> RunClaim:
    return RunClaim(
        run=1,
        scope=scope,
        environment="tests",
        data_hash="d" * 64,
        recompute=False,
        promotion=0,
        flts="0.0.0",
        started=began.isoformat(),
        claimed_by="tests",
    )


def _judged(claim: RunClaim) -> JudgePart:
    return JudgePart(
        run=claim.run,
        scope=claim.scope,
        environment="tests",
        decision_id="0" * 64,
        outcome="keep",
        repeated=False,
        promotion=None,
        run_ids={},
        ended=claim.started,
    )


def kept_runs(folder: Path, count: int, copied: datetime | None = None) -> tuple[DatedStore, Sequence[str]]:
    """Claims of so many runs without an index, each of another configuration, and their hashes, the oldest first.

    copied: when the store was copied, which all its files are then of.
    """
    store, hashes = open_store(folder.as_uri()), [f"{number:064x}" for number in range(count)]
    for number, config_hash in enumerate(hashes):
        began = FIRST + number * APART
        key = layout.run_part(config_hash, 1, "claim")
        store.create(key, _claim(began).to_bytes())
        at = (copied or began + timedelta(seconds=1)).timestamp()
        os.utime(folder / key, (at, at))
    return store, hashes
