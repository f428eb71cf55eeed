"""The verifier notices every change: the first claim that does not hold names it, and no claim on top stays true."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.stored import contents, put_failure, put_forecasts, put_train_part, truth
from tests.support.tracking import RecordingTracker, context_of
from tests.support.verified import Ran

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.canonical import canonical_json, sha256
from flts.contracts.messages import ModelSelected, ModelTraining, TrainingData
from flts.contracts.ports import Record, SeenRun, Store
from flts.contracts.records.run import JudgeSeal
from flts.promotion.stage import Judged
from flts.runner.judgement import judge_run
from flts.runner.stored import load_experiment
from flts.verification.claims import BAD, DEPENDS, FALSE, NOT_RECORDED, TRUE, UNREACHABLE, ReportClaim
from flts.verification.report import Report


def first_false(report: Report) -> ReportClaim:
    """The first claim that does not hold, after a check that none on top of it stays true."""
    first = report.first_false
    assert first is not None
    assert first.state == FALSE
    assert report.exit_code == 1
    bad = {claim.id for claim in report.claims if claim.state in BAD}
    for claim in report.claims:
        assert (claim.state == DEPENDS) == bool(bad & set(claim.rests_on)), claim
    return first


def edited(**fields: Any) -> Callable[[bytes], bytes]:
    """A change of fields of a JSON object."""
    return lambda data: canonical_json({**json.loads(data), **fields})


def edited_without(*fields: str) -> Callable[[bytes], bytes]:
    """A JSON object that lacks these fields."""
    return lambda data: canonical_json({k: v for k, v in json.loads(data).items() if k not in fields})


ABSENT = {
    "run.release",
    "run.revision",
    "logs.ridge.train_failed",
    "pods.ready",
    "pods.restarts",
}
"""What a healthy run without a deployment and without failures does not have."""


def test_every_claim_about_a_healthy_run_is_true(healthy: Ran, tmp_path: Path) -> None:
    report = healthy.report(tmp_path)
    assert report.exit_code == 0
    states = {claim.id: claim.state for claim in report.claims}
    assert {name: state for name, state in states.items() if state != TRUE} == dict.fromkeys(ABSENT, NOT_RECORDED)


INDEX = tuple(f"runs/{part}/" for part in ("by-time", "by-scope", "by-decision", "index"))
"""It is made again of the records, which alone are evidence."""


def changed_byte(data: bytes, part: float) -> bytes:
    """The same with one byte changed, in this part of it."""
    place = int(part * (len(data) - 1))
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def test_a_changed_byte_of_any_object_is_found_and_named(healthy: Ran) -> None:
    keys = [key for key in healthy.keys("") if not key.startswith(INDEX)]
    assert len(keys) > 20
    for place, key in enumerate(keys):
        first = first_false(healthy.with_object(key, partial(changed_byte, part=(place * 0.37) % 1)).alone())
        assert key in (first.reason or ""), f"{key}: {first.id}: {first.reason}"


def test_a_blank_after_any_record_of_the_run_is_found(healthy: Ran) -> None:
    for key in healthy.keys("", layout.run_folder(healthy.config_hash, 1)):
        first = first_false(healthy.with_object(key, lambda data: data + b"\n").alone())
        assert key in (first.reason or ""), f"{key}: {first.id}: {first.reason}"


def test_a_short_cut_with_a_key_twice_is_found(healthy: Ran) -> None:
    key = healthy.key("", "processed-data/by-input/")
    first = first_false(healthy.with_object(key, lambda data: data[:-1] + b',"v":1}').alone())
    assert (first.id, key in (first.reason or "")) == ("preprocess.input", True)


NEEDED_NO_MORE = ("processed-data/by-input/", *INDEX)
"""A short cut: without it, a run reads the rows again."""


def test_an_absent_object_is_found_and_named(healthy: Ran) -> None:
    for key in healthy.keys(""):
        if key.startswith(NEEDED_NO_MORE):
            continue
        other = healthy.copied()
        other.store.erase(key)
        first = first_false(other.alone())
        assert key in (first.reason or ""), f"{key}: {first.id}: {first.reason}"


@pytest.mark.parametrize("ending", ["claim.json", "preprocess.json", "train-ridge.json", "judge.json"])
def test_a_record_that_was_changed_with_care_is_found_by_the_seal(healthy: Ran, ending: str) -> None:
    """The change is one that the record alone does not show: a field of it says something else that may be."""
    key = healthy.key(ending, "runs/")
    part = json.loads(healthy.store.get(key) or b"")
    plausible = {"duration_ms": part.get("duration_ms", 0) - 1} if "duration_ms" in part else {"claimed_by": "1"}
    first = first_false(healthy.with_object(key, edited(**plausible)).alone())
    assert first.section == "run"
    assert key in (first.reason or "")


def test_a_judge_that_was_stopped_before_its_record_leaves_a_seal_beside_that_of_the_next_one(healthy: Ran) -> None:
    other = healthy.copied()
    seal = JudgeSeal(run=1, judge_sha256="0" * 64)
    other.store.create(layout.seal(other.config_hash, 1, seal.judge_sha256), seal.to_bytes())
    assert other.alone().first_false is None


def without_judge(run: Ran, *also: str) -> Ran:
    """The same without the record of the judge and all objects that begin so."""
    other = run.copied()
    for key in (run.part("judge"), *(key for start in also for key in run.keys("", start))):
        other.store.erase(key)
    return other


def test_an_erased_judgement_is_found_by_whatever_else_says_that_the_run_was_judged(
    healthy: Ran, tmp_path: Path
) -> None:
    seals, promoted = layout.seals(healthy.config_hash, 1), "model-promotion/"
    reports = {
        seals: without_judge(healthy).alone(),
        layout.log_entry("global", 1): without_judge(healthy, seals).alone(),
        "flts.log:": without_judge(healthy, seals, promoted).report(tmp_path),
    }
    for trace, report in reports.items():
        first = first_false(report)
        assert first.id == "run.judge"
        assert healthy.part("judge") in (first.reason or "")
        assert trace in (first.reason or "")


def test_a_judged_run_without_a_record_of_its_model_is_damage_also_where_the_judge_names_none(healthy: Ran) -> None:
    part = healthy.part("train-ridge")
    other = healthy.copied()
    other.store.erase(part)

    def named_less(data: bytes) -> bytes:
        found = json.loads(data)
        return canonical_json({**found, "rests_on": {k: v for k, v in found["rests_on"].items() if k != part}})

    first = first_false(other.with_record(other.part("judge"), named_less).alone())
    assert first.id == "run.ridge.record"
    assert part in (first.reason or "")


def test_a_run_that_was_not_judged_is_no_damage(healthy: Ran) -> None:
    report = without_judge(healthy, layout.seals(healthy.config_hash, 1), "model-promotion/").alone()
    assert (report.first_false, report.claim("run.judge").state) == (None, NOT_RECORDED)


def test_a_run_that_another_one_overtook_is_no_damage(healthy: Ran) -> None:
    """Run 1 was never judged, and run 2 made the promotion."""
    other = without_judge(healthy, layout.seals(healthy.config_hash, 1))
    second = json.loads(healthy.store.get(healthy.part("judge")) or b"")
    other.store.create(layout.run_part(other.config_hash, 2, "judge"), canonical_json({**second, "run": 2}))
    assert other.alone().claim("run.judge").state == NOT_RECORDED


def test_a_record_that_came_after_the_judgement_is_not_sealed(healthy: Ran) -> None:
    other = healthy.copied()
    late = layout.failure(other.config_hash, 1, "gru")
    put_failure(other.store, load_experiment(other.store, other.config_hash, other.data_hash), "gru", 1)
    claim = other.alone().claim("run.sealed")
    assert claim.state == NOT_RECORDED
    assert late in (claim.reason or "")
    assert other.alone(required=["run.sealed"]).exit_code == 1


def test_a_run_of_an_earlier_flts_has_no_seal_and_is_verified(healthy: Ran) -> None:
    other = healthy.with_object(healthy.part("judge"), edited_without("rests_on"))
    for seal in other.keys("", layout.seals(other.config_hash, 1)):
        other.store.erase(seal)
    assert other.alone().first_false is None


MESSAGE = {"topic": "training-data", "partition": 0, "offset": 0, "event_id": "0" * 64}
MACHINE = {"flts": "9", "python": "3.11.9", "libraries": {}, "processor": "tests", "cpus": 1}


EDITS: Mapping[str, tuple[str, str, dict[str, Any], str]] = {
    "a metric of the trainer": (
        "train-ridge.json",
        "runs/",
        {"errors": {"rmse": 0.1, "mae": 0.2, "mse": 0.3}},
        "train.ridge.rmse",
    ),
    "a duration": ("train-ridge.json", "runs/", {"duration_ms": 10**9}, "train.ridge.duration"),
    "the hash of a model": ("train-ridge.json", "runs/", {"model_hash": "0" * 64}, "train.ridge.model_hash"),
    "the rows of a run": ("claim.json", "runs/", {"data_hash": "0" * 64}, "run.config_hash"),
    "the scope of a part": ("train-ridge.json", "runs/", {"scope": "other"}, "run.ridge.record"),
    "the digest of the description": ("preprocess.json", "runs/", {"meta_sha256": "0" * 64}, "preprocess.meta"),
    "the decision of the judge": ("judge.json", "runs/", {"decision_id": "0" * 64}, "evaluation.decision"),
    "the bundle of a part": ("train-ridge.json", "runs/", {"bundle_sha256": "0" * 64}, "train.ridge.bundle"),
    "the forecasts of a part": ("train-ridge.json", "runs/", {"forecasts_sha256": "0" * 64}, "train.ridge.forecasts"),
    "the processor of a part": ("train-ridge.json", "runs/", {"processor": "other"}, "run.ridge.record"),
    "the message of a part": ("train-ridge.json", "runs/", {"message": MESSAGE}, "chain.ridge.message"),
    "the tracked runs that were left out": ("judge.json", "runs/", {"run_ids": {}}, "evaluation.judged"),
    "the entries of the log when the run began": ("claim.json", "runs/", {"promotion": 1}, "promotion.recorded"),
    "the entries of the log at its end": ("judge.json", "runs/", {"promotion": None}, "promotion.recorded"),
    "the topic of an announcement": (
        *("judge.json", "runs/"),
        {"announced": {**MESSAGE, "topic": "other"}},
        "chain.model-selected",
    ),
    "the message of the judge": ("judge.json", "runs/", {"message": MESSAGE}, "chain.judge.message"),
    "the version of a process": ("preprocess.json", "runs/", {"machine": MACHINE}, "run.processes"),
    "the duration of the rows": ("preprocess.json", "runs/", {"duration_ms": 10**9}, "preprocess.duration"),
    "the duration of the judge": ("judge.json", "runs/", {"duration_ms": 10**9}, "evaluation.duration"),
    "the decision that was seen": ("judge.json", "runs/", {"decision_sha256": "0" * 64}, "evaluation.decision"),
    "the entry that was seen": ("judge.json", "runs/", {"entry_sha256": "0" * 64}, "promotion.seen"),
    "the tracked runs that were seen": ("judge.json", "runs/", {"run_ids": {"ridge": "run-9"}}, "evaluation.judged"),
    "when the run began": ("claim.json", "runs/", {"started": "2100-01-01T00:00:00+00:00"}, "run.processes"),
    "the outcome of the judge": ("judge.json", "runs/", {"outcome": "keep"}, "evaluation.judged"),
    "a pointer": ("current.json", "model-promotion/global/current.json", {"score": 0.0}, "promotion.pointer.scope"),
}

COMPUTED = {
    "run.config_hash",
    "evaluation.decision",
    "chain.ridge.message",
    "chain.judge.message",
    "chain.model-selected",
}
"""Claims whose reason names something else than the record that was edited."""


@pytest.mark.parametrize("name", EDITS)
def test_a_changed_field_is_found_by_its_claim(healthy: Ran, name: str) -> None:
    """Also where the seal was made to fit the record again."""
    ending, start, fields, claim = EDITS[name]
    key = healthy.key(ending, start)
    change = healthy.with_record if key.startswith("runs/") else healthy.with_object
    first = first_false(change(key, edited(**fields)).alone())
    assert first.id == claim
    if claim not in COMPUTED:
        assert ending in (first.reason or "")


@pytest.mark.parametrize(
    ("fields", "claim"),
    [
        ({"run_status": "FAILED"}, "tracking.ridge.status"),
        ({"experiment": "flts/other"}, "tracking.ridge.experiment"),
    ],
)
def test_what_a_part_says_of_its_tracked_run_is_compared(
    healthy: Ran, tmp_path: Path, fields: dict[str, Any], claim: str
) -> None:
    other = healthy.with_record(healthy.key("train-ridge.json", "runs/"), edited(**fields))
    assert first_false(replace(other, log=None).report(tmp_path)).id == claim


def test_another_message_at_the_place_that_a_part_names_is_found(healthy: Ran, tmp_path: Path) -> None:
    topic, last = ModelTraining.topic, len(healthy.messages[ModelTraining.topic]) - 1
    swapped = with_messages(healthy, topic, lambda records: [replace(one, offset=last - one.offset) for one in records])
    first = first_false(swapped.report(tmp_path))
    assert first.id == "chain.ridge.model-training"
    assert first.reason == f"{topic} 0:{last} holds another message"
    assert swapped.report(tmp_path).claim("chain.judge.message").state == FALSE
    later = with_messages(healthy, topic, lambda records: [replace(one, offset=one.offset + 9) for one in records])
    assert later.report(tmp_path).claim("chain.judge.message").state == NOT_RECORDED


@pytest.mark.parametrize(("field", "value"), [("step", "10"), ("timezone", "Nowhere/Else"), ("timezone", "")])
def test_a_grid_that_is_none_is_damage_also_where_the_digests_agree(healthy: Ran, field: str, value: str) -> None:
    meta = healthy.key("meta.json", "processed-data/")

    def other_grid(data: bytes) -> bytes:
        found = json.loads(data)
        found["fitted"]["grid"][field] = value
        return canonical_json(found)

    other = healthy.with_object(meta, other_grid)
    assert meta in (first_false(other.alone()).reason or "")
    digest = sha256(other.store.get(meta) or b"")
    other = other.with_record(other.key("preprocess.json", "runs/"), edited(meta_sha256=digest))
    for key in other.keys("", "model-promotion/"):  # nothing else names it any more
        other.store.erase(key)
    assert other.alone().exit_code == 1


def test_a_row_count_that_was_changed_with_its_digest_is_counted_again(healthy: Ran) -> None:
    meta = healthy.key("meta.json", "processed-data/")

    def more(data: bytes) -> bytes:
        found = json.loads(data)
        return canonical_json({**found, "train": {**found["train"], "rows": found["train"]["rows"] + 1}})

    other = healthy.with_object(meta, more)
    digest = sha256(other.store.get(meta) or b"")
    other = other.with_record(other.key("preprocess.json", "runs/"), edited(meta_sha256=digest))
    first = first_false(other.alone())
    assert first.id in {"preprocess.meta", "preprocess.train.rows"}
    assert meta in (first.reason or "")


def with_log(run: Ran, event: str, /, **fields: Any) -> Ran:
    """The same run whose log says something else in the lines of one event."""
    lines = [json.loads(line) for line in (run.log or "").splitlines()]
    told = [{**line, **fields} if line["event"] == event else line for line in lines]
    return replace(run, log="\n".join(map(json.dumps, told)))


LINES: Mapping[str, tuple[dict[str, Any], str]] = {
    "claim_published": ({"event_id": "0" * 64}, "logs.claim_published"),
    "promotion_publish": ({"scope": "other"}, "logs.promotion_publish"),
    "sampling_applied": ({"train_rows_after": 50}, "logs.sampling_applied"),
    "upload_done": ({"size": 1}, "logs.upload_done"),
    "train_complete": ({"test_rmse": 0.5}, "logs.ridge.train_complete"),
    "promotion_decision": ({"score": 0.0}, "logs.promotion_decision"),
    "promotion_root_pointer_write": ({"model_type": "GRU"}, "logs.promotion_root_pointer_write"),
}


@pytest.mark.parametrize("event", LINES)
def test_a_changed_log_line_is_found(healthy: Ran, tmp_path: Path, event: str) -> None:
    fields, claim = LINES[event]
    first = first_false(with_log(healthy, event, **fields).report(tmp_path))
    assert first.id == claim
    assert "flts.log:" in (first.reason or "")


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_line_about_the_judgement_that_fits_does_not_hide_one_that_does_not(
    healthy: Ran, tmp_path: Path, place: str
) -> None:
    lines = (healthy.log or "").splitlines()
    (told,) = (line for line in lines if json.loads(line)["event"] == "run_judged")
    forged = json.dumps({**json.loads(told), "judge_sha256": "0" * 64})
    twice = replace(healthy, log="\n".join([*lines, told]))
    assert (claim := twice.report(tmp_path).claim("logs.run_judged")).state == TRUE
    assert claim.found == 2
    added = [forged, *lines] if place == "before" else [*lines, forged]
    first = first_false(replace(healthy, log="\n".join(added)).report(tmp_path))
    assert first.id == "logs.run_judged"
    assert (first.reason or "").startswith(f"flts.log:{added.index(forged) + 1} ")


def test_the_log_of_another_run_says_nothing_about_this_one(healthy: Ran, tmp_path: Path) -> None:
    """Most lines name the experiment alone, and each run has its own durations."""
    other = healthy.copied()
    for key in healthy.keys("", layout.run_folder(healthy.config_hash, 1)):
        other.store.create(key.replace("/0001/", "/0002/"), healthy.store.get(key) or b"")
    second = with_log(with_log(other, "claim_published", run=2), "run_judged", run=2)
    second = with_log(second, "train_complete", duration_ms=1)
    states = {c.id: c.state for c in second.report(tmp_path).claims if c.section == "logs"}
    assert set(states.values()) == {NOT_RECORDED}
    both = replace(second, log="\n".join([healthy.log or "", second.log or ""])).report(tmp_path)
    assert [c.id for c in both.claims if c.section == "logs" and c.state in BAD] == []
    assert both.claim("logs.claim_published").found == 1
    unknown = with_log(healthy, "claim_published", run=2)
    assert first_false(unknown.report(tmp_path)).id == "logs.claim_published"


def with_messages(run: Ran, topic: str, change: Callable[[list[Record]], list[Record]]) -> Ran:
    return replace(run, messages={**run.messages, topic: change(list(run.messages[topic]))})


def test_a_repeated_message_is_counted_and_stays_true(healthy: Ran, tmp_path: Path) -> None:
    other = with_messages(
        healthy, TrainingData.topic, lambda records: [*records, replace(records[0], offset=len(records))]
    )
    claim = other.report(tmp_path).claim("chain.training-data")
    assert (claim.state, claim.found) == (TRUE, 2)


def is_end(record: Record) -> bool:
    return ModelTraining.parse(record.value).status != "RUNNING"


def test_a_dropped_message_is_false_only_inside_the_retained_offsets(healthy: Ran, tmp_path: Path) -> None:
    topic = ModelTraining.topic
    dropped = with_messages(healthy, topic, lambda records: [one for one in records if not is_end(one)])
    assert first_false(dropped.report(tmp_path)).id == "chain.ridge.model-training"
    later = with_messages(dropped, topic, lambda records: [replace(one, offset=one.offset + 100) for one in records])
    assert later.report(tmp_path).claim("chain.ridge.model-training").state == NOT_RECORDED


SENT = {
    TrainingData.topic: "chain.training-data",
    ModelTraining.topic: "chain.ridge.model-training",
    ModelSelected.topic: "chain.model-selected",
}


@pytest.mark.parametrize("topic", SENT)
def test_a_message_is_looked_for_where_its_sender_recorded_it(healthy: Ran, tmp_path: Path, topic: str) -> None:
    """It was sent twice, and its first copy is gone: false only where the topic still reaches back to it."""
    other, claim = replace(healthy, log=None), SENT[topic]
    *earlier, last = healthy.messages[topic]
    again = replace(last, offset=last.offset + 50)
    swapped = with_messages(other, topic, lambda _: [*earlier, replace(last, value=b"{}"), again])
    assert swapped.report(tmp_path).claim(claim).state == FALSE
    deleted = with_messages(other, topic, lambda _: [again]).report(tmp_path).claim(claim)
    assert (deleted.state, deleted.found) == (TRUE, 1)


def test_another_broker_holds_nothing_of_this_run(healthy: Ran, tmp_path: Path) -> None:
    def of_others(records: list[Record]) -> list[Record]:
        return [
            replace(one, value=canonical_json({**json.loads(one.value), "event_id": None, "identifier": "other"}))
            for one in records
        ]

    other = replace(healthy, log=None)
    for topic in (TrainingData.topic, ModelTraining.topic):
        other = with_messages(other, topic, of_others)
    other = with_messages(other, ModelSelected.topic, lambda _: [])
    report = other.report(tmp_path)
    assert report.first_false is None, report.first_false
    assert {claim.state for claim in report.claims if claim.section == "chain"} == {NOT_RECORDED}


def test_a_lost_message_is_false_where_a_topic_lost_its_beginning_but_not_its_place(
    healthy: Ran, tmp_path: Path
) -> None:
    topic, shift = ModelTraining.topic, 100
    other = replace(healthy, log=None)
    for key in other.keys(".json", f"{layout.run_folder(other.config_hash, 1)}sent/"):
        place = json.loads(other.store.get(key) or b"")
        if place["topic"] == topic:
            other = other.with_record(key, edited(offset=place["offset"] + shift))
    begun = with_messages(other, topic, lambda records: [replace(records[0], offset=shift)])
    assert begun.report(tmp_path).claim("chain.ridge.model-training").state == FALSE


def test_a_message_with_another_effect_is_found(healthy: Ran, tmp_path: Path) -> None:
    def edited_end(**fields: Any) -> Callable[[list[Record]], list[Record]]:
        return lambda records: [
            replace(one, value=canonical_json({**json.loads(one.value), **fields})) if is_end(one) else one
            for one in records
        ]

    for fields in ({"duration_ms": 1}, {"experiment": "other"}, {"model_type": "GRU"}, {"error": "an error"}):
        first = first_false(with_messages(healthy, ModelTraining.topic, edited_end(**fields)).report(tmp_path))
        assert first.id == "chain.ridge.model-training"
        assert "model-training 0:" in (first.reason or "")


class Told(RecordingTracker):
    """A tracker that shows other runs than were logged."""

    def __init__(self, tracker: RecordingTracker, entry_sha256: str | None = None, **changes: Any) -> None:
        super().__init__(tracker.uri)
        self.runs, self.promotions = tracker.runs, tracker.promotions
        self._entry, self._changes = entry_sha256, changes

    def look(self, run_id: str) -> SeenRun | None:
        seen = super().look(run_id)
        return None if seen is None else replace(seen, **self._changes)

    def champion(self, scope: str) -> Mapping[str, str] | None:
        return {"flts.entry_sha256": self._entry} if self._entry else super().champion(scope)


TRACKED: Mapping[str, tuple[dict[str, Any], str]] = {
    "state": ({"status": "FAILED"}, "tracking.ridge.status"),
    "experiment": ({"experiment": "Default"}, "tracking.ridge.experiment"),
    "tags": ({"tags": {}}, "tracking.ridge.hashes"),
    "metrics": ({"metrics": {"test_rmse": 0.0}}, "tracking.ridge.errors"),
    "times": ({"ended_ms": None}, "tracking.ridge.ended"),
}


@pytest.mark.parametrize("name", TRACKED)
def test_a_changed_tracked_run_is_found(healthy: Ran, tmp_path: Path, name: str) -> None:
    changes, claim = TRACKED[name]
    other = replace(healthy, tracker=Told(healthy.tracker or RecordingTracker(), **changes))
    assert first_false(other.report(tmp_path)).id == claim


def test_a_tracker_that_moved_is_the_same_and_another_one_knows_nothing(healthy: Ran, tmp_path: Path) -> None:
    assert healthy.tracker is not None
    moved = Told(healthy.tracker)
    moved.uri = "sqlite:////elsewhere/mlflow.db"
    assert replace(healthy, tracker=moved).report(tmp_path).claim("tracking.ridge.errors").state == TRUE
    other = RecordingTracker("https://mlflow.other")
    other.promote("global", "run-9", "RIDGE", "0" * 64, "0" * 64)
    report = replace(healthy, tracker=other).report(tmp_path)
    assert report.exit_code == 3
    assert report.claim("promotion.witness.tracking").state == UNREACHABLE


@pytest.fixture(scope="module")
def forged(healthy: Ran) -> Ran:
    """The same run with better forecasts: artifact, result, decision, log and pointers rewritten so that all agree."""
    experiment = load_experiment(healthy.store, healthy.config_hash, healthy.data_hash)
    store, gone = memory_store(), ("model-promotion/", "runs/")
    for key, data in contents(healthy.store).items():
        if not key.startswith(gone) and "/windows/" not in key:
            store.create(key, data)
    for part in ("claim", "preprocess"):
        key = layout.run_part(healthy.config_hash, 1, part)
        store.create(key, healthy.store.get(key) or b"")
    put_forecasts(store, experiment, "ridge", truth(experiment) + 0.5)
    put_train_part(store, experiment, 1, "ridge", "run-1", tracking_uri=URI)
    context = context_of(store)
    context.environment = "tests"
    judged = judge_run(context, experiment, "global", 1, actor="tests")
    assert isinstance(judged, Judged)
    told = {topic: context.bus.records(topic) for topic in (ModelSelected.topic,)}
    return replace(healthy, store=store, messages=told, tracker=shown(healthy, store), log=None)


URI = RecordingTracker().uri


def shown(healthy: Ran, store: Store, entry_sha256: str | None = None) -> Told:
    """The tracker, in which somebody rewrote the errors of the run, too."""
    (key,) = (key for key in store.list("runs/") if key.endswith("train-ridge.json"))
    errors = json.loads(store.get(key) or b"")["errors"]
    assert healthy.tracker is not None
    metrics = {f"test_{name}": value for name, value in errors.items()}
    return Told(healthy.tracker, entry_sha256, metrics=metrics)


def test_a_store_that_was_rewritten_consistently_says_true_by_itself(forged: Ran, healthy: Ran) -> None:
    assert forged.alone().first_false is None
    score = "evaluation.ridge.score"
    assert forged.alone().claim(score).found != healthy.alone().claim(score).found


def test_it_is_found_by_the_messages(forged: Ran, healthy: Ran, tmp_path: Path) -> None:
    first = first_false(replace(forged, messages=healthy.messages).report(tmp_path))
    assert first.id == "promotion.witness.message"
    assert layout.log_entry("global", 1) in (first.reason or "")


@pytest.mark.parametrize("newest", ["forged", "first"])
def test_a_message_about_the_rewritten_entry_does_not_hide_the_first_one(
    forged: Ran, healthy: Ran, tmp_path: Path, newest: str
) -> None:
    runs = [healthy, forged] if newest == "forged" else [forged, healthy]
    told = [run.messages[ModelSelected.topic][0] for run in runs]
    records = [replace(record, offset=offset) for offset, record in enumerate(told)]
    other = replace(forged, messages={**forged.messages, ModelSelected.topic: records})
    assert other.report(tmp_path).claim("promotion.witness.message").state == FALSE


def test_it_is_found_by_the_tracker(forged: Ran, healthy: Ran, tmp_path: Path) -> None:
    head = str(healthy.alone().claim("promotion.head").found)
    first = first_false(replace(forged, tracker=shown(healthy, forged.store, head)).report(tmp_path))
    assert first.id == "promotion.witness.tracking"
    assert layout.log_entry("global", 1) in (first.reason or "")


def test_what_was_rewritten_in_all_places_is_found_by_the_expected_head_alone(
    forged: Ran, healthy: Ran, tmp_path: Path
) -> None:
    head = str(healthy.alone().claim("promotion.head").found)
    own = str(forged.alone().claim("promotion.head").found)
    everywhere = replace(forged, tracker=shown(healthy, forged.store, own))
    report = everywhere.report(tmp_path)
    assert report.exit_code == 0
    assert [report.claim(f"promotion.witness.{who}").state for who in ("message", "tracking")] == [TRUE, TRUE]
    assert first_false(everywhere.report(tmp_path, expected_head=head)).id == "promotion.head"
    assert healthy.report(tmp_path, expected_head=head).exit_code == 0
