"""A folder with many runs, as years leave it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flts.backends.store import open_store
from flts.contracts import layout
from flts.contracts.ports import DatedStore
from flts.contracts.records.run import RunClaim

APART = timedelta(minutes=10)
"""Time between two runs."""
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def kept_runs(folder: Path, count: int, copied: datetime | None = None) -> tuple[DatedStore, Sequence[str]]:
    """Claims of so many runs, each of another configuration, and their hashes, the oldest first.

    copied: when the store was copied, which all its files are then of.
    """
    store, hashes = open_store(folder.as_uri()), [f"{number:064x}" for number in range(count)]
    for number, config_hash in enumerate(hashes):
        began = FIRST + number * APART
        record = RunClaim(
            run=1,
            scope="global",
            environment="tests",
            data_hash="d" * 64,
            recompute=False,
            promotion=0,
            flts="0.0.0",
            started=began.isoformat(),
            claimed_by="tests",
        )
        key = layout.run_part(config_hash, 1, "claim")
        store.create(key, record.to_bytes())
        at = (copied or began + timedelta(seconds=1)).timestamp()
        os.utime(folder / key, (at, at))
    return store, hashes
