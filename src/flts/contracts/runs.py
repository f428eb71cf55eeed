"""The numbered runs of a configuration and the parts of their records, each written once by the process that did it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice

from flts.contracts import layout, run_index
from flts.contracts.ports import Store
from flts.contracts.records.base import R, read_record, write_record
from flts.contracts.records.run import RunClaim

NEAR = 16
"""Runs of which one is asked for by its name, the newest first, before those that are older are listed."""


def numbers(store: Store, config_hash: str) -> list[int]:
    """Numbers of all runs, oldest first. A number under which any part lies is taken, with or without its claim.

    They are the names of folders, of which S3 tells a thousand with each request, whatever lies in them. A search for
    the highest would take more requests up to 10,000 runs, and a disk reads all of these names for each step of it.
    """
    found = map(layout.run_number, store.folders(layout.runs(config_hash)))
    return sorted(number for number in found if number is not None)


def highest(store: Store, config_hash: str) -> int:
    """The number of the newest run; 0 where there is none."""
    return max(numbers(store, config_hash), default=0)


def claim(store: Store, config_hash: str, record: RunClaim) -> int:
    """Take the next free number and store the claim under it; the number in the record is replaced.

    `claimed_by` must differ between two processes, or both take the number for theirs. It is in the index before it is
    claimed: a process that ends in between leaves an entry that nobody shows, and never a run that nobody finds.
    """
    run_index.begin(store, record)
    number = highest(store, config_hash) + 1
    while True:
        mine = record.model_copy(update={"run": number})
        run_index.enter(store, config_hash, mine)
        if write_record(store, layout.run_part(config_hash, number, "claim"), mine, at="run.claim") == mine:
            return number
        number += 1


def newest(store: Store, config_hash: str, scope: str) -> int | None:
    """Number of the newest run of this configuration and scope."""
    claims = parts(store, config_hash, "claim", RunClaim)
    return next((record.run for record in claims if record.scope == scope), None)


def parts(store: Store, config_hash: str, part: str, kind: type[R]) -> Iterator[R]:
    """One part of every run that has it, newest run first: claim, judge, train-<model>, failures/<model>.

    Whoever takes the first ones asks for no run before them. Raises DamagedObject at the first part that is not a
    record of this kind.
    """
    every = (layout.run_part(config_hash, number, part) for number in reversed(numbers(store, config_hash)))
    near = (key for key in islice(every, NEAR) if store.exists(key))
    for key in chain(near, _listed(store, config_hash, every)):
        record = read_record(store, key, kind)
        if record is not None:
            yield record


def _listed(store: Store, config_hash: str, keys: Iterable[str]) -> Iterator[str]:
    """Those of the keys that are there, by one listing of the configuration; by none where there are no keys."""
    there: set[str] | None = None
    for key in keys:
        there = set(store.list(layout.runs(config_hash))) if there is None else there
        if key in there:
            yield key
