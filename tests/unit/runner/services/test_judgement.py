"""A judge that remembers nothing: what it derives from the store is enough, whoever asks, however often."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.experiments import small_experiment, small_spec
from tests.support.services import LONG, all_services, place_on, serving, start_run, wait_until
from tests.support.stored import MOMENT, Watched, as_json, copy, fit, put_result, put_train_part
from tests.support.tracking import workplace

from flts.backends.bus_memory import MemoryBus
from flts.backends.store import memory_store
from flts.contracts import failpoints, layout, runs
from flts.contracts.canonical import canonical_json
from flts.contracts.errors import DataError, DeadlineExceeded
from flts.contracts.messages import ModelTraining
from flts.contracts.ports import Record, Store
from flts.contracts.records.base import read_record
from flts.contracts.records.run import FailurePart
from flts.promotion.judge import Waiting
from flts.promotion.log import read_log
from flts.promotion.stage import Judged, rollback
from flts.runner.candidate import record_dead_letter
from flts.runner.claim import claim_run
from flts.runner.judgement import completeness, judge_run
from flts.runner.services import deadline
from flts.runner.services.deadline import Overdue
from flts.runner.services.evaluate import Evaluator
from flts.train.experiment import Experiment
from flts.wiring import RunContext


@pytest.fixture(autouse=True)
def _disarmed() -> None:
    failpoints.arm("")


def claimed(context: RunContext, experiment: Experiment, scope: str = "global") -> int:
    """A run with the Spec it is of."""
    identity = experiment.identity
    context.store.create(layout.spec(identity.config_hash), canonical_json(experiment.spec.identity()))
    promotion = len(read_log(context.store, scope))
    return claim_run(context, identity.config_hash, scope, identity.data_hash, promotion=promotion)


def told(experiment: Experiment, run: int = 1, model: str = "ridge", status: str = "SUCCESS") -> Record:
    identity = experiment.identity
    message = ModelTraining(
        ts=datetime(2026, 1, 1, tzinfo=UTC),
        identifier="global",
        config_hash=identity.config_hash,
        data_hash=identity.data_hash,
        run=run,
        model=model,
        model_hash=identity.model_hashes[model],
        model_type=model.upper(),
        status=status,  # type: ignore[arg-type]
    )
    return Record(message.topic, 0, 0, message.key, message.to_bytes(), {}, 0)


def trained(gate: str = "always", *, input_length: int = 12) -> tuple[Experiment, Store]:
    """A fitted ridge whose rows are those of every other experiment here."""
    experiment, store = small_experiment(small_spec(evaluate={"gate": gate}, task={"input_length": input_length}))
    fit(store, experiment)
    return experiment, store


def two_trained() -> tuple[Experiment, Experiment, Store]:
    """Two configurations in one store; each is promoted over the other whenever it is judged anew."""
    experiment, store = trained()
    other, fresh = small_experiment(small_spec(evaluate={"gate": "always"}, task={"input_length": 18}))
    copy(fresh, store)
    fit(store, other)
    return experiment, other, store


def test_a_result_without_the_record_of_its_trainer_is_waited_for() -> None:
    experiment, store = trained()
    context = workplace(store)
    run = claimed(context, experiment)
    assert completeness(store, experiment, "global", run) == Waiting([], ["ridge"])
    put_train_part(store, experiment, run, "ridge", "run-of-ridge")
    judged = judge_run(context, experiment, "global", run, actor="tests")
    assert isinstance(judged, Judged)
    assert judged.champion is not None
    assert judged.champion.champion.run_id == "run-of-ridge"


def test_the_record_of_an_earlier_run_of_the_same_scope_counts_and_of_another_scope_does_not() -> None:
    experiment, store = trained()
    context = workplace(store)
    first, second = claimed(context, experiment), claimed(context, experiment)
    other = claimed(context, experiment, "north")
    put_train_part(store, experiment, first, "ridge", "earlier")
    found = completeness(store, experiment, "global", second)
    assert not isinstance(found, Waiting)
    assert found.run_ids == {"ridge": "earlier"}
    assert completeness(store, experiment, "north", other) == Waiting([], ["ridge"])


def test_a_judge_that_was_cut_off_after_the_log_does_not_promote_again_over_a_later_champion() -> None:
    """With gate = always, a second judgement would otherwise undo what came in between."""
    experiment, other, store = two_trained()
    context = workplace(store)
    for of in (experiment, other):
        put_train_part(store, of, claimed(context, of), "ridge")
    failpoints.arm("run.judge.before=error")
    with pytest.raises(OSError, match="failpoint"):
        Evaluator(context).handle(told(experiment))
    Evaluator(context).handle(told(other))
    champions = [entry.champion.config_hash for entry in read_log(store, "global")]
    assert champions == [experiment.identity.config_hash, other.identity.config_hash]
    Evaluator(context).handle(told(experiment))
    assert [entry.champion.config_hash for entry in read_log(store, "global")] == champions
    part = as_json(store, layout.run_part(experiment.identity.config_hash, 1, "judge"))
    assert (part["repeated"], part["promotion"], part["outcome"]) == (True, 2, "promote")


def test_a_run_that_begins_after_another_champion_is_judged_anew() -> None:
    experiment, other, store = two_trained()
    context = workplace(store)
    for of in (experiment, other, experiment):
        put_train_part(store, of, claimed(context, of), "ridge")
        Evaluator(context).handle(told(of))
    assert [e.champion.config_hash for e in read_log(store, "global")] == [
        experiment.identity.config_hash,
        other.identity.config_hash,
        experiment.identity.config_hash,
    ]


def test_a_message_that_comes_again_after_a_rollback_undoes_nothing() -> None:
    experiment, other, store = two_trained()
    context = workplace(store)
    for of in (experiment, other):
        put_train_part(store, of, claimed(context, of), "ridge")
        Evaluator(context).handle(told(of))
    rollback(store, context.bus, context.clock, "global", "me")
    before = len(read_log(store, "global"))
    for of in (experiment, other):
        Evaluator(context).handle(told(of))
    assert len(read_log(store, "global")) == before


def test_two_judges_at_once_make_one_entry() -> None:
    experiment, store = trained()
    context = workplace(store)
    put_train_part(store, experiment, claimed(context, experiment), "ridge")
    start = threading.Barrier(4)

    def judge() -> None:
        start.wait(LONG)
        Evaluator(context).handle(told(experiment))

    judges = [threading.Thread(target=judge) for _ in range(4)]
    for thread in judges:
        thread.start()
    for thread in judges:
        thread.join(LONG)
    assert len(read_log(store, "global")) == 1
    assert store.exists(layout.run_part(experiment.identity.config_hash, 1, "judge"))


def test_a_running_model_is_no_reason_to_look() -> None:
    experiment, store = trained()
    context = workplace(store)
    put_train_part(store, experiment, claimed(context, experiment), "ridge")
    Evaluator(context).handle(told(experiment, status="RUNNING"))
    assert read_log(store, "global") == []


def test_a_message_of_a_run_that_nobody_claimed_is_refused() -> None:
    experiment, store = trained()
    with pytest.raises(DataError, match="was ever claimed in scope 'global'"):
        Evaluator(workplace(store)).handle(told(experiment))


def test_an_old_failure_does_not_decide_before_its_retry_has_ended() -> None:
    experiment, store = small_experiment(small_spec(("ridge", "gru")))
    bundle = fit(store, experiment).bundle_sha256
    context = workplace(store)
    first = claimed(context, experiment)
    claim = Overdue(experiment.identity.config_hash, experiment.identity.data_hash, "global", first)
    put_train_part(store, experiment, first, "ridge")
    record_dead_letter(context, claim, "gru", DataError("no"))
    second = claimed(context, experiment)
    Evaluator(context).handle(told(experiment, first, "gru", "FAILED"))
    assert read_log(store, "global") == []
    put_result(store, experiment, "gru", bundle, 9.0)
    put_train_part(store, experiment, second, "gru")
    Evaluator(context).handle(told(experiment, second, "gru"))
    assert [entry.champion.model for entry in read_log(store, "global")] == ["ridge"]
    record = as_json(store, layout.decision("global", read_log(store, "global")[0].decision_id))
    assert {row["model"]: row["status"] for row in record["candidates"]} == {"ridge": "SUCCESS", "gru": "SUCCESS"}


# the deadline


def test_a_model_that_does_not_answer_by_the_deadline_has_failed_and_the_judge_goes_on() -> None:
    experiment, store = small_experiment(small_spec(("ridge", "gru")))
    fit(store, experiment)
    context = workplace(store)
    put_train_part(store, experiment, claimed(context, experiment), "ridge")
    deadline.look(context, 60.0)
    assert not store.exists(layout.failure(experiment.identity.config_hash, 1, "gru"))
    context.clock = Later(context.clock.now() + timedelta(seconds=61))
    for _ in range(2):
        deadline.look(context, 60.0)
    failure = as_json(store, layout.failure(experiment.identity.config_hash, 1, "gru"))
    assert (failure["class"], failure["run_id"]) == ("DeadlineExceeded", None)
    assert failure["reason"] == "no result 60 s after the run began, which is the decision_deadline"
    messages = [ModelTraining.parse(record.value) for record in context.bus.records(ModelTraining.topic)]
    assert {(m.model, m.status) for m in messages} == {("gru", "FAILED")}
    Evaluator(context).handle(told(experiment, 1, "gru", "FAILED"))
    assert [entry.champion.model for entry in read_log(store, "global")] == ["ridge"]
    deadline.look(context, 60.0)
    assert len(context.bus.records(ModelTraining.topic)) == len(messages)


@pytest.mark.parametrize("part", ["specs", "claim"])
def test_a_late_run_that_cannot_be_read_holds_up_no_other(part: str) -> None:
    """One from before another version of flts, or a damaged one, would otherwise end every evaluator that looks."""
    experiment, store = small_experiment(small_spec(("ridge", "gru")))
    context = workplace(store)
    claimed(context, experiment)
    old = "0" * 64
    if part == "specs":
        store.create(layout.spec(old), store.get(layout.spec(experiment.identity.config_hash)) or b"")
        claim_run(context, old, "global", experiment.identity.data_hash, promotion=0)
    else:
        store.create(layout.run_part(old, 1, "claim"), b"{}")
    context.clock = Later(context.clock.now() + timedelta(seconds=61))
    deadline.look(context, 60.0)
    assert len(list(runs.parts(store, experiment.identity.config_hash, "failures/gru", FailurePart))) == 1
    assert not list(runs.parts(store, old, "failures/gru", FailurePart))


def test_a_look_reads_only_what_is_not_judged_and_the_newest_claim_of_its_scope() -> None:
    """A store that has grown for years is looked at as often as a new one."""
    experiment, store = trained()
    watched = Watched(store)
    context = workplace(watched)
    for run in range(1, 9):
        assert claimed(context, experiment, "north" if run % 2 else "south") == run
    for run in range(2, 9):
        store.create(layout.run_part(experiment.identity.config_hash, run, "judge"), b"{}")
    context.clock = Later(context.clock.now() + timedelta(seconds=61))
    watched.read.clear()
    deadline.look(context, 60.0)
    config_hash = experiment.identity.config_hash
    # the open run, then claims from the newest on until one of its scope, which is newer than the open one
    assert watched.read == [layout.run_part(config_hash, run, "claim") for run in (1, 8, 7)]
    assert store.list(layout.failure(config_hash, 1, "ridge")) == []


def test_of_two_scopes_with_an_open_run_each_is_waited_for_until_its_own_deadline() -> None:
    experiment, store = small_experiment(small_spec(("ridge",)))
    context = workplace(store)
    first = claimed(context, experiment, "north")
    context.clock = Later(context.clock.now() + timedelta(seconds=30))
    claimed(context, experiment, "south")
    context.clock = Later(context.clock.now() + timedelta(seconds=31))
    deadline.look(context, 60.0)
    failures = runs.parts(store, experiment.identity.config_hash, "failures/ridge", FailurePart)
    assert [(failure.run, failure.scope) for failure in failures] == [(first, "north")]


def test_a_model_that_nobody_worked_on_is_recorded_without_what_only_a_trainer_knows() -> None:
    experiment, store = small_experiment(small_spec(("ridge",)))
    context = workplace(store)
    run = claimed(context, experiment)
    claim = Overdue(experiment.identity.config_hash, experiment.identity.data_hash, "global", run)
    record_dead_letter(context, claim, "ridge", DataError("no rows"))
    key = layout.failure(experiment.identity.config_hash, run, "ridge")
    assert json.loads(store.get(key) or b"") == {
        "v": 1,
        "run": 1,
        "scope": "global",
        "environment": "here",
        "model": "ridge",
        "started": MOMENT,
        "ended": MOMENT,
        "class": "DataError",
        "reason": "no rows",
        "run_id": None,
    }
    part = read_record(store, key, FailurePart)
    assert part is not None
    assert part.to_bytes() == store.get(key)


class Later:
    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now


def test_a_deadline_is_watched_until_the_service_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    looked, stop = threading.Event(), threading.Event()
    monkeypatch.setattr(deadline, "look", lambda context, seconds: looked.set())
    thread = threading.Thread(target=deadline.watch, args=(workplace(memory_store()), 0.1, stop))
    thread.start()
    assert looked.wait(LONG)
    stop.set()
    thread.join(LONG)
    assert not thread.is_alive()


# what a trainer does with a claim that comes again


def test_a_failure_that_is_recorded_is_told_again_and_not_fitted_again() -> None:
    store, bus = memory_store(), MemoryBus()
    context = place_on(store, bus)
    claim = start_run(context, small_spec())
    record_dead_letter(context, claim, "ridge", DeadlineExceeded("too late"))
    with serving(context, all_services(context)):
        wait_until(lambda: bus.lag("training-data", "train-ridge") == 0, "the claim to be handled")
    messages = [ModelTraining.parse(record.value) for record in bus.records(ModelTraining.topic)]
    assert [(m.status, m.error) for m in messages] == [("FAILED", "DeadlineExceeded: too late")] * 2
    assert messages[0].event_id == messages[1].event_id


def test_a_claim_of_other_rows_than_it_names_is_a_dead_letter_and_a_failure_of_the_run() -> None:
    store, bus = memory_store(), MemoryBus()
    context = place_on(store, bus)
    claim = start_run(context, small_spec()).model_copy(update={"sha256": "0" * 64})
    bus = MemoryBus()
    context = place_on(store, bus)
    with serving(context, all_services(context)):
        bus.publish(claim.topic, claim.key, claim.to_bytes())
        wait_until(lambda: store.exists(layout.failure(claim.config_hash, 1, "ridge")), "the failure")
        wait_until(lambda: store.exists(layout.run_part(claim.config_hash, 1, "judge")), "the judgement")
    failure = as_json(store, layout.failure(claim.config_hash, 1, "ridge"))
    assert failure["class"] == "DamagedObject"
    decided = as_json(store, layout.run_part(claim.config_hash, 1, "judge"))
    assert (decided["outcome"], runs.newest(store, claim.config_hash, "global")) == ("none", 1)
    assert json.loads(bus.records("DLQ-training-data")[0].value)["sha256"] == "0" * 64


def test_a_worker_does_nothing_for_a_spec_that_does_not_name_its_model() -> None:
    store, bus = memory_store(), MemoryBus()
    context = place_on(store, bus)
    start_run(context, small_spec())
    with serving(context, all_services(context, "gru")):
        wait_until(lambda: bus.lag("training-data", "train-gru") == 0, "the claim to be passed over")
    assert bus.records(ModelTraining.topic) == []
