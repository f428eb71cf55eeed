"""A judgement recorded, and what the tracker is told of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.candidates import part
from tests.support.experiments import small_experiment, small_spec
from tests.support.raising import raises
from tests.support.stored import (
    copy,
    fit,
    gathered,
    put_result,
    put_train_part,
)
from tests.support.tracking import RecordingTracker, context_of

from flts.contracts import events, failpoints, layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import StageFailed
from flts.contracts.messages import ModelSelected
from flts.contracts.ports import Store
from flts.contracts.records.base import require_record
from flts.contracts.records.run import JudgePart, Machine, ScaledErrors
from flts.promotion.log import EMPTY, read_chain, stored_digest
from flts.promotion.stage import Judged, promote, rollback
from flts.runner.judgement import judgement_of, point_tracker, record_judgement, tell_tracker
from flts.runner.stopwatch import Stopwatch
from flts.train.experiment import Experiment
from flts.train.machine import machine
from flts.wiring import RunContext

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _disarm() -> Iterator[None]:
    yield
    failpoints.arm("")


def judged(context: RunContext, experiment: Experiment, run_ids: dict[str, str | None]) -> Judged:
    return promote(
        context.store,
        context.bus,
        context.clock,
        experiment,
        gathered(context.store, experiment),
        scope="global",
        actor="tests",
        run_ids=run_ids,
    )


def recorded(
    context: RunContext, experiment: Experiment, run: int, result: Judged, run_ids: dict[str, str | None]
) -> None:
    config_hash, watch = experiment.identity.config_hash, Stopwatch.start(context.clock)
    judgement = judgement_of(context, config_hash, "global", run, result, run_ids, watch=watch)
    tell_tracker(context, judgement)
    record_judgement(context, judgement)


def two_candidates() -> tuple[Experiment, Store]:
    experiment, store = small_experiment(small_spec(("ridge", "gru")))
    bundle = fit(store, experiment).bundle_sha256
    put_result(store, experiment, "gru", bundle, 9.0)
    return experiment, store


def test_the_tracker_gets_the_judges_figures_and_the_champion() -> None:
    experiment, store = two_candidates()
    tracker = RecordingTracker()
    context = context_of(store, tracker)
    ids: dict[str, str | None] = {"ridge": "r", "gru": "g"}
    judgement = judged(context, experiment, ids)
    recorded(context, experiment, 1, judgement, ids)
    rows = {row.model: row for row in judgement.decision.record.ranked}
    assert {run_id: tags for run_id, _, tags in tracker.annotations} == {
        "r": {"flts.promoted": "true"},
        "g": {"flts.promoted": "false"},
    }
    for run_id, metrics, _ in tracker.annotations:
        row = rows["ridge" if run_id == "r" else "gru"]
        assert metrics == row.model_dump(include={"score", "rank", "skill", "skill_vs_naive"})
    head = read_chain(store, "global").head
    assert tracker.promotions == [("global", "r", "RIDGE", rows["ridge"].bundle_sha256, head)]
    stored = part(store, experiment, "judge")
    assert Machine.model_validate(stored.pop("machine")) == machine()
    assert stored.pop("duration_ms") >= 0
    assert (stored["announced"].pop("topic"), len(stored.pop("announced"))) == (ModelSelected.topic, 3)
    assert stored == {
        "v": 1,
        "run": 1,
        "scope": "global",
        "environment": "here",
        "decision_id": judgement.decision.decision_id,
        "decision_sha256": stored_digest(store, "global", judgement.decision.decision_id),
        "outcome": "promote",
        "repeated": False,
        "promotion": 1,
        "entry_sha256": head,
        "run_ids": ids,
        "rests_on": {},
        "started": "2026-01-02T03:04:05+00:00",
        "ended": "2026-01-02T03:04:05+00:00",
    }


def test_the_log_line_of_a_judgement_has_the_digest_of_the_record_as_it_is_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logged: list[events.Event] = []
    monkeypatch.setattr(events, "emit", logged.append)
    experiment, store = two_candidates()
    context, ids = context_of(store), dict.fromkeys(("ridge", "gru"))
    judgement, key = judged(context, experiment, ids), layout.run_part(experiment.identity.config_hash, 1, "judge")
    recorded(context, experiment, 1, judgement, ids)
    by_another = (store.get(key) or b"") + b"\n"
    store.replace(key, by_another)
    recorded(context, experiment, 1, judgement, ids)
    lines = [event for event in logged if isinstance(event, events.RunJudged)]
    assert lines[0].judge_sha256 != lines[1].judge_sha256 == sha256(by_another)


def test_the_tracker_is_told_again_only_when_something_changed() -> None:
    experiment, store = two_candidates()
    tracker = RecordingTracker()
    context = context_of(store, tracker)
    ids: dict[str, str | None] = {"ridge": "r", "gru": "g"}
    for run in (1, 2, 3):
        recorded(context, experiment, run, judged(context, experiment, ids), ids)
    assert (len(tracker.annotations), len(tracker.promotions)) == (2, 1)
    assert [part(store, experiment, "judge", run)["promotion"] for run in (1, 2, 3)] == [1, 1, 1]
    recorded(
        context,
        experiment,
        4,
        judged(context, experiment, {"ridge": "r2", "gru": "g"}),
        {"ridge": "r2"},
    )
    assert len(tracker.annotations) == 3


def test_a_tracker_that_was_never_told_the_digest_of_the_entry_is_told_by_the_next_run() -> None:
    """As after a judgement of an earlier flts, which did not tell it."""
    experiment, store = two_candidates()
    tracker = RecordingTracker()
    context = context_of(store, tracker)
    ids: dict[str, str | None] = {"ridge": "r", "gru": "g"}
    for run in (1, 2):
        recorded(context, experiment, run, judged(context, experiment, ids), ids)
        key = layout.run_part(experiment.identity.config_hash, run, "judge")
        earlier = require_record(store, key, JudgePart).model_copy(update={"entry_sha256": None})
        store.replace(key, earlier.to_bytes())
    assert [entry for *_, entry in tracker.promotions] == [read_chain(store, "global").head] * 2


def test_a_judgement_interrupted_before_its_part_tells_the_tracker_again() -> None:
    experiment, store = two_candidates()
    tracker = RecordingTracker()
    context = context_of(store, tracker)
    ids: dict[str, str | None] = {"ridge": "r", "gru": "g"}
    failpoints.arm("run.judge.before=error")
    with pytest.raises(OSError, match="failpoint"):
        recorded(context, experiment, 1, judged(context, experiment, ids), ids)
    recorded(context, experiment, 2, judged(context, experiment, ids), ids)
    assert len(tracker.promotions) == 2


def test_without_a_tracker_only_the_part_is_written() -> None:
    experiment, store = two_candidates()
    context = context_of(store)
    recorded(context, experiment, 1, judged(context, experiment, {}), {})
    assert part(store, experiment, "judge")["run_ids"] == {}


def test_a_champion_that_was_never_tracked_is_not_registered() -> None:
    experiment, store = two_candidates()
    tracker = RecordingTracker()
    context = context_of(store, tracker)
    judgement = judged(context, experiment, {"ridge": None, "gru": None})
    recorded(context, experiment, 1, judgement, {"ridge": None, "gru": None})
    assert (tracker.annotations, tracker.promotions) == ([], [])
    point_tracker(context, EMPTY)
    assert tracker.promotions == []


def test_after_a_rollback_the_alias_follows_the_log() -> None:
    experiment, store = two_candidates()
    other, fresh = small_experiment(small_spec(("ridge",), evaluate={"gate": "always"}, task={"input_length": 18}))
    copy(fresh, store)
    fit(store, other)
    tracker = RecordingTracker()
    context = context_of(store, tracker)
    judged(context, experiment, {"ridge": "one", "gru": None})
    judged(context, other, {"ridge": "two"})
    rollback(store, context.bus, context.clock, "global", "me")
    point_tracker(context, read_chain(store, "global"))
    assert [run_id for _, run_id, *_ in tracker.promotions] == ["one"]


def test_scores_that_differ_between_judge_and_trainer_are_an_error() -> None:
    experiment, store = two_candidates()
    context = context_of(store)
    put_train_part(store, experiment, 1, "ridge", errors=ScaledErrors(rmse=0.1, mae=0.1, mse=0.01))
    with raises(StageFailed, code="scores-differ", model="ridge"):
        recorded(context, experiment, 1, judged(context, experiment, {}), {})
    assert store.get(layout.run_part(experiment.identity.config_hash, 1, "judge")) is None
