"""The checker of promises finds none broken in a good history, and each one that a test breaks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.support.checker import DEAD, History, faults
from tests.support.experiments import small_spec
from tests.support.rejudged import differing
from tests.support.services import TEST, start_run
from tests.support.stored import contents, fit, put_train_part
from tests.support.tracking import context_of

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.canonical import canonical_json, sha256
from flts.contracts.errors import DataError
from flts.contracts.messages import TOPICS, InferenceData, ModelTraining, TrainingData
from flts.contracts.ports import Record
from flts.promotion.stage import rollback
from flts.runner.services.evaluate import Evaluator
from flts.runner.services.forecast import Forecaster
from flts.runner.services.letters import send_to_dead_letters
from flts.runner.stored import load_experiment
from flts.wiring import RunContext

Break = Callable[[History], History]


def judged(context: RunContext, input_length: int) -> TrainingData:
    """A run of a ridge from its start to its promotion, without services."""
    spec = small_spec(evaluate={"gate": "always"}, task={"input_length": input_length})
    claim = start_run(context, spec)
    experiment = load_experiment(context.store, claim.config_hash, claim.data_hash)
    fit(context.store, experiment)
    put_train_part(context.store, experiment, claim.run, "ridge")
    message = ModelTraining(
        ts=context.clock.now(),
        identifier=claim.identifier,
        config_hash=claim.config_hash,
        data_hash=claim.data_hash,
        run=claim.run,
        model="ridge",
        model_hash=experiment.identity.model_hashes["ridge"],
        model_type="RIDGE",
        status="SUCCESS",
    )
    Evaluator(context).handle(record_of(message))
    return claim


def record_of(message: ModelTraining | InferenceData, offset: int = 0) -> Record:
    return Record(message.topic, 0, offset, message.key, message.to_bytes(), {}, 0)


def rows_of(context: RunContext, name: str, data: bytes) -> InferenceData:
    context.store.create(f"dataset/{name}", data)
    given = {"bucket": "dataset", "object_key": name, "size": len(data), "sha256": sha256(data), "row_count": 1}
    return InferenceData(ts=context.clock.now(), identifier="global", **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def good() -> History:
    """Two promotions, a rollback, an answer to the champion that came back, and rows that were given up."""
    context = context_of(memory_store())
    claimed = [judged(context, 12), judged(context, 18)]
    rollback(context.store, context.bus, context.clock, "global", "tests")
    asked = [rows_of(context, "rows.csv", TEST.write_csv().encode()), rows_of(context, "spoilt.csv", b"spoilt")]
    for message in asked:
        context.bus.publish(message.topic, message.key, message.to_bytes())
    Forecaster(context).handle(record_of(asked[0]))
    send_to_dead_letters(context.bus, record_of(asked[1], 1), DataError("no rows"), 1, "train-gru")
    topics = {topic: context.bus.records(topic) for name in TOPICS for topic in (name, f"{DEAD}{name}")}
    return History(contents(context.store), topics, claimed, asked)


def test_a_good_history_has_no_findings(good: History) -> None:
    assert [entry.kind for entry in good.entries("global").values()] == ["promote", "promote", "rollback"]
    assert faults(good) == []
    assert list(differing(good)) == []


def without(part: str) -> Break:
    """Every object whose key holds this is gone."""

    def broken(history: History) -> History:
        kept = {key: data for key, data in history.objects.items() if part not in key}
        assert len(kept) < len(history.objects)
        return replace(history, objects=kept)

    return broken


def torn(part: str) -> Break:
    """Every object whose key holds this lacks its last byte."""

    def broken(history: History) -> History:
        assert any(part in key for key in history.objects)
        return replace(
            history, objects={key: data[:-1] if part in key else data for key, data in history.objects.items()}
        )

    return broken


def changed(part: str, **fields: Any) -> Break:
    """These fields of the JSON object whose key ends so are others."""

    def broken(history: History) -> History:
        key = next(key for key in history.objects if key.endswith(part))
        value = json.loads(history.objects[key])
        assert value.keys() >= fields.keys()
        return replace(history, objects={**history.objects, key: canonical_json(value | fields)})

    return broken


def repeated(number: int) -> Break:
    """An entry of the log stands there once more, as the next one."""

    def broken(history: History) -> History:
        entries = history.entries("global")
        last = sha256(history.logs["global"][-1][1])
        update = {"number": len(entries) + 1, "previous_sha256": last}
        again = entries[number].model_copy(update=update).to_bytes()
        return replace(history, objects={**history.objects, layout.log_entry("global", len(entries) + 1): again})

    return broken


def said(topic: str, **fields: Any) -> Break:
    """The messages of a topic say something else, with an id that fits."""

    def other(record: Record) -> Record:
        value = {name: field for name, field in json.loads(record.value).items() if name != "event_id"}
        return replace(record, value=canonical_json(value | fields))

    def broken(history: History) -> History:
        assert history.topics[topic]
        return replace(history, topics={**history.topics, topic: [other(record) for record in history.topics[topic]]})

    return broken


def unsaid(topic: str) -> Break:
    """A topic lost its last message."""

    def broken(history: History) -> History:
        return replace(history, topics={**history.topics, topic: history.topics[topic][:-1]})

    return broken


def buried(topic: str, **headers: str) -> Break:
    """A message of a topic lies in its dead letters."""

    def broken(history: History) -> History:
        letter = Record(f"{DEAD}{topic}", 0, 0, "k", history.topics[topic][0].value, headers, 0)
        return replace(history, topics={**history.topics, f"{DEAD}{topic}": [letter]})

    return broken


BROKEN: Mapping[str, tuple[Break, str]] = {
    "a run is lost": (without("/claim.json"), "was begun and is not stored"),
    "a run is not judged": (without("/judge.json"), "was never judged"),
    "a decision is lost": (without("/decisions/"), "the decision of entry 1 is not stored"),
    "a promotion is lost": (without("/log/"), "its promotion is not in the log"),
    "a gap in the log": (without("/log/00000002"), "00000003.json stands at place 2"),
    "a changed entry": (changed("/log/00000002.json", actor="nobody"), "entry 3 does not name the digest"),
    "a winner that lost": (changed("/log/00000003.json", restores=2), "entry 3 does not bring back entry 2"),
    "a decision promotes twice": (repeated(1), "promoted 2 times"),
    "an old pointer": (changed("/global/current.json", promotion=1), "points at 1, not at entry 3"),
    "no root pointer": (without("model-promotion/current.json"), "points nowhere, not at entry 3"),
    "a champion untold": (unsaid("model-selected"), "the newest entry of global was never told"),
    "a champion that never was": (said("model-selected", kind="manual"), "is not what the log says"),
    "rows without an answer": (unsaid("performance-eval"), "rows.csv of global has neither an answer nor a reason"),
    "rows without a reason": (unsaid(f"{DEAD}inference-data"), "spoilt.csv of global has neither"),
    "an answer to nobody": (said("performance-eval", input_event_id="0" * 64), "000000000000 was never asked"),
    "an answer by nobody": (said("performance-eval", promotion=9), "names promotion 9, which is not in the log"),
    "an answer by another": (said("performance-eval", promotion=2), "is not by the champion of promotion 2"),
    "an answer too early": (said("performance-eval", ts="2020-01-01T00:00:00Z"), "came before promotion 3"),
    "an answer lost": (without("inference-logs/"), "and 0 are stored"),
    "a forecast by another": (without("/log/00000003"), "is not by the champion of promotion 3"),
    "a model given up": (buried("training-data", **{"flts-error": "DataError"}), "was given up: DataError"),
    "rows given up by a defect": (
        buried("inference-data", **{"flts-error": "KeyError", "flts-reason": "x"}),
        "was given up: KeyError: x",
    ),
    "a torn bundle": (torn("coefficients"), "is not what bundles/"),
    "a torn manifest": (changed("/manifest.json", horizon=2), "manifest.json is not what bundles/"),
    "a lost bundle": (without("/manifest.json"), "manifest.json is absent"),
    "torn forecasts": (torn("/forecasts.parquet"), "forecasts.parquet is not what models/"),
    "torn rows": (torn("/test.parquet"), "test.parquet is not what processed-data/"),
    "a torn preview": (torn(".preview.json"), ".preview.json is not what model-promotion/"),
}


@pytest.mark.parametrize("what", list(BROKEN))
def test_a_broken_promise_is_found(what: str, good: History) -> None:
    breaking, fault = BROKEN[what]
    assert any(fault in found for found in faults(breaking(good))), faults(breaking(good))


def test_a_decision_that_cannot_be_reproduced_is_found(good: History) -> None:
    key = next(key for key in good.objects if "/decisions/" in key and not key.endswith(".preview.json"))
    other = changed(key, reasons=["because"])(good)
    assert list(differing(other)) == [f"{key} comes out differently when it is made again"]
