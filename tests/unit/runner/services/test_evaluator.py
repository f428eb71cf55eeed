"""An evaluator without state of its own: the store alone determines its answer, however often it is asked."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from tests.support.distributions import site  # noqa: F401 - a fixture
from tests.support.ensembles import MEMBERS, repeating, with_members  # noqa: F401
from tests.support.experiments import small_experiment, small_spec
from tests.support.raising import raises
from tests.support.runs_to_judge import Later, claimed, told, trained, two_trained
from tests.support.services import LONG
from tests.support.stored import as_json, contents, fit, put_result, put_train_part
from tests.support.tracking import context_of

from flts.backends.bus_memory import MemoryBus
from flts.contracts import failpoints, layout
from flts.contracts.errors import DataError
from flts.contracts.messages import ModelTraining
from flts.promotion.judge import Waiting
from flts.promotion.log import read_log
from flts.promotion.stage import Judged, rollback
from flts.runner.candidate import record_dead_letter
from flts.runner.judgement import completeness, judge_run
from flts.runner.services import deadline
from flts.runner.services.evaluate import Evaluator
from flts.runner.tell import NamedRun
from flts.spec.models import ENSEMBLE
from flts.train.isolate import Children
from flts.wiring import RunContext


@pytest.fixture(autouse=True)
def _disarmed() -> None:
    failpoints.arm("")


def test_a_result_without_its_part_of_the_run_is_waited_for() -> None:
    experiment, store = trained()
    context = context_of(store)
    run = claimed(context, experiment)
    assert completeness(store, experiment, "global", run) == Waiting([], ["ridge"])
    put_train_part(store, experiment, run, "ridge", "run-of-ridge")
    judged = judge_run(context, experiment, "global", run, actor="tests")
    assert isinstance(judged, Judged)
    assert judged.champion is not None
    assert judged.champion.champion.run_id == "run-of-ridge"


def test_a_part_of_an_earlier_run_counts_in_the_same_scope_only() -> None:
    experiment, store = trained()
    context = context_of(store)
    first, second = claimed(context, experiment), claimed(context, experiment)
    other = claimed(context, experiment, "north")
    put_train_part(store, experiment, first, "ridge", "earlier")
    complete = completeness(store, experiment, "global", second)
    assert not isinstance(complete, Waiting)
    assert complete.run_ids == {"ridge": "earlier"}
    assert completeness(store, experiment, "north", other) == Waiting([], ["ridge"])


def test_a_judge_interrupted_after_its_log_entry_does_not_promote_again_over_a_later_champion() -> None:
    """With gate = always, a second judgement would otherwise undo the promotion in between."""
    experiment, other, store = two_trained()
    context = context_of(store)
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


def test_a_run_claimed_after_another_promotion_is_judged_anew() -> None:
    experiment, other, store = two_trained()
    context = context_of(store)
    for of in (experiment, other, experiment):
        put_train_part(store, of, claimed(context, of), "ridge")
        Evaluator(context).handle(told(of))
    assert [e.champion.config_hash for e in read_log(store, "global")] == [
        experiment.identity.config_hash,
        other.identity.config_hash,
        experiment.identity.config_hash,
    ]


def test_a_message_redelivered_after_a_rollback_changes_nothing() -> None:
    experiment, other, store = two_trained()
    context = context_of(store)
    for of in (experiment, other):
        put_train_part(store, of, claimed(context, of), "ridge")
        Evaluator(context).handle(told(of))
    rollback(store, context.bus, context.clock, "global", "me")
    before = len(read_log(store, "global"))
    for of in (experiment, other):
        Evaluator(context).handle(told(of))
    assert len(read_log(store, "global")) == before


def test_concurrent_judges_make_one_log_entry() -> None:
    experiment, store = trained()
    context = context_of(store)
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


def test_a_message_of_a_running_model_is_ignored() -> None:
    experiment, store = trained()
    context = context_of(store)
    put_train_part(store, experiment, claimed(context, experiment), "ridge")
    Evaluator(context).handle(told(experiment, status="RUNNING"))
    assert read_log(store, "global") == []


def test_a_message_of_an_unclaimed_run_is_refused() -> None:
    experiment, store = trained()
    with raises(DataError, code="run-missing", scope="global"):
        Evaluator(context_of(store)).handle(told(experiment))


def test_an_old_failure_does_not_count_while_a_retry_is_running() -> None:
    experiment, store = small_experiment(small_spec(("ridge", "gru")))
    bundle = fit(store, experiment).bundle_sha256
    context = context_of(store)
    first = claimed(context, experiment)
    claim = NamedRun(experiment.identity.config_hash, experiment.identity.data_hash, "global", first)
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


@pytest.mark.usefixtures("repeating")
def test_the_evaluator_makes_the_ensemble_and_is_not_called_again_by_its_message() -> None:
    experiment, store = with_members()
    context = context_of(store)
    run = claimed(context, experiment)
    for name in MEMBERS:
        assert read_log(store, "global") == []
        put_train_part(store, experiment, run, name)
        Evaluator(context).handle(told(experiment, run, name))
    assert len(read_log(store, "global")) == 1
    records = context.bus.records(ModelTraining.topic)
    (message,) = [ModelTraining.parse(record.value) for record in records]
    assert (message.model, message.status) == (ENSEMBLE, "SUCCESS")
    before = contents(store)
    Evaluator(context).handle(records[0])
    assert contents(store) == before
    assert context.bus.records(ModelTraining.topic) == records


@pytest.mark.usefixtures("repeating")
def test_evaluators_at_once_make_one_ensemble() -> None:
    experiment, store = with_members()
    run = claimed(context_of(store), experiment)
    for name in MEMBERS:
        put_train_part(store, experiment, run, name)
    threads = [
        threading.Thread(target=Evaluator(context_of(store)).handle, args=(told(experiment, run),)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = layout.run_part(experiment.identity.config_hash, run, f"train-{ENSEMBLE}")
    assert [key for key in store.list("runs/") if ENSEMBLE in key] == [ended]
    assert len(read_log(store, "global")) == 1


@pytest.mark.usefixtures("repeating")
def test_the_deadline_never_fails_an_ensemble() -> None:
    experiment, store = with_members()
    run = claimed(context_of(store), experiment)
    for name in MEMBERS:
        put_train_part(store, experiment, run, name)
    later = RunContext(store, MemoryBus(), None, Later(datetime(2026, 6, 1, tzinfo=UTC)), "here", 60.0, Children(1))
    deadline.check(later, 1.0)
    assert [key for key in store.list("runs/") if "failures" in key] == []
