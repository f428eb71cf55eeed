"""The index of runs: complete for whoever writes it, never the truth, and made again from the runs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain

import pytest
from tests.support.kept import indexed_runs
from tests.support.points import names
from tests.support.raising import raises

from flts.backends.store import memory_store
from flts.contracts import layout, run_index, runs
from flts.contracts.canonical import digest
from flts.contracts.errors import DamagedObject, UsageError
from flts.contracts.failpoints import arm
from flts.contracts.layout import RunEntry
from flts.contracts.ports import DatedStore
from flts.contracts.records.run import RunClaim
from flts.report.evidence import named_run, newest_first
from flts.report.reindex import mend

START = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG, OTHER = digest("config"), digest("other")
POINTS = [f"{name}.{side}" for name in names() if name.startswith("run.index") for side in ("before", "after")]
IN_A_CLAIM = [point for point in POINTS if not point.startswith(("run.index.complete", "run.index.settled"))]
WHEN_MENDED = [point for point in POINTS if not point.startswith(("run.index.begin", "run.index.settled"))]


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm("")


def claim_of(began: datetime = START, scope: str = "global", owner: str = "tests") -> RunClaim:
    return RunClaim(
        run=1,
        scope=scope,
        environment="tests",
        data_hash=digest("data"),
        recompute=False,
        promotion=0,
        flts="0",
        started=began.isoformat(),
        claimed_by=owner,
    )


def by_an_earlier_flts(store: DatedStore, config_hash: str, run: int, began: datetime, scope: str = "global") -> None:
    """A claim without an entry."""
    record = claim_of(began, scope).model_copy(update={"run": run})
    assert store.create(layout.run_part(config_hash, run, "claim"), record.to_bytes())


def shown(store: DatedStore, most: int | None = None, scope: str | None = None) -> list[tuple[str, int]]:
    return [(row.config_hash, row.run) for row in newest_first(store, most, scope=scope)]


@pytest.mark.parametrize("at_once", [1, 4, 256])
def test_pages_of_any_length_give_every_entry_once_in_order(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_index, "AT_ONCE", at_once)
    draw, store, entered = random.Random(1), memory_store(), set()  # noqa: S311 - no secret
    for number in range(200):
        spread = draw.choice([1, 3600, 86_400, 90 * 86_400])
        moment = START + timedelta(seconds=draw.randrange(spread), microseconds=draw.choice([0, 1, 999_999]))
        claim = claim_of(moment, f"s{number % 3}").model_copy(update={"run": number + 1})
        run_index.enter(store, draw.choice([CONFIG, OTHER]), claim)
    for key in store.list(layout.run_entries()):
        found = layout.run_entry_of(key)
        assert found is not None
        assert layout.run_entry(found) == key
        entered.add(found)
    every = sorted(entered, key=lambda entry: entry.order)
    assert list(run_index.entries(store)) == every
    for length in (1, 7, 50):
        pages: list[RunEntry] = []
        while page := list(run_index.entries(store, before=pages[-1] if pages else None))[:length]:
            pages += page
        assert pages == every
    thirds = [list(run_index.entries(store, f"s{number}")) for number in range(3)]
    assert sorted(chain.from_iterable(thirds), key=lambda entry: entry.order) == every
    assert list(run_index.entries(store, "s1", before=thirds[1][10])) == thirds[1][11:]


def test_what_lies_beside_the_entries_is_none_of_them() -> None:
    store, hashes = indexed_runs(2)
    store.create(f"{layout.run_entries()}notes.txt", b"")
    before = list(run_index.entries(store))
    for name in ("notes.txt", f"20260101T000000.000000Z-{CONFIG}-0000", f"20261301T000000.000000Z-{CONFIG}-0001"):
        store.create(f"{layout.run_entries()}2026-01/01/0000/{name}", b"")
    assert list(run_index.entries(store)) == before
    assert len(hashes) == 2


@pytest.mark.parametrize("point", IN_A_CLAIM)
def test_a_process_that_ends_while_it_claims_leaves_no_run_that_is_not_listed(point: str) -> None:
    store = memory_store()
    arm(f"{point}=error")
    with pytest.raises(OSError, match="failpoint"):
        runs.claim(store, CONFIG, claim_of())
    assert shown(store) == []
    assert runs.claim(store, CONFIG, claim_of(START + timedelta(hours=1), owner="next")) == 1
    assert shown(store) == shown(store, scope="global") == [(CONFIG, 1)]
    assert mend(store, every=True).entered == 0


def test_of_two_processes_that_want_a_number_each_is_listed_once_and_the_entry_of_the_loser_is_passed_over() -> None:
    store = memory_store()
    run_index.begin(store, claim_of())
    run_index.enter(store, CONFIG, claim_of(START + timedelta(seconds=1), owner="slow"))
    assert runs.claim(store, CONFIG, claim_of(owner="fast")) == 1
    assert runs.claim(store, CONFIG, claim_of(START + timedelta(seconds=1), owner="slow")) == 2
    assert len(list(run_index.entries(store))) == 3
    assert shown(store) == [(CONFIG, 2), (CONFIG, 1)]
    assert shown(store, 1) == [(CONFIG, 2)]


def test_runs_of_one_moment_are_listed_once_each_page_by_page() -> None:
    store = memory_store()
    for config_hash in (CONFIG, OTHER, CONFIG):
        runs.claim(store, config_hash, claim_of())
    every = newest_first(store)
    assert len({(row.config_hash, row.run) for row in every}) == 3
    assert [newest_first(store, 1, before=row)[0] for row in every[:-1]] == every[1:]
    assert newest_first(store, 1, before=every[-1]) == []


def test_a_run_whose_folder_is_gone_is_passed_over() -> None:
    store, hashes = indexed_runs(5)
    for key in store.list(layout.runs(hashes[3])):
        store.erase(key)
    assert [name for name, _ in shown(store)] == [hashes[n] for n in (4, 2, 1, 0)]
    assert [name for name, _ in shown(store, 2)] == [hashes[4], hashes[2]]


def test_a_damaged_claim_is_named_as_it_was_before_there_was_an_index() -> None:
    store, hashes = indexed_runs(3)
    key = layout.run_part(hashes[1], 1, "claim")
    store.replace(key, b"{}")
    assert len(newest_first(store, 1)) == 1
    with raises(DamagedObject, code="record-damaged", key=key):
        newest_first(store)


def test_in_a_store_that_an_earlier_flts_wrote_all_runs_are_listed_before_and_after_the_first_new_one() -> None:
    store = memory_store()
    for number in range(1, 4):
        by_an_earlier_flts(store, OTHER, number, START + number * timedelta(days=1), "old")
    old = [(OTHER, 3), (OTHER, 2), (OTHER, 1)]
    assert shown(store) == shown(store, scope="old") == old
    for number in range(1, 4):
        runs.claim(store, CONFIG, claim_of(START + (10 + number) * timedelta(days=1)))
        new = [(CONFIG, run) for run in range(number, 0, -1)]
        assert shown(store) == [*new, *old]
        assert shown(store, 2) == [*new, *old][:2]
        assert shown(store, scope="old") == old
        assert newest_first(store, 2, before=newest_first(store)[number - 1])[0].run == 3
    assert run_index.complete_since(store) == START + timedelta(days=11) + run_index.SKEW
    made = mend(store)
    assert (made.runs, made.entered, list(made.damaged)) == (6, 3, [])
    assert run_index.complete_since(store) == run_index.BEGINNING
    assert shown(store) == [*new, *old]
    assert {entry.config_hash for entry in run_index.entries(store, "old")} == {OTHER}


def test_what_an_earlier_flts_claims_beside_is_entered_once_somebody_works_on_it_or_looks_for_it() -> None:
    store = memory_store()
    runs.claim(store, CONFIG, claim_of())
    by_an_earlier_flts(store, OTHER, 1, START + timedelta(days=1))
    by_an_earlier_flts(store, OTHER, 2, START + timedelta(days=2))
    run_index.enter_late(store, OTHER, 1)
    assert shown(store) == [(OTHER, 1), (CONFIG, 1)]
    assert mend(store).entered == 1
    assert shown(store) == [(OTHER, 2), (OTHER, 1), (CONFIG, 1)]
    assert mend(store).entered == 0


@pytest.mark.parametrize("point", WHEN_MENDED)
def test_making_the_index_again_can_be_cut_off_anywhere(point: str) -> None:
    store = memory_store()
    by_an_earlier_flts(store, OTHER, 1, START)
    arm(f"{point}=error")
    with pytest.raises(OSError, match="failpoint"):
        mend(store)
    assert shown(store) == [(OTHER, 1)]
    mend(store)
    assert shown(store) == [(OTHER, 1)]
    assert [entry.run for entry in run_index.waiting(store)] == [1]


def test_while_a_claim_cannot_be_read_the_index_does_not_count_as_complete() -> None:
    store = memory_store()
    by_an_earlier_flts(store, OTHER, 1, START)
    store.create(layout.run_part(CONFIG, 1, "claim"), b"{}")
    made = mend(store, every=True)
    assert (made.runs, made.entered, [error.data["key"] for error in made.damaged]) == (
        2,
        1,
        [layout.run_part(CONFIG, 1, "claim")],
    )
    assert run_index.complete_since(store) is None
    with raises(DamagedObject, code="record-damaged", key=layout.run_part(CONFIG, 1, "claim")):
        newest_first(store)


def test_an_index_that_was_deleted_or_cannot_be_read_is_no_loss() -> None:
    store, hashes = indexed_runs(5)
    every = shown(store)
    store.replace(layout.run_index(), b"{}")
    assert shown(store) == every
    mend(store)
    for folder in (layout.run_entries(), layout.BY_SCOPE, "runs/index/"):
        for key in store.list(folder):
            store.erase(key)
        assert shown(store) == every
    assert mend(store).entered == len(hashes)
    assert shown(store, 2) == every[:2]


def test_what_is_not_a_scope_names_no_other_folder_of_the_index() -> None:
    store, _ = indexed_runs(2)
    for scope in ("../by-time", ".", ""):
        with raises(UsageError, code="scope-invalid", scope=scope):
            newest_first(store, scope=scope)


@pytest.mark.parametrize(("lost", "scope"), [(layout.run_entries(), None), (layout.BY_SCOPE, "tests")])
def test_an_index_of_which_a_folder_was_deleted_leaves_no_run_out_of_a_page(lost: str, scope: str | None) -> None:
    store, _ = indexed_runs(5, ["tests"])
    every = shown(store)
    for key in store.list(lost):
        store.erase(key)
    first = newest_first(store, 2, scope=scope)
    rest = newest_first(store, scope=scope, before=first[-1])
    assert [(row.config_hash, row.run) for row in (*first, *rest)] == every


def test_a_run_is_named_by_its_configuration_and_number() -> None:
    store, hashes = indexed_runs(3)
    row = named_run(store, f"{hashes[1]}:1")
    assert (row.config_hash, row.run) == (hashes[1], 1)
    for wrong in (hashes[1], f"{hashes[1]}:x", f"{hashes[1]}:{'1' * 5000}", ""):
        with raises(UsageError, code="run-invalid"):
            named_run(store, wrong)
    with raises(UsageError, code="run-unknown"):
        named_run(store, f"{hashes[1]}:2")
    with raises(UsageError, code="config-unknown"):
        named_run(store, "xyz:1")
