"""A decision enters the log once, however often and by however many judges it is made."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.support.experiments import small_experiment, small_spec
from tests.support.judging import known
from tests.support.raising import raises
from tests.support.services import LONG
from tests.support.stored import (
    StoppedClock,
    Watched,
    contents,
    copy,
    fit,
    gathered,
    put_claim,
    put_failure,
    put_result,
    without,
)

from flts.backends.bus_memory import MemoryBus
from flts.backends.store import memory_store
from flts.contracts import failpoints, layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import DamagedObject, UsageError
from flts.contracts.messages import ModelSelected
from flts.contracts.ports import Place, Store
from flts.contracts.records.log import LogEntry
from flts.contracts.records.model import Latency
from flts.promotion.log import decision_of, read_chain, read_log
from flts.promotion.relay import read_pointer, relay, selected
from flts.promotion.stage import Judged, promote, promote_by_hand, promoted_of, rollback
from flts.serve.follow import Follower, champion_of
from flts.train.experiment import Experiment

CLOCK = StoppedClock()
FIRST_ENTRY = layout.log_entry("global", 1)


@pytest.fixture(autouse=True)
def _disarm() -> Iterator[None]:
    yield
    failpoints.arm("")


def judged(
    store: Store, experiment: Experiment, scope: str = "global", bus: MemoryBus | None = None, actor: str = "tests"
) -> Judged:
    """Promote what the store holds for an experiment."""
    return promote(
        store,
        bus or MemoryBus(),
        CLOCK,
        experiment,
        gathered(store, experiment, scope),
        scope=scope,
        actor=actor,
        run_ids={"ridge": None},
    )


def finished(*errors: float, **tables: Any) -> tuple[Store, list[Experiment]]:
    """Experiments on the same rows with models of their own, whose forecasts are off by these errors."""
    store = memory_store()
    subjects = []
    for number, error in enumerate(errors):
        experiment, fresh = small_experiment(small_spec(train={"validation_fraction": 0.1 + 0.1 * number}, **tables))
        bundle = fit(fresh, experiment).bundle_sha256
        copy(without(fresh, *fresh.list("models/")), store)
        put_result(store, experiment, "ridge", bundle, error, seed=number)
        subjects.append(experiment)
    return store, subjects


def champion_error(store: Store, scope: str = "global") -> float:
    """Root mean squared scaled error of whoever is champion."""
    return float(read_log(store, scope)[-1].champion.rmse or 0.0)


def test_the_first_winner_of_a_scope_is_promoted_with_its_figures() -> None:
    store, (experiment,) = finished(1.0)
    result = judged(store, experiment)
    (entry,) = read_log(store, "global")
    assert result.entry == result.champion == entry
    assert not result.repeated
    assert (entry.number, entry.kind, entry.actor, entry.time) == (1, "promote", "tests", CLOCK.now().isoformat())
    assert entry.decision_id == result.decision.decision_id
    row = result.decision.record.ranked[0]
    champion = entry.champion
    assert (champion.score, champion.rmse, champion.mae, champion.mse) == (
        row.score,
        row.rmse,
        row.mae,
        row.mse,
    )
    assert (champion.model_hash, champion.bundle_sha256) == (row.model_hash, row.bundle_sha256)
    assert (champion.config_hash, champion.data_hash) == (
        experiment.identity.config_hash,
        experiment.identity.data_hash,
    )
    assert champion.model_uri == f"store:bundles/{champion.bundle_sha256}"


def test_the_event_of_a_decision_reports_the_winner_when_limits_rank_another_model_first() -> None:
    experiment, fitted = small_experiment(small_spec(("ridge", "gru"), evaluate={"max_latency_ms": 5.0}))
    bundle = fit(fitted, experiment).bundle_sha256
    store = without(fitted, *fitted.list("models/"))
    for name, error, latency_ms in (("gru", 1.0, 99.0), ("ridge", 3.0, 1.0)):
        put_result(store, experiment, name, bundle, error)
        model_hash = experiment.identity.model_hashes[name]
        measured = Latency(model_hash=model_hash, latency_ms=latency_ms, processor="tests")
        store.create(layout.latency(model_hash), measured.to_bytes())
    with capture_logs() as events:
        record = judged(store, experiment).decision.record
    assert [row.model for row in record.ranked] == ["gru", "ridge"]
    assert record.winner == "ridge"
    (event,) = (event for event in events if event["event"] == "promotion_decision")
    assert (event["model_type"], event["score"]) == ("RIDGE", record.ranked[1].score)
    (board,) = (event["board"] for event in events if event["event"] == "promotion_scoreboard")
    assert [(row["rank"], row["model"], row["score"]) for row in board] == [
        (row.rank, row.model, row.score) for row in record.ranked
    ]


def test_the_event_of_a_decision_without_a_winner_reports_no_score() -> None:
    store, (experiment,) = finished(1.0, evaluate={"max_bundle_mb": 1e-6})
    with capture_logs() as events:
        assert judged(store, experiment).decision.record.winner is None
    (event,) = (event for event in events if event["event"] == "promotion_decision")
    assert not {"model_type", "model_uri", "score"} & event.keys()


def test_a_tracked_winner_is_named_by_its_run() -> None:
    store, (experiment,) = finished(1.0)
    candidates = gathered(store, experiment)
    result = promote(
        store, MemoryBus(), CLOCK, experiment, candidates, scope="global", actor="tests", run_ids={"ridge": "abc"}
    )
    assert result.champion is not None
    assert (result.champion.champion.run_id, result.champion.champion.model_uri) == ("abc", "runs:/abc/RIDGE")


def test_the_same_judgement_again_leaves_log_and_pointers_as_they_are() -> None:
    store, (experiment,) = finished(1.0)
    first = judged(store, experiment)
    before = {key: data for key, data in contents(store, "model-promotion/").items() if "/decisions/" not in key}
    bus = MemoryBus()
    again = judged(store, experiment, bus=bus)
    assert again.decision.outcome == "keep"
    assert (again.entry, again.champion) == (None, first.champion)
    after = {key: data for key, data in contents(store, "model-promotion/").items() if "/decisions/" not in key}
    assert after == before
    assert bus.subscribe(["model-selected"], "tests").poll(timeout=0.0) is None


def test_a_challenger_that_is_not_better_leaves_the_champion_in_place() -> None:
    store, (good, worse) = finished(1.0, 3.0)
    standing = judged(store, good).champion
    result = judged(store, worse)
    assert result.decision.outcome == "keep"
    assert (result.entry, result.champion) == (None, standing)
    assert len(read_log(store, "global")) == 1


def test_a_challenger_that_is_clearly_better_replaces_the_champion() -> None:
    store, (poor, better) = finished(3.0, 1.0)
    judged(store, poor)
    result = judged(store, better)
    assert result.decision.outcome == "promote"
    assert result.entry is not None
    assert (result.entry.number, result.entry.champion.config_hash) == (2, better.identity.config_hash)
    assert result.champion == result.entry


def test_a_better_challenger_that_was_rolled_back_is_not_promoted_by_the_same_judgement_again() -> None:
    store, (poor, better) = finished(3.0, 1.0)
    standing = judged(store, poor).champion
    first = judged(store, better)
    rollback(store, MemoryBus(), CLOCK, "global", "tests")
    again = judged(store, better)
    assert (first.repeated, again.repeated) == (False, True)
    assert again.decision.record == first.decision.record
    assert known(again.champion).champion == known(standing).champion


def test_every_scope_has_its_own_champion() -> None:
    store, (good, worse) = finished(1.0, 3.0)
    judged(store, good, "north")
    assert judged(store, worse, "south").decision.outcome == "promote"
    assert champion_error(store, "north") < champion_error(store, "south")
    assert read_log(store, "global") == []
    assert store.get(layout.root_pointer()) is None


def test_when_no_model_has_a_forecast_the_decision_is_stored_and_nothing_is_promoted() -> None:
    experiment, store = small_experiment()
    put_claim(store, experiment)
    put_failure(store, experiment, "ridge")
    result = judged(store, experiment)
    assert (result.decision.outcome, result.entry, result.champion, result.repeated) == ("none", None, None, False)
    assert set(contents(store, "model-promotion/")) == {layout.decision("global", result.decision.decision_id)}


ALWAYS = {"evaluate": {"gate": "always"}}


def test_a_rollback_restores_the_champion_before_and_names_its_entry() -> None:
    store, (first, second) = finished(1.0, 3.0, **ALWAYS)
    judged(store, first)
    judged(store, second)
    entry = rollback(store, MemoryBus(), CLOCK, "global", "me")
    assert (entry.number, entry.kind, entry.restores, entry.actor) == (3, "rollback", 1, "me")
    restored = read_log(store, "global")[0]
    assert (entry.champion, entry.decision_id) == (restored.champion, restored.decision_id)
    pointer = json.loads(store.get(layout.root_pointer()) or b"")
    assert (pointer["promotion"], pointer["config_hash"]) == (3, first.identity.config_hash)


def test_a_repeated_run_does_not_undo_a_rollback_and_reports_that_it_was_promoted_before() -> None:
    store, (first, second) = finished(1.0, 3.0, **ALWAYS)
    judged(store, first)
    promotion = judged(store, second).entry
    back = rollback(store, MemoryBus(), CLOCK, "global", "me")
    result = judged(store, second)
    assert result.decision.outcome == "promote"
    assert result.repeated
    assert (result.entry, result.champion) == (promotion, back)
    assert len(read_log(store, "global")) == 3


def edited(store: Store, key: str, old: bytes, new: bytes) -> Store:
    """A copy in which an object was changed by hand and is still a record."""
    data = store.get(key) or b""
    assert data.count(old) >= 1
    return replaced(store, key, data.replace(old, new))


def test_every_entry_names_the_digest_of_its_decision() -> None:
    store, (first, second) = finished(1.0, 3.0, **ALWAYS)
    judged(store, first)
    decision = known(judged(store, second).decision)
    rollback(store, MemoryBus(), CLOCK, "global", "me")
    champion = promoted_of(decision.record, "ridge", second.identity.data_hash, None)
    promote_by_hand(store, MemoryBus(), CLOCK, "global", champion, decision.decision_id, "me")
    entries = read_log(store, "global")
    assert [entry.kind for entry in entries] == ["promote", "promote", "rollback", "manual"]
    for entry in entries:
        assert entry.decision_sha256 == sha256(store.get(layout.decision("global", entry.decision_id)) or b"")
        assert decision_of(store, entry).decision_id == entry.decision_id


def test_an_edited_decision_of_the_champion_is_noticed_by_every_reader_and_writer() -> None:
    store, (first, second) = finished(1.0, 3.0, **ALWAYS)
    judged(store, first)
    key = layout.decision("global", known(judged(store, second).entry).decision_id)
    other = edited(store, key, b'"gate":"always"', b'"gate":"beats-champion"')
    before = contents(other)
    for act in (
        lambda: read_log(other, "global"),
        lambda: champion_of(other, "global"),
        lambda: Follower(other).champion("global"),
        lambda: relay(other, MemoryBus(), "global"),
        lambda: rollback(other, MemoryBus(), CLOCK, "global", "me"),
        lambda: judged(other, first),
    ):
        with raises(DamagedObject, code="digest-differs", key=key):
            act()
    assert contents(other) == before


def test_an_edited_decision_is_noticed_before_a_rollback_to_its_champion() -> None:
    store, (first, second) = finished(1.0, 3.0, **ALWAYS)
    key = layout.decision("global", known(judged(store, first).entry).decision_id)
    judged(store, second)
    other = edited(store, key, b'"gate":"always"', b'"gate":"beats-champion"')
    with raises(DamagedObject, code="digest-differs", key=key):
        rollback(other, MemoryBus(), CLOCK, "global", "me")
    assert len(read_log(other, "global")) == 2


@pytest.mark.parametrize("field", ["bundle_sha256", "model_hash", "config_hash"])
def test_a_newest_entry_that_names_another_model_than_its_decision_is_noticed(field: str) -> None:
    store, (first, second) = finished(1.0, 3.0, **ALWAYS)
    judged(store, first)
    entry = known(judged(store, second).entry)
    key = layout.log_entry("global", 2)
    champion = entry.champion.model_copy(update={field: getattr(read_log(store, "global")[0].champion, field)})
    other = replaced(store, key, entry.model_copy(update={"champion": champion}).to_bytes())
    for act in (
        lambda: champion_of(other, "global"),
        lambda: relay(other, MemoryBus(), "global"),
        lambda: rollback(other, MemoryBus(), CLOCK, "global", "me"),
    ):
        with raises(DamagedObject, code="log-entry-differs", key=key):
            act()
    without_it = without(other, key)  # as the mend says
    assert champion_of(without_it, "global").entry.number == 1
    assert known(judged(without_it, second).entry).number == 2


def test_two_rollbacks_that_meet_go_back_one_promotion() -> None:
    store, experiments = finished(1.0, 2.0, 3.0, **ALWAYS)
    for experiment in experiments:
        judged(store, experiment)
    entries: list[LogEntry] = []

    def meanwhile(key: str) -> None:
        if key == layout.log_entry("global", 4) and not entries:
            entries.append(rollback(store, MemoryBus(), CLOCK, "global", "the first"))

    with raises(UsageError, code="champion-changed", scope="global", expected=3, found=4):
        rollback(Watched(store, meanwhile), MemoryBus(), CLOCK, "global", "the second")
    assert read_log(store, "global")[3:] == entries
    assert entries[0].restores == 2


def test_a_rollback_of_a_promotion_that_is_not_the_newest_is_refused() -> None:
    store, experiments = finished(1.0, 2.0, 3.0, **ALWAYS)
    for experiment in experiments:
        judged(store, experiment)
    with raises(UsageError, code="champion-changed", expected=2, found=3):
        rollback(store, MemoryBus(), CLOCK, "global", "me", saw=2)
    assert rollback(store, MemoryBus(), CLOCK, "global", "me", saw=3).number == 4
    with raises(UsageError, code="champion-changed", expected=3, found=4):  # as when the same command is sent again
        rollback(store, MemoryBus(), CLOCK, "global", "me", saw=3)
    assert rollback(store, MemoryBus(), CLOCK, "global", "me").restores == 1


def test_rollbacks_beside_a_run_leave_pointers_and_the_highest_message_at_the_newest_entry() -> None:
    """Messages of relays that meet come in any order: consumers go by the number."""
    store, experiments = finished(1.0, 2.0, 3.0, 4.0, **ALWAYS)
    bus = MemoryBus()
    for experiment in experiments[:3]:
        judged(store, experiment, bus=bus)
    barrier = threading.Barrier(4)

    def roll_back(number: int) -> bool:
        barrier.wait()
        try:
            rollback(store, bus, CLOCK, "global", f"person {number}")
        except UsageError as refused:
            if refused.code not in {"champion-changed", "no-earlier-champion"}:
                raise
            return False
        return True

    def run(_: int) -> bool:
        barrier.wait()
        return judged(store, experiments[3], bus=bus).entry is not None

    with ThreadPoolExecutor(4) as pool:
        acted = [pool.submit(act, number) for number, act in enumerate((roll_back, roll_back, roll_back, run))]
        done = [future.result() for future in acted]
    entries = read_log(store, "global")
    assert len(entries) == 3 + sum(done)
    assert done[3]
    sent = [ModelSelected.parse(record.value) for record in bus.records(ModelSelected.topic)]
    highest = max(sent, key=lambda message: message.promotion)
    assert all(message.replaces is None for message in sent)
    assert highest == selected(read_chain(store, "global"), entries[-1])
    for key in (layout.root_pointer(), layout.scope_pointer("global")):
        assert store.get(key) == highest.to_bytes()


def test_a_relay_that_is_overtaken_sends_its_older_message_last_and_the_number_tells() -> None:
    store, (first, second) = finished(1.0, 3.0, **ALWAYS)
    inner = MemoryBus()
    judged(store, first, bus=inner)

    class Overtaken(MemoryBus):
        """A bus on which another rollback happens before the first message arrives."""

        def publish(self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None) -> Place | None:
            if len(read_log(store, "global")) == 2:
                rollback(store, inner, CLOCK, "global", "me")
            return inner.publish(topic, key, value, headers)

    judged(store, second, bus=Overtaken())
    sent = [ModelSelected.parse(record.value).promotion for record in inner.records(ModelSelected.topic)]
    assert sent == [1, 3, 2]
    pointer = read_pointer(store, layout.scope_pointer("global"))
    assert pointer is not None
    assert pointer.promotion == max(sent)


def test_a_rollback_without_an_earlier_champion_changes_nothing() -> None:
    store, (experiment,) = finished(1.0)
    judged(store, experiment)
    before = contents(store)
    with raises(UsageError, code="no-earlier-champion", scope="global"):
        rollback(store, MemoryBus(), CLOCK, "global", "me")
    assert contents(store) == before


def test_a_person_may_promote_a_model_that_the_gate_refused_and_roll_it_back() -> None:
    store, (good, worse) = finished(1.0, 3.0)
    judged(store, good)
    decision = judged(store, worse).decision
    champion = promoted_of(decision.record, "ridge", worse.identity.data_hash, None)
    entry = promote_by_hand(store, MemoryBus(), CLOCK, "global", champion, decision.decision_id, "me")
    assert entry is not None
    assert (entry.number, entry.kind, entry.champion) == (2, "manual", champion)
    assert json.loads(store.get(layout.root_pointer()) or b"")["promotion"] == 2
    assert promote_by_hand(store, MemoryBus(), CLOCK, "global", champion, decision.decision_id, "me") is None
    assert len(read_log(store, "global")) == 2
    back = rollback(store, MemoryBus(), CLOCK, "global", "me").champion
    assert back.config_hash == good.identity.config_hash


def test_two_judges_with_the_same_results_write_one_entry_and_both_report_it() -> None:
    store, (experiment,) = finished(1.0)
    meeting = threading.Barrier(2)
    met = threading.local()

    def meet(key: str) -> None:
        if key == FIRST_ENTRY and not hasattr(met, "once"):
            met.once = True
            meeting.wait(timeout=LONG)

    shared = Watched(store, meet)
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(judged, shared, experiment, actor=actor) for actor in ("one", "two")]
        one, two = (future.result() for future in running)
    (entry,) = read_log(store, "global")
    assert sorted([one.repeated, two.repeated]) == [False, True]
    assert one.entry == two.entry == one.champion == two.champion == entry
    assert one.decision.decision_id == two.decision.decision_id == entry.decision_id


@pytest.mark.parametrize("attempt", range(3))
def test_many_concurrent_judges_write_one_entry(attempt: int) -> None:
    store, (experiment,) = finished(1.0 + attempt)
    start = threading.Barrier(6)

    def judge_at_once() -> Judged:
        start.wait(timeout=LONG)
        return judged(store, experiment)

    with ThreadPoolExecutor(6) as pool:
        results = [future.result() for future in [pool.submit(judge_at_once) for _ in range(6)]]
    (entry,) = read_log(store, "global")
    assert {result.champion.number for result in results if result.champion} == {1}
    assert json.loads(store.get(layout.root_pointer()) or b"")["decision_id"] == entry.decision_id


@pytest.mark.parametrize(("mine", "theirs", "entries"), [(3.0, 1.0, 1), (1.0, 3.0, 2)])
def test_a_judge_that_loses_the_number_to_another_champion_decides_again_against_that_one(
    mine: float, theirs: float, entries: int
) -> None:
    store, (experiment, rival) = finished(mine, theirs)
    rivals: list[Judged] = []

    def overtake(key: str) -> None:
        if key == FIRST_ENTRY and not rivals:
            rivals.append(judged(store, rival))

    result = judged(Watched(store, overtake), experiment)
    log = read_log(store, "global")
    assert len(log) == entries
    assert log[0] == rivals[0].entry
    assert result.decision.record.champion is not None
    assert result.decision.record.champion.model_hash == rival.identity.model_hashes["ridge"]
    assert (result.decision.outcome, result.champion) == ("promote" if entries == 2 else "keep", log[-1])
    assert champion_error(store) == min(entry.champion.rmse or 0.0 for entry in log)


POINTS = [
    f"promote.{name}" for name in ("preview", "decision", "log", "pointer.config", "pointer.root", "pointer.scope")
]


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("point", POINTS)
def test_the_next_judge_finishes_what_a_judge_that_was_stopped_anywhere_began(point: str, side: str) -> None:
    store, (experiment,) = finished(1.0)
    undisturbed = memory_store()
    copy(store, undisturbed)
    expected = judged(undisturbed, experiment)
    failpoints.arm(f"{point}.{side}=error")
    with pytest.raises(OSError, match=f"failpoint {point}.{side}"):
        judged(store, experiment)
    result = judged(store, experiment)
    assert result.champion == expected.champion
    for prefix in ("model-promotion/global/log/", "model-promotion/current", "model-promotion/global/current"):
        assert contents(store, prefix) == contents(undisturbed, prefix)
    assert {key: store.get(key) for key in contents(undisturbed)} == contents(undisturbed)


@pytest.mark.parametrize("point", ["log", "pointer.config", "pointer.root", "pointer.scope"])
def test_a_rollback_that_was_stopped_before_its_entry_can_be_repeated_and_after_it_needs_only_a_relay(
    point: str,
) -> None:
    store, (first, second) = finished(1.0, 3.0, **ALWAYS)
    judged(store, first)
    judged(store, second)
    failpoints.arm(f"promote.{point}.before=error")
    with pytest.raises(OSError, match="failpoint"):
        rollback(store, MemoryBus(), CLOCK, "global", "me")
    if point == "log":
        rollback(store, MemoryBus(), CLOCK, "global", "me")
    else:
        judged(store, first)
    assert [entry.kind for entry in read_log(store, "global")] == ["promote", "promote", "rollback"]
    for key in (layout.root_pointer(), layout.scope_pointer("global")):
        assert json.loads(store.get(key) or b"")["promotion"] == 3


def test_after_a_stop_a_judge_names_its_decision_when_that_is_absent_or_damaged() -> None:
    store, (experiment,) = finished(1.0)
    key = layout.decision("global", judged(store, experiment).decision.decision_id)
    cases = {"object-missing": without(store, key), "digest-differs": replaced(store, key, b'{"v": 1}')}
    for code, damaged in cases.items():
        with raises(DamagedObject, code=code, key=key):
            promote(
                damaged,
                MemoryBus(),
                CLOCK,
                experiment,
                gathered(damaged, experiment),
                scope="global",
                actor="tests",
                run_ids={"ridge": None},
                since=0,
            )


def test_deciding_again_names_a_damaged_decision_and_restores_an_absent_one() -> None:
    store, (first, second) = finished(1.0, 3.0, **ALWAYS)
    judged(store, first)
    key = layout.decision("global", judged(store, second).decision.decision_id)
    rollback(store, MemoryBus(), CLOCK, "global", "me")
    with raises(DamagedObject, code="record-damaged", key=key):
        judged(replaced(store, key, b'{"v": 1}'), second)
    lost = without(store, key)
    assert judged(lost, second).repeated
    assert lost.get(key) == store.get(key)


def replaced(store: Store, key: str, data: bytes) -> Store:
    """A copy in which an object is another."""
    other = without(store, key)
    other.create(key, data)
    return other
