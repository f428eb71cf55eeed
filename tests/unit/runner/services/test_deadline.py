"""The decision deadline: a model without a result by then is recorded as failed."""

from __future__ import annotations

import json
import threading
from datetime import timedelta

import pytest
from tests.support.experiments import small_experiment, small_spec
from tests.support.runs_to_judge import Later, claimed, told, trained
from tests.support.services import LONG
from tests.support.stored import MOMENT, Watched, as_json, fit, put_train_part
from tests.support.tracking import context_of

from flts.backends.store import memory_store
from flts.contracts import layout, runs
from flts.contracts.canonical import digest
from flts.contracts.errors import DataError
from flts.contracts.messages import ModelTraining
from flts.contracts.records.base import read_record
from flts.contracts.records.run import FailurePart
from flts.promotion.log import read_log
from flts.runner.candidate import record_dead_letter
from flts.runner.claim import claim_run
from flts.runner.services import deadline
from flts.runner.services.evaluate import Evaluator
from flts.runner.tell import NamedRun


def test_a_model_without_a_result_by_the_deadline_is_recorded_as_failed_and_the_judge_decides() -> None:
    experiment, store = small_experiment(small_spec(("ridge", "gru")))
    fit(store, experiment)
    context = context_of(store)
    put_train_part(store, experiment, claimed(context, experiment), "ridge")
    deadline.check(context, 60.0)
    assert not store.exists(layout.failure(experiment.identity.config_hash, 1, "gru"))
    context.clock = Later(context.clock.now() + timedelta(seconds=61))
    for _ in range(2):
        deadline.check(context, 60.0)
    failure = as_json(store, layout.failure(experiment.identity.config_hash, 1, "gru"))
    assert (failure["class"], failure["run_id"]) == ("DeadlineExceeded", None)
    assert failure["reason"] == "no result 60 s after the run began, which is the decision_deadline"
    messages = [ModelTraining.parse(record.value) for record in context.bus.records(ModelTraining.topic)]
    assert {(m.model, m.status) for m in messages} == {("gru", "FAILED")}
    Evaluator(context).handle(told(experiment, 1, "gru", "FAILED"))
    assert [entry.champion.model for entry in read_log(store, "global")] == ["ridge"]
    deadline.check(context, 60.0)
    assert len(context.bus.records(ModelTraining.topic)) == len(messages)


@pytest.mark.parametrize("part", ["specs", "claim"])
def test_an_unreadable_overdue_run_does_not_block_the_others(part: str) -> None:
    """A run of another version of flts, or a damaged one, would otherwise end every evaluator."""
    experiment, store = small_experiment(small_spec(("ridge", "gru")))
    context = context_of(store)
    claimed(context, experiment)
    old = "0" * 64
    if part == "specs":
        store.create(layout.spec(old), store.get(layout.spec(experiment.identity.config_hash)) or b"")
        claim_run(context, old, "global", experiment.identity.data_hash, promotion=0)
    else:
        store.create(layout.run_part(old, 1, "claim"), b"{}")
    context.clock = Later(context.clock.now() + timedelta(seconds=61))
    deadline.check(context, 60.0)
    assert len(list(runs.parts(store, experiment.identity.config_hash, "failures/gru", FailurePart))) == 1
    assert not list(runs.parts(store, old, "failures/gru", FailurePart))


def test_a_check_reads_only_claims_of_open_runs_and_the_newest_claim_of_their_scope() -> None:
    """So the cost of a check does not grow with the store."""
    experiment, store = trained()
    watched = Watched(store)
    context = context_of(watched)
    for run in range(1, 9):
        assert claimed(context, experiment, "north" if run % 2 else "south") == run
    for run in range(2, 9):
        store.create(layout.run_part(experiment.identity.config_hash, run, "judge"), b"{}")
    context.clock = Later(context.clock.now() + timedelta(seconds=61))
    watched.read.clear()
    deadline.check(context, 60.0)
    config_hash = experiment.identity.config_hash
    # the open run, then claims from the newest on until one of its scope, which is newer than the open one
    assert watched.read == [layout.run_part(config_hash, run, "claim") for run in (1, 8, 7)]
    assert store.list(layout.failure(config_hash, 1, "ridge")) == []


def test_the_deadlines_of_two_scopes_are_independent() -> None:
    experiment, store = small_experiment(small_spec(("ridge",)))
    context = context_of(store)
    first = claimed(context, experiment, "north")
    context.clock = Later(context.clock.now() + timedelta(seconds=30))
    claimed(context, experiment, "south")
    context.clock = Later(context.clock.now() + timedelta(seconds=31))
    deadline.check(context, 60.0)
    failures = runs.parts(store, experiment.identity.config_hash, "failures/ridge", FailurePart)
    assert [(failure.run, failure.scope) for failure in failures] == [(first, "north")]


def test_a_failure_without_a_trainer_has_none_of_the_fields_that_only_a_trainer_knows() -> None:
    experiment, store = small_experiment(small_spec(("ridge",)))
    context = context_of(store)
    run = claimed(context, experiment)
    claim = NamedRun(experiment.identity.config_hash, experiment.identity.data_hash, "global", run)
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


@pytest.mark.parametrize("started", ["", "yesterday", "2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00"])
def test_a_claim_with_an_odd_time_is_passed_over_and_the_watch_goes_on(started: str) -> None:
    experiment, store = small_experiment(small_spec(("ridge",)))
    context = context_of(store)
    claimed(context, experiment)
    other = digest("another configuration")
    claim_run(context, other, "global", experiment.identity.data_hash, promotion=0)
    key = layout.run_part(other, 1, "claim")
    store.replace(key, json.dumps(json.loads(store.get(key) or b"") | {"started": started}).encode())
    context.clock = Later(context.clock.now() + timedelta(seconds=61))
    deadline.check(context, 60.0)
    assert len(list(runs.parts(store, experiment.identity.config_hash, "failures/ridge", FailurePart))) == 1
    assert not store.list(layout.failure(other, 1, "ridge"))


def test_a_deadline_is_watched_until_the_service_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    checked, stop = threading.Event(), threading.Event()
    monkeypatch.setattr(deadline, "check", lambda context, seconds: checked.set())
    thread = threading.Thread(target=deadline.watch, args=(context_of(memory_store()), 0.1, stop))
    thread.start()
    assert checked.wait(LONG)
    stop.set()
    thread.join(LONG)
    assert not thread.is_alive()
