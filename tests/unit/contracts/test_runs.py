"""Runs are numbered without gaps, each number has one owner, and the parts of runs are found by kind."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.raising import raises

from flts.backends.store import memory_store
from flts.contracts import layout, runs
from flts.contracts.canonical import canonical_json, digest
from flts.contracts.errors import DamagedObject
from flts.contracts.ports import Store
from flts.contracts.records.base import parse_record
from flts.contracts.records.run import FailurePart, RunClaim

CONFIG = digest("config")
CLAIMERS = 8


def claim_of(owner: str, scope: str = "global") -> RunClaim:
    """A claim that has no number yet."""
    return RunClaim(
        run=1,
        scope=scope,
        environment="tests",
        data_hash=digest("data"),
        recompute=False,
        promotion=0,
        flts="0",
        started="2026-01-02T03:04:05+00:00",
        claimed_by=owner,
    )


def test_each_claim_takes_the_next_number_and_is_stored_under_it() -> None:
    store = memory_store()
    assert [runs.claim(store, CONFIG, claim_of(owner, owner)) for owner in ("north", "south", "north")] == [1, 2, 3]
    assert [(part.run, part.scope) for part in runs.parts(store, CONFIG, "claim", RunClaim)] == [
        (3, "north"),
        (2, "south"),
        (1, "north"),
    ]
    assert runs.newest(store, CONFIG, "south") == 2
    assert runs.newest(store, CONFIG, "east") is None


def test_concurrent_claims_get_a_number_each() -> None:
    store, start = memory_store(), threading.Barrier(CLAIMERS)

    def claim(owner: int) -> int:
        start.wait(10.0)
        return runs.claim(store, CONFIG, claim_of(str(owner)))

    with ThreadPoolExecutor(CLAIMERS) as pool:
        numbers = list(pool.map(claim, range(CLAIMERS)))
    assert sorted(numbers) == list(range(1, CLAIMERS + 1)) == runs.numbers(store, CONFIG)
    owners = {part.run: part.claimed_by for part in runs.parts(store, CONFIG, "claim", RunClaim)}
    assert owners == {number: str(owner) for owner, number in enumerate(numbers)}


@pytest.mark.parametrize("part", ["judge", "train-ridge", "failures/ridge", "claim"])
def test_a_number_is_taken_by_any_part_so_that_no_run_takes_over_those_of_another(part: str) -> None:
    store = memory_store()
    store.create(layout.run_part(CONFIG, 1, part), b"{}")
    assert runs.claim(store, CONFIG, claim_of("me")) == 2


def test_a_folder_that_is_not_a_number_is_ignored() -> None:
    store = memory_store()
    for folder in ("notes", "0000", "007", "00001"):
        store.create(f"{layout.runs(CONFIG)}{folder}/claim.json", b"{}")
    store.create(f"{layout.runs(CONFIG)}readme.txt", b"")
    assert runs.numbers(store, CONFIG) == []
    assert list(runs.parts(store, CONFIG, "claim", RunClaim)) == []
    assert runs.claim(store, CONFIG, claim_of("me")) == 1


@pytest.mark.parametrize(
    ("change", "code", "fields"),
    [
        ({"run": "x"}, "record-damaged", ("run",)),
        ({"run": -5}, "record-damaged", ("run",)),
        ({"run": 2}, "record-misplaced", ("run",)),
        ({"scope": "../x"}, "record-damaged", ("scope",)),
        ({"scope": None}, "record-damaged", ("scope",)),
        ({"v": 9}, "record-newer", None),
    ],
)
def test_a_damaged_part_is_named_with_its_field(
    change: dict[str, object], code: str, fields: tuple[str, ...] | None
) -> None:
    store: Store = memory_store()
    key = layout.run_part(CONFIG, 1, "claim")
    store.create(key, canonical_json({**claim_of("me").model_dump(), **change}))
    with raises(DamagedObject, code=code, key=key, fields=fields):
        list(runs.parts(store, CONFIG, "claim", RunClaim))


FAILURE = {
    "v": 1,
    "run": 1,
    "scope": "global",
    "environment": "tests",
    "model": "ridge",
    "started": "2026-01-02T03:04:05+00:00",
    "ended": "2026-01-02T03:04:05+00:00",
    "class": "DataError",
    "reason": "no such column",
    "run_id": None,
}


@pytest.mark.parametrize("more", [{}, {"model_hash": digest("ridge"), "tracking_uri": None, "processor": "x86"}])
def test_a_failure_keeps_its_bytes_whether_or_not_the_work_on_its_model_started(
    more: dict[str, object],
) -> None:
    stored = canonical_json({**FAILURE, **more})
    assert parse_record(FailurePart, stored, "a failure").to_bytes() == stored
