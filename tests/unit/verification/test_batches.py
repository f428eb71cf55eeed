"""Batches of a champion: each message is matched with what the store holds of it, and each answer with its message."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.services import claim_of_rows
from tests.support.stored import StoppedClock
from tests.support.tracking import context_of
from tests.support.verified import Ran

from flts.contracts.canonical import canonical_json
from flts.contracts.errors import DataError
from flts.contracts.messages import InferenceData, PerformanceEval
from flts.contracts.ports import Record
from flts.preprocess.limits import TOO_LARGE
from flts.runner.services.forecast import Forecaster
from flts.verification.claims import FALSE, NOT_RECORDED, TRUE

ASKED, ANSWERED = f"chain.{InferenceData.topic}", f"chain.{PerformanceEval.topic}"
Change = Callable[[Sequence[Record]], Sequence[Record]]


@pytest.fixture(scope="module")
def answered(healthy: Ran) -> Ran:
    """The same after its champion answered a claim of rows that hold the truth."""
    other = replace(healthy.copied(), log=None)
    context = context_of(other.store)
    claim = claim_of_rows(other.store, StoppedClock().now())
    context.bus.publish(claim.topic, claim.key, claim.to_bytes())
    (record,) = context.bus.records(claim.topic)
    Forecaster(context).handle(record)
    told = {topic: context.bus.records(topic) for topic in (InferenceData.topic, PerformanceEval.topic)}
    return replace(other, messages={**other.messages, **told})


def with_messages(run: Ran, topic: str, change: Change) -> Ran:
    return replace(run, messages={**run.messages, topic: change(run.messages[topic])})


def edited(**fields: Any) -> Change:
    """Messages that say something else, sent by somebody who knows how their ids are made."""

    def change(records: Sequence[Record]) -> Sequence[Record]:
        return [
            replace(one, value=canonical_json({**json.loads(one.value), "event_id": None, **fields})) for one in records
        ]

    return change


def test_a_batch_is_asked_for_and_answered_as_announced(answered: Ran, tmp_path: Path) -> None:
    report = answered.report(tmp_path)
    assert report.first_false is None, report.first_false
    assert [(report.claim(name).state, report.claim(name).found) for name in (ASKED, ANSWERED)] == [(TRUE, 1)] * 2
    assert any(key.endswith(".jsonl") for key in report.claim(ANSWERED).evidence)
    (told,) = answered.messages[PerformanceEval.topic]
    assert PerformanceEval.parse(told.value).metrics
    assert answered.alone().claim(ANSWERED).state == NOT_RECORDED


def test_a_repeated_answer_is_counted_and_stays_true(answered: Ran, tmp_path: Path) -> None:
    twice = with_messages(answered, PerformanceEval.topic, lambda told: [*told, replace(told[0], offset=1)])
    claim = twice.report(tmp_path).claim(ANSWERED)
    assert (claim.state, claim.found) == (TRUE, 2)


MESSAGES = {
    "number of forecasts": (edited(forecasts=1), ANSWERED),
    "number of rows": (edited(rows=1), ANSWERED),
    "errors": (edited(metrics={"rmse": 0.0, "mae": 0.0, "mse": 0.0}), ANSWERED),
    "place": (edited(log_object_key="inference-logs/global/20260102/x.jsonl"), ANSWERED),
    "claim": (edited(input_event_id="0" * 64), ASKED),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_changed_message_is_found(answered: Ran, tmp_path: Path, name: str) -> None:
    change, claim = MESSAGES[name]
    first = with_messages(answered, PerformanceEval.topic, change).report(tmp_path).first_false
    assert first is not None
    assert (first.id, first.state) == (claim, FALSE)


@pytest.mark.parametrize(("topic", "claim"), [(InferenceData.topic, ASKED), (PerformanceEval.topic, ANSWERED)])
def test_a_dropped_message_is_false_only_inside_the_retained_offsets(
    answered: Ran, tmp_path: Path, topic: str, claim: str
) -> None:
    """A message of another scope is what the topic still holds."""
    others = edited(identifier="other")
    assert with_messages(answered, topic, others).report(tmp_path).claim(claim).state == FALSE
    deleted = with_messages(answered, topic, lambda told: [replace(one, offset=7) for one in others(told)])
    assert deleted.report(tmp_path).claim(claim).state == NOT_RECORDED


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[:-3],
    "a bound": lambda data: data.replace(b'"upper":', b'"upper":1', 1),
    "a forecast": lambda data: data.replace(b'"mean":', b'"mean":1', 1),
    "a model": lambda data: data.replace(b'"RIDGE"', b'"GRU"', 1),
    "a line less": lambda data: b"\n".join(data.splitlines()[:-1]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_answer_is_found(answered: Ran, tmp_path: Path, name: str) -> None:
    key = answered.key(".jsonl")
    first = answered.with_object(key, CHANGES[name]).report(tmp_path).first_false
    assert first is not None
    assert first.id == ANSWERED
    assert key in (first.reason or "")


def test_a_changed_forecast_is_found_without_the_digest_that_an_earlier_message_lacks(
    answered: Ran, tmp_path: Path
) -> None:
    earlier = with_messages(answered, PerformanceEval.topic, edited(log_sha256=None))
    assert earlier.report(tmp_path).claim(ANSWERED).state == TRUE
    changed = earlier.with_object(answered.key(".jsonl"), CHANGES["a forecast"])
    assert changed.report(tmp_path).claim(ANSWERED).state == FALSE


def test_claimed_rows_that_are_too_large_here_say_nothing_and_other_faults_do(
    answered: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = with_messages(answered, PerformanceEval.topic, edited(rows=1))

    def refused(code: str) -> str:
        def rows_for(*_: Any) -> Any:
            raise DataError("refused", code=code)

        monkeypatch.setattr("flts.verification.batches.rows_for", rows_for)
        return wrong.report(tmp_path).claim(ANSWERED).state

    assert (refused(TOO_LARGE), refused("columns-missing")) == (TRUE, FALSE)


def test_an_answer_and_its_message_that_both_end_in_a_window_are_false(answered: Ran, tmp_path: Path) -> None:
    key = answered.key(".jsonl")
    cut = answered.with_object(key, CHANGES["a line less"])
    (told,) = answered.messages[PerformanceEval.topic]
    fewer = edited(forecasts=PerformanceEval.parse(told.value).forecasts - 1, log_sha256=None)
    first = with_messages(cut, PerformanceEval.topic, fewer).report(tmp_path).first_false
    assert first is not None
    assert (first.id, first.state) == (ANSWERED, FALSE)
