"""No command asks a store for more because of runs that it does not show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.counted import requests
from tests.support.kept import FIRST, indexed_runs
from tests.support.stored import copy
from tests.unit.cli.conftest import Flts

from flts import wiring
from flts.backends.store import ObjectStoreAdapter, memory_store, open_store
from flts.contracts import layout, run_index
from flts.contracts.canonical import canonical_json, digest
from flts.contracts.records.base import require_record
from flts.contracts.records.run import RunClaim
from flts.report.evidence import OTHERS, chosen_run, newest_first

FEW, MANY = 10, 3000
DEEPER = 10
"""Requests for the folders of the index that a store with many runs has between its root and a run."""
ALONE = "alone"
"""The scope of one run, the oldest."""


Kept = dict[int, ObjectStoreAdapter]


@pytest.fixture(scope="module")
def kept() -> Kept:
    """Stores with so many runs of 2026-01, each of another configuration, the oldest in a scope of its own."""
    return {count: indexed_runs(count, [ALONE, "global"])[0] for count in (FEW, MANY)}


def beside(kept: ObjectStoreAdapter, ran: Path, patch: pytest.MonkeyPatch) -> None:
    """Have commands open a store with these runs and what `flts run` left, in place of the folder."""
    made = memory_store()
    made.url = "s3://tests"  # of one in memory, some commands say that no other process can see it
    copy(kept, made)
    copy(open_store((ran / ".flts" / "objects").as_uri()), made)
    opened = wiring.open_store
    patch.setattr(wiring, "open_store", lambda url, **options: made if "memory" not in url else opened(url, **options))


def counts(flts: Flts, ran: Path, kept: Kept, patch: pytest.MonkeyPatch, words: str, code: int) -> list[int]:
    """The requests of a command beside few runs and beside many."""
    found = []
    for store in kept.values():
        with patch.context() as patched:
            beside(store, ran, patched)
            with requests(patched) as counted:
                done = flts(*words.split())
        assert done.code == code, done.err
        found.append(counted.total())
    return found


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("runs list --limit 5", 0),
        ("runs list --limit 5 --json", 0),
        ("runs list --limit 5 --scope global", 0),
        ("runs show", 0),
        ("runs show --json", 0),
        ("verify", 0),
        ("verify --scope global", 0),
        ("compare .flts .flts", 1),
        ("promotions list", 0),
        ("promotions show", 0),
        ("forecast --input load_test.csv", 0),
        ("run", 0),
    ],
)
def test_a_command_costs_the_same_beside_few_runs_and_many(
    words: str, code: int, flts: Flts, ran: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = counts(flts, ran, kept, monkeypatch, words, code)
    assert many <= few + DEEPER


def test_a_run_is_shown_by_the_start_of_its_configuration_as_cheaply(
    flts: Flts, ran: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = json.loads(flts("runs", "list", "--json").out)[0]["config_hash"]
    for start in (config, config[:12]):
        few, many = counts(flts, ran, kept, monkeypatch, f"runs show {start}", 0)
        assert many == few


@pytest.mark.parametrize("words", ["promotions list", "promotions show", "forecast --input load_test.csv"])
def test_without_an_experiment_here_the_only_scope_is_found_as_cheaply(
    words: str, flts: Flts, ran: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ran / "flts.toml").unlink()
    few, many = counts(flts, ran, kept, monkeypatch, words, 0)
    assert many == few


def test_every_page_of_runs_costs_as_much_as_the_first(
    flts: Flts, ran: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside(kept[MANY], ran, monkeypatch)
    shown: list[str] = []
    before: list[str] = []
    most = 0
    for _ in range(1 + (MANY + 1) // 500):
        with requests(monkeypatch) as counted:
            done = flts("runs", "list", "--limit", "500", "--json", *before)
        rows = json.loads(done.out)
        shown += [f"{row['config_hash'][:12]}:{row['run']}" for row in rows]
        assert f"--limit 500 --before {shown[-1]}`" in done.err if len(rows) == 500 else not done.err
        before = ["--before", shown[-1]]
        most = max(most, counted.total())
    assert len(shown) == len(set(shown)) == MANY + 1
    assert most <= 3 * 501 + 60, "a folder of a minute, a claim and a judgement of each run"


def test_the_newest_run_of_a_scope_is_found_beneath_all_others(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    store = kept[MANY]
    with requests(monkeypatch) as counted:
        assert chosen_run(store, None, None, ALONE) == (digest("run 0"), 1)
    assert counted.total() == 4, "from when on the index counts, its months, the entries of one, and the claim"
    assert newest_first(store, 1, scope=ALONE)[0].claim.started == FIRST.isoformat()


def repeated(ran: Path, count: int) -> ObjectStoreAdapter:
    """A store in which the run of `flts run` was made so many times more, before it."""
    store = memory_store()
    made = open_store((ran / ".flts" / "objects").as_uri())
    [config_hash] = {key.split("/")[1] for key in made.list("runs/") if layout.run_number(key)}
    folder = layout.run_folder(config_hash, 1)
    parts = {key.removeprefix(folder): json.loads(made.get(key) or b"") for key in made.list(folder)}
    for number in range(2, 2 + count):
        for part, record in parts.items():
            data = canonical_json({**record, "run": number})
            store.create(f"{layout.run_folder(config_hash, number)}{part}", data)
        claim = require_record(store, layout.run_part(config_hash, number, "claim"), RunClaim)
        run_index.enter(store, config_hash, claim, waits=False)
    return store


@pytest.fixture(scope="module")
def again(promoted_folder: Path) -> Kept:
    """Stores with so many runs of one configuration; the few are as many as a comparison reads for their durations."""
    return {count: repeated(promoted_folder, count) for count in (OTHERS, MANY)}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("runs show CONFIG", 0),
        ("runs show CONFIG --json", 0),
        ("runs show CONFIG --run 4000", 2),
        ("verify CONFIG --run 1", 0),
        ("compare CONFIG CONFIG:1", 1),
        ("run", 0),
    ],
)
def test_a_command_about_a_configuration_costs_the_same_after_few_runs_of_it_and_many(
    words: str, code: int, flts: Flts, ran: Path, again: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = json.loads(flts("runs", "list", "--json").out)[0]["config_hash"]
    few, many = counts(flts, ran, again, monkeypatch, words.replace("CONFIG", config), code)
    assert many <= few + DEEPER
