"""Runs are numbered without gaps, each number has one owner, and the parts of runs are found by kind."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.counted import requests
from tests.support.raising import raises

from flts.backends.store import memory_store
from flts.contracts import layout, run_index, runs
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


def plain(store: Store) -> list[int]:
    """The numbers by a listing of everything."""
    found = map(layout.run_number, store.list(layout.runs(CONFIG)))
    return sorted({number for number in found if number is not None})


FOLDERS = st.one_of(
    st.integers(1, 12).map(lambda number: f"{number:04}"),
    st.sampled_from((9998, 9999, 10_000, 10_001, 100_000)).map(str),
    st.sampled_from(("notes", "0000", "007", "00001", "1000x")),
)


@settings(deadline=None)
@given(
    st.dictionaries(FOLDERS, st.sets(st.sampled_from(("claim", "judge", "train-ridge", "failures/ridge")), min_size=1))
)
def test_numbers_and_parts_are_those_of_a_plain_listing_whatever_is_missing_in_between(
    kept: dict[str, set[str]],
) -> None:
    store = memory_store()
    for folder, parts in kept.items():
        for part in parts:
            number = layout.run_number(f"{layout.runs(CONFIG)}{folder}/")
            data = claim_of("me").model_copy(update={"run": number or 1}).to_bytes() if part == "claim" else b"{}"
            store.create(f"{layout.runs(CONFIG)}{folder}/{part}.json", data)
    numbers = plain(store)
    assert runs.numbers(store, CONFIG) == numbers
    claimed = [number for number in reversed(numbers) if store.exists(layout.run_part(CONFIG, number, "claim"))]
    assert [part.run for part in runs.parts(store, CONFIG, "claim", RunClaim)] == claimed
    assert runs.newest(store, CONFIG, "global") == (claimed[0] if claimed else None)
    assert runs.claim(store, CONFIG, claim_of("next")) == max(numbers, default=0) + 1


@pytest.mark.parametrize("claimed", [1, 9_999])
def test_parts_are_found_beyond_the_newest_runs_and_the_rest_is_listed_once(
    claimed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = memory_store()
    for number in range(claimed, claimed + 2 * runs.NEAR):
        store.create(layout.run_part(CONFIG, number, "preprocess"), b"{}")
    store.create(
        layout.run_part(CONFIG, claimed, "claim"),
        claim_of("me").model_copy(update={"run": claimed}).to_bytes(),
    )
    with requests(monkeypatch) as counted:
        assert runs.newest(store, CONFIG, "global") == claimed
    assert counted == {"folders": 1, "exists": runs.NEAR, "list": 1, "get": 1}


def test_the_newest_run_costs_the_same_whatever_is_older(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    for kept in (10, 900):
        store = memory_store()
        run_index.completed(store)
        for number in range(1, kept + 1):
            claim = claim_of("me").model_copy(update={"run": number})
            store.create(layout.run_part(CONFIG, number, "claim"), claim.to_bytes())
            store.create(layout.run_part(CONFIG, number, "judge"), b"{}")
        with requests(monkeypatch) as counted:
            assert runs.newest(store, CONFIG, "global") == kept
            assert runs.claim(store, CONFIG, claim_of("next")) == kept + 1
        counts.append(counted)
    assert counts[0] == counts[1]
    assert counts[0]["folders"] == 2
