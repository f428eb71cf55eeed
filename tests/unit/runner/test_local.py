"""A run on one machine: what it reads from a grown store, and its result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.experiments import small_spec
from tests.support.raising import raises
from tests.support.services import RAW, TEST
from tests.support.stored import MOMENT, Watched, chain
from tests.support.tracking import ReservingTracker

import flts
from flts import RunResult, wiring
from flts.contracts import layout
from flts.contracts.errors import StageFailed
from flts.contracts.ports import Store, TrackedRun
from flts.contracts.records.base import require_record
from flts.contracts.records.decision import CandidateRow
from flts.contracts.records.run import JudgePart
from flts.promotion.log import next_entry, read_log
from flts.runner.reporter import Quiet, Reporter
from flts.settings import Settings, load_settings

ENTRIES = 52


def run(settings: Settings, *, recompute: bool = False, reporter: Reporter | None = None) -> RunResult:
    table = RAW.train.loaded().table
    return flts.run(
        small_spec(), train=table, test=TEST, settings=settings, recompute=recompute, reporter=reporter or Quiet()
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / ".flts", tracking="off")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Watched]:
    """The stores opened during the test, each with its recorded calls."""
    stores: list[Watched] = []
    real: Callable[[str], Store] = wiring.open_store

    def watched(url: str) -> Watched:
        stores.append(Watched(real(url)))
        return stores[-1]

    monkeypatch.setattr(wiring, "open_store", watched)
    return stores


def put_entries(store: Store, count: int) -> None:
    """Let the log of the scope grow to so many entries, all of the same champion."""
    entries = read_log(store, "global")
    champion, decision_id = entries[0].champion, entries[0].decision_id
    while len(entries) < count:
        entries.append(next_entry(chain(entries), "global", "manual", champion, decision_id, "tests", MOMENT))
        store.create(layout.log_entry("global", len(entries)), entries[-1].to_bytes())


def test_an_idle_run_reads_each_entry_of_the_log_once_and_lists_no_other_configuration(
    settings: Settings, opened: list[Watched]
) -> None:
    """When it begins; what it read is handed on to the judge and to the relay."""
    first = run(settings)
    put_entries(wiring.open_store(settings.store_url), ENTRIES)
    run(settings)  # decides against the champion that it made
    opened.clear()
    idle = run(settings)
    (store,) = opened
    read = Counter(key for key in store.read if key.startswith(layout.log("global")))
    newest = layout.log_entry("global", ENTRIES)  # is looked at again, to see whether the log still stands
    assert 1 < read.pop(newest) < 6
    assert read == dict.fromkeys((layout.log_entry("global", n) for n in range(1, ENTRIES)), 1)
    assert idle.champion is not None
    assert (idle.reused, idle.champion.number) == (True, ENTRIES)
    listed = {prefix for prefix in store.listed if prefix.startswith("runs/")}
    assert listed == {layout.runs(first.config_hash), layout.run_folder(first.config_hash, 3)}


def test_the_result_matches_the_store(settings: Settings) -> None:
    result = run(settings)
    store = wiring.open_store(settings.store_url)
    assert store.get(result.places["decision"]) == result.decision.to_bytes()
    assert result.champion is not None
    assert store.get(layout.log_entry("global", 1)) == result.champion.to_bytes()
    row = result.decision.row(result.winner)
    assert isinstance(row, CandidateRow)
    assert row.bundle_sha256 == result.champion.champion.bundle_sha256
    assert (result.winner, result.promoted, result.repeated, result.reused) == ("ridge", True, False, False)
    again = run(settings, recompute=True)
    assert (again.recomputed, again.nondeterministic) == ({"ridge": "equal"}, [])


def test_a_run_after_one_that_lost_its_claim_takes_a_number_of_its_own_and_announces_no_promotion(
    settings: Settings,
) -> None:
    first = run(settings)
    (settings.home / "objects" / layout.run_part(first.config_hash, 1, "claim")).unlink()
    second = run(settings)
    assert (first.run, first.promoted, second.run) == (1, True, 2)
    third = run(settings)
    assert (second.promoted, third.run, third.promoted) == (False, 3, False)


class Order(Quiet):
    """Notes what the tracker knew when the result was shown."""

    def __init__(self, tracker: ReservingTracker) -> None:
        self._tracker, self.shown = tracker, list[tuple[RunResult, int]]()

    def judged(self, result: RunResult) -> None:
        self.shown.append((result, len(self._tracker.runs)))


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> ReservingTracker:
    """What every run of the test logs to."""
    found = ReservingTracker()
    monkeypatch.setattr(wiring, "open_tracker", lambda settings: found)
    return found


def judge_part(settings: Settings, result: RunResult) -> JudgePart:
    key = layout.run_part(result.config_hash, result.run, "judge")
    return require_record(wiring.open_store(settings.store_url), key, JudgePart)


def test_the_result_is_shown_before_the_tracker_is_told_of_anything(
    settings: Settings, tracker: ReservingTracker
) -> None:
    order = Order(tracker)
    result = run(settings, reporter=order)
    assert order.shown == [(result, 0)]
    assert result.run_ids == {"ridge": "id-1"}
    assert (list(tracker.under), len(tracker.annotations)) == (["id-1"], 1)
    assert result.champion is not None
    assert [run_id for _, run_id, *_ in tracker.promotions] == [result.champion.champion.run_id] == ["id-1"]
    assert judge_part(settings, result).untold is None


@pytest.mark.parametrize("logged", [0, 1])
def test_a_run_of_which_the_tracker_was_not_told_is_judged_and_the_next_run_tells_it(
    settings: Settings, tracker: ReservingTracker, logged: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker.away = 1
    if logged:  # the run is there, and the champion could not be registered
        monkeypatch.setattr(ReservingTracker, "log", Refused.log)
    order = Order(tracker)
    with raises(StageFailed, code="tracker-failed"):
        run(settings, reporter=order)
    ((first, _),) = order.shown
    assert (first.promoted, judge_part(settings, first).untold) == (True, True)
    assert (len(tracker.under), tracker.promotions) == (logged, [])
    second = run(settings)
    assert (second.run, second.reused, second.promoted) == (2, True, False)
    assert (list(tracker.under), len(tracker.runs)) == (["id-1"], 1)
    assert [run_id for _, run_id, *_ in tracker.promotions] == ["id-1"]
    assert judge_part(settings, second).untold is None


class Refused(ReservingTracker):
    """Takes runs while it is away, and registers no champion."""

    def log(self, run: TrackedRun, run_id: str | None = None) -> str:
        assert run_id is not None
        self.runs.append(run)
        self.under[run_id] = run
        return run_id
