"""The index of runs, made again from the runs: for a store that an earlier flts wrote, or that was restored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flts.contracts import layout, run_index, runs
from flts.contracts.errors import DamagedObject
from flts.contracts.ports import Store
from flts.contracts.records.base import require_record
from flts.contracts.records.run import RunClaim


@dataclass(frozen=True)
class Mended:
    """What was found. runs: claimed ones; entered: those that were not in the index; damaged: whose claim is."""

    runs: int
    entered: int
    damaged: Sequence[DamagedObject]


def mend(store: Store, *, every: bool = False) -> Mended:
    """Enter every run that is not in the index, and mark those that wait for their judgement; one listing of all runs.

    every: read all claims; otherwise those without any entry. The index counts as complete then, unless a claim cannot
    be read: without its time it has no place.
    """
    keys = set(store.list("runs/"))
    entries = {(entry.config_hash, entry.run) for key in keys if (entry := _entry(key))}
    damaged: list[DamagedObject] = []
    claims = sorted(key for key in keys if key.endswith("/claim.json") and layout.run_number(key))
    entered = 0
    for key in claims:
        config_hash, run = key.split("/")[1], layout.run_number(key)
        judged = key.replace("claim.json", "judge.json") in keys
        if judged and (config_hash, run) in entries and not every:
            continue
        try:
            claim = require_record(store, key, RunClaim)
        except DamagedObject as error:
            damaged.append(error)
            continue
        entry = run_index.entry_of(config_hash, claim)
        lacks = not keys.issuperset({layout.run_entry(entry), layout.run_entry(entry, claim.scope)})
        waits = (
            not judged and layout.open_run(entry) not in keys and runs.newest(store, config_hash, claim.scope) == run
        )
        if lacks or waits:
            run_index.enter(store, config_hash, claim, waits=waits)
        entered += lacks
    if not damaged:
        run_index.completed(store)
    return Mended(len(claims), entered, damaged)


def _entry(key: str) -> layout.RunEntry | None:
    """What an entry names. Those of a scope were written last."""
    return layout.run_entry_of(key) if key.startswith(layout.BY_SCOPE) else None
