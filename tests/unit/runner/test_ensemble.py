"""Whoever judges makes the ensemble of a run, records it once, and tells of it under one event_id."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.distributions import site  # noqa: F401 - a fixture
from tests.support.ensembles import MEMBERS, ensemble_experiment, repeating, with_members  # noqa: F401
from tests.support.runs_to_judge import claimed
from tests.support.stored import Watched, contents, copy, fit, put_failure, put_train_part
from tests.support.tracking import RecordingTracker, context_of, told

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.errors import Interrupted
from flts.contracts.ports import Store
from flts.contracts.records.base import require_record
from flts.contracts.records.run import FailurePart, RunClaim, TrainPart
from flts.promotion.judge import Waiting
from flts.promotion.stage import Judged
from flts.report import plots
from flts.runner.judgement import judge_run
from flts.spec.models import ENSEMBLE
from flts.train.experiment import Experiment
from flts.wiring import RunContext

PAST = {"announced", "duration_ms", "fitted", "repeated", "rests_on"}
pytestmark = pytest.mark.usefixtures("repeating")


def ready(store: Store, experiment: Experiment, tracker: RecordingTracker | None = None) -> RunContext:
    """A claimed run whose members have all ended."""
    context = context_of(store, tracker)
    run = claimed(context, experiment)
    for name in experiment.spec.trained:
        put_train_part(store, experiment, run, name, f"of-{name}")
    return context


def judge(context: RunContext, experiment: Experiment, run: int = 1) -> Judged:
    found = judge_run(context, experiment, "global", run, actor="tests")
    assert not isinstance(found, Waiting)
    return found


def part_of(store: Store, experiment: Experiment, run: int = 1) -> TrainPart:
    key = layout.run_part(experiment.identity.config_hash, run, f"train-{ENSEMBLE}")
    return require_record(store, key, TrainPart)


def test_the_judge_makes_records_and_announces_it_before_it_decides() -> None:
    experiment, store = with_members()
    context = ready(store, experiment)
    decision = judge(context, experiment).decision.record
    part, (message,) = part_of(store, experiment), told(context.bus)
    row = decision.row(ENSEMBLE)
    assert row is not None
    assert (row.model_hash, row.bundle_sha256) == (part.model_hash, part.bundle_sha256)
    assert (row.rmse, row.mae, row.mse) == (part.errors.rmse, part.errors.mae, part.errors.mse)
    assert (message.model, message.status, message.model_hash) == (ENSEMBLE, "SUCCESS", part.model_hash)
    assert (message.bundle_sha256, message.forecasts_sha256) == (part.bundle_sha256, part.forecasts_sha256)
    assert part.fitted
    assert part.recomputed is None


def test_it_is_never_waited_for_and_waits_for_every_other_model() -> None:
    experiment, store = with_members()
    context = context_of(store)
    run = claimed(context, experiment)
    for name in MEMBERS[1:]:
        put_train_part(store, experiment, run, name)
    waiting = judge_run(context, experiment, "global", run, actor="tests")
    assert waiting == Waiting(list(MEMBERS[1:]), [MEMBERS[0]])
    assert told(context.bus) == []


def test_two_judges_make_one_record_and_messages_with_one_id() -> None:
    experiment, store = with_members()
    first = ready(store, experiment)
    judge(first, experiment)
    before = contents(store)
    second = context_of(store)
    judge(second, experiment)
    assert contents(store) == before
    assert [m.event_id for m in told(second.bus)] == [m.event_id for m in told(first.bus)]


def test_a_judge_that_ends_before_any_write_is_followed_by_one_with_the_same_result() -> None:
    experiment, prepared = with_members()
    ready(prepared, experiment)
    whole = Watched(memory_store())
    copy(prepared, whole)
    copied = len(whole.written)
    judge(context_of(whole), experiment)
    steps = list(dict.fromkeys(whole.written[copied:]))
    assert layout.run_part(experiment.identity.config_hash, 1, f"train-{ENSEMBLE}") in steps
    for step in steps:
        store = memory_store()
        copy(prepared, store)
        with pytest.raises(Interrupted):
            judge(context_of(Watched(store, _ending_at(step))), experiment)
        judge(context_of(store), experiment)
        assert _without_past(contents(store)) == _without_past(contents(whole)), step


def _ending_at(step: str) -> Callable[[str], None]:
    def before(key: str) -> None:
        if key == step or ("/seals/" in key and "/seals/" in step):  # named by a digest over durations
            raise Interrupted("ended here")

    return before


def _without_past(objects: dict[str, bytes]) -> dict[str, Any]:
    """All but durations, and what depends on how far the judge before got: whether it had made or told something."""
    found: dict[str, Any] = {key: data for key, data in objects.items() if "/seals/" not in key}
    for key, data in objects.items():
        if layout.run_number(key) is not None and key in found:
            part = json.loads(data)
            found[key] = {name: value for name, value in part.items() if name not in PAST}
    return found


def test_a_run_of_what_is_stored_has_its_own_record_of_the_same_ensemble() -> None:
    experiment, store = with_members()
    judge(ready(store, experiment), experiment)
    again = ready(store, experiment)
    judge(again, experiment, 2)
    first, second = part_of(store, experiment), part_of(store, experiment, 2)
    assert (first.fitted, second.fitted) == (True, False)
    assert first.model_hash == second.model_hash
    assert [message.run for message in told(again.bus)] == [2]


def test_a_recompute_makes_it_again_and_compares() -> None:
    experiment, store = with_members()
    judge(ready(store, experiment), experiment)
    again = ready(store, experiment)
    key = layout.run_part(experiment.identity.config_hash, 2, "claim")
    claim = require_record(store, key, RunClaim).model_copy(update={"recompute": True})
    store.replace(key, claim.to_bytes())
    judge(again, experiment, 2)
    part = part_of(store, experiment, 2)
    assert (part.fitted, part.recomputed) == (True, "equal")


def test_a_recompute_puts_a_damaged_one_aside_and_makes_it_again() -> None:
    experiment, store = with_members()
    judge(ready(store, experiment), experiment)
    made = part_of(store, experiment)
    key = layout.bundle(made.bundle_sha256 or "", "manifest.json")
    whole = store.get(key)
    store.replace(key, b"{}")
    again = ready(store, experiment)
    claim_key = layout.run_part(experiment.identity.config_hash, 2, "claim")
    claim = require_record(store, claim_key, RunClaim).model_copy(update={"recompute": True})
    store.replace(claim_key, claim.to_bytes())
    judge(again, experiment, 2)
    assert store.get(key) == whole
    assert [k for k in store.list("quarantine/") if k.endswith(key)]


def test_fewer_than_two_results_are_not_applicable_and_delay_nothing() -> None:
    experiment, store = ensemble_experiment(("last", "ridge"))
    fit(store, experiment, "ridge")
    context = context_of(store, RecordingTracker())
    run = claimed(context, experiment)
    put_train_part(store, experiment, run, "ridge")
    put_failure(store, experiment, "last", run)
    judged = judge(context, experiment, run)
    assert judged.decision.record.winner == "ridge"
    failure = require_record(store, layout.failure(experiment.identity.config_hash, run, ENSEMBLE), FailurePart)
    assert (failure.error, failure.run_status) == ("NotApplicable", "KILLED")
    row = next(row for row in judged.decision.record.candidates if row.model == ENSEMBLE)
    assert (row.status, row.model_hash) == ("N/A", experiment.identity.model_hashes[ENSEMBLE])
    (message,) = told(context.bus)
    assert (message.status, message.model_hash) == ("FAILED", experiment.identity.model_hashes[ENSEMBLE])


def test_what_cannot_be_read_makes_a_failed_candidate() -> None:
    experiment, store = with_members()
    context = ready(store, experiment)
    store.replace(layout.validation(experiment.identity.model_hashes["ridge"]), b"PAR1 no table")
    judged = judge(context, experiment)
    row = next(row for row in judged.decision.record.candidates if row.model == ENSEMBLE)
    assert row.status == "FAILED"
    assert judged.decision.record.winner in MEMBERS


def test_the_tracker_gets_the_files_of_all_members_and_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "kept_of", lambda *given: {})
    experiment, store = with_members()
    tracker = RecordingTracker()
    context = ready(store, experiment, tracker)
    judge(context, experiment)
    (run,) = [run for run in tracker.runs if run.model_type == ENSEMBLE.upper()]
    assert run.bundle is not None
    assert {name.partition("/")[0] for name in run.bundle if "/" in name} == {*MEMBERS}
    assert run.packages == ["flts-repeating==1.0", "flts-repeating==1.0"]
    assert run.tags["flts.model_hash"] == part_of(store, experiment).model_hash
    judge(context_of(store, tracker), experiment)
    assert len([run for run in tracker.runs if run.model_type == ENSEMBLE.upper()]) == 1
