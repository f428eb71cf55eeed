"""The stored answer of the forecast service, line by line."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime

import pytest
from tests.support.experiments import small_experiment
from tests.support.raising import raises
from tests.support.services import claim_of_rows
from tests.support.stored import StoppedClock, fit, gathered
from tests.support.tracking import context_of

from flts.contracts.errors import DamagedObject
from flts.contracts.messages import PerformanceEval
from flts.contracts.ports import Record
from flts.contracts.records.answer import ForecastLine
from flts.contracts.records.log import LogEntry
from flts.promotion.stage import promote
from flts.runner.services.forecast import Forecaster
from flts.wiring import RunContext


def promoted() -> tuple[RunContext, LogEntry]:
    """A store with a champion."""
    experiment, store = small_experiment()
    fit(store, experiment)
    context, candidates = context_of(store), gathered(store, experiment)
    judged = promote(
        store,
        context.bus,
        StoppedClock(),
        experiment,
        candidates,
        scope="global",
        actor="tests",
        run_ids={"ridge": None},
    )
    assert judged.champion is not None
    return context, judged.champion


def answered(context: RunContext, ts: datetime) -> PerformanceEval:
    """The answer to a claim of the test rows that says it was sent then."""
    claim = claim_of_rows(context.store, ts)
    Forecaster(context).handle(Record(claim.topic, 0, 0, claim.key, claim.to_bytes(), {}, 0))
    return PerformanceEval.parse(context.bus.records(PerformanceEval.topic)[-1].value)


@pytest.mark.parametrize("again", ["2026-01-03T00:00:00Z", "2025-12-31T23:00:00-12:00", "0002-06-01T00:00:00Z"])
def test_a_claim_sent_again_on_another_day_has_one_answer(again: str) -> None:
    context, _ = promoted()
    first = answered(context, StoppedClock().now())
    second = answered(context, datetime.fromisoformat(again))
    assert (second.event_id, second.log_object_key) == (first.event_id, first.log_object_key)
    assert [key for key in context.store.list("inference-logs/") if key.endswith(".jsonl")] == [first.log_object_key]
    assert first.log_object_key.startswith("inference-logs/global/20260102/")


def test_a_claim_of_a_year_that_needs_padding_is_answered_under_its_day() -> None:
    context, _ = promoted()
    told = answered(context, datetime(2, 6, 1, tzinfo=UTC))
    assert told.log_object_key.startswith("inference-logs/global/00020601/")


@pytest.mark.parametrize("day", ["../../x", "2026", "20260102/..", ""])
def test_an_edited_day_leads_no_answer_elsewhere(day: str) -> None:
    context, _ = promoted()
    answered(context, StoppedClock().now())
    (key,) = (key for key in context.store.list("inference-logs/") if key.endswith(".json"))
    record = json.loads(context.store.get(key) or b"")
    context.store.replace(key, json.dumps(record | {"day": day}).encode())
    with raises(DamagedObject, code="record-damaged"):
        answered(context, StoppedClock().now())


def test_every_line_of_a_batch_is_a_forecast_line_by_the_champion() -> None:
    context, champion = promoted()
    store, told = context.store, answered(context, StoppedClock().now())
    stored = (store.get(told.log_object_key) or b"").splitlines()
    lines = [ForecastLine.model_validate_json(line) for line in stored]
    assert len(lines) == told.forecasts > 0
    assert {line.step for line in lines} == {1, 2, 3}
    assert {line.target for line in lines} == {"load"}
    assert {(line.model_type, line.model_hash, line.promotion) for line in lines} == {
        ("RIDGE", champion.champion.model_hash, champion.number)
    }
    assert {line.request_id for line in lines} == {str(uuid.UUID(lines[0].request_id))}
    assert told.log_object_key.endswith(f"/{lines[0].request_id}.jsonl")
    for line in lines:
        assert datetime.fromisoformat(line.time) > datetime.fromisoformat(line.origin)
        assert line.lower is not None
        assert line.upper is not None
        assert line.lower <= line.mean <= line.upper
