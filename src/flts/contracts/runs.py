"""The numbered runs of a configuration and the parts of their records, each written once by the process that did it."""

from __future__ import annotations

from collections.abc import Iterator

from flts.contracts import layout, run_index
from flts.contracts.ports import Store
from flts.contracts.records.base import R, read_record, write_record
from flts.contracts.records.run import RunClaim


def numbers(store: Store, config_hash: str) -> list[int]:
    """Numbers of all runs, oldest first. A number under which any part lies is taken, with or without its claim."""
    found = {layout.run_number(key) for key in store.list(layout.runs(config_hash))}
    return sorted(number for number in found if number is not None)


def claim(store: Store, config_hash: str, record: RunClaim) -> int:
    """Take the next free number and store the claim under it; the number in the record is replaced.

    `claimed_by` must differ between two processes, or both take the number for theirs. It is in the index before it is
    claimed: a process that ends in between leaves an entry that nobody shows, and never a run that nobody finds.
    """
    run_index.begin(store, record)
    number = max(numbers(store, config_hash), default=0) + 1
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

    Raises DamagedObject at the first part that is not a record of this kind.
    """
    every = set(store.list(layout.runs(config_hash)))
    numbered = {number for number in map(layout.run_number, every) if number is not None}
    for number in sorted(numbered, reverse=True):
        key = layout.run_part(config_hash, number, part)
        record = read_record(store, key, kind) if key in every else None
        if record is not None:
            yield record
