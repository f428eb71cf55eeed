"""The stored answer of the forecast service, line by line."""

from __future__ import annotations

import uuid
from datetime import datetime

from tests.support.experiments import small_experiment
from tests.support.services import TEST
from tests.support.stored import StoppedClock, fit, gathered
from tests.support.tracking import context_of

from flts.contracts.canonical import sha256
from flts.contracts.messages import InferenceData, PerformanceEval
from flts.contracts.ports import Record
from flts.contracts.records.answer import ForecastLine
from flts.promotion.stage import promote
from flts.runner.services.forecast import Forecaster


def test_every_line_of_a_batch_is_a_forecast_line_by_the_champion() -> None:
    experiment, store = small_experiment()
    fit(store, experiment)
    context, clock = context_of(store), StoppedClock()
    candidates, ids = gathered(store, experiment), {"ridge": None}
    judged = promote(store, context.bus, clock, experiment, candidates, scope="global", actor="tests", run_ids=ids)
    assert judged.champion is not None
    rows = TEST.write_csv().encode()
    store.create("dataset/rows.csv", rows)
    claim = InferenceData(
        ts=clock.now(),
        identifier="global",
        bucket="dataset",
        object_key="rows.csv",
        size=len(rows),
        sha256=sha256(rows),
        row_count=len(TEST),
    )
    Forecaster(context).handle(Record(claim.topic, 0, 0, claim.key, claim.to_bytes(), {}, 0))
    (told,) = (PerformanceEval.parse(record.value) for record in context.bus.records(PerformanceEval.topic))
    stored = (store.get(told.log_object_key) or b"").splitlines()
    lines = [ForecastLine.model_validate_json(line) for line in stored]
    assert len(lines) == told.forecasts > 0
    assert {line.step for line in lines} == {1, 2, 3}
    assert {line.target for line in lines} == {"load"}
    assert {(line.model_type, line.model_hash, line.promotion) for line in lines} == {
        ("RIDGE", judged.champion.champion.model_hash, judged.champion.number)
    }
    assert {line.request_id for line in lines} == {str(uuid.UUID(lines[0].request_id))}
    assert told.log_object_key.endswith(f"/{lines[0].request_id}.jsonl")
    for line in lines:
        assert datetime.fromisoformat(line.time) > datetime.fromisoformat(line.origin)
        assert line.lower is not None
        assert line.upper is not None
        assert line.lower <= line.mean <= line.upper
