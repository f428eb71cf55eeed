"""A repeated message is recognised, and an invalid one is refused in one line."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.raising import raises

from flts.contracts.canonical import canonical_json, digest
from flts.contracts.errors import DataError
from flts.contracts.messages import (
    LARGEST,
    InferenceData,
    Message,
    ModelSelected,
    ModelTraining,
    PerformanceEval,
    TrainingData,
)

A, B, C = "a" * 64, "b" * 64, "c" * 64
NOW = datetime(2020, 1, 1, 12, tzinfo=UTC)

TRAINING_DATA: dict[str, Any] = {
    "ts": NOW,
    "identifier": "global",
    "config_hash": A,
    "data_hash": B,
    "run": 1,
    "bucket": "processed-data",
    "object_key": f"{B}/meta.json",
    "size": 10,
    "sha256": C,
    "row_count": 100,
    "spec_key": f"specs/{A}.json",
}
MODEL_TRAINING: dict[str, Any] = {
    "ts": NOW,
    "identifier": "global",
    "config_hash": A,
    "data_hash": B,
    "run": 1,
    "model": "gru",
    "model_hash": C,
    "model_type": "GRU",
    "status": "SUCCESS",
}
MODEL_SELECTED: dict[str, Any] = {
    "ts": NOW,
    "identifier": "north",
    "scope": "north",
    "promotion": 3,
    "kind": "promote",
    "config_hash": A,
    "data_hash": B,
    "model_hash": C,
    "decision_id": A,
    "model_type": "GRU",
    "model_uri": f"store:bundles/{A}",
    "bundle_sha256": A,
}
INFERENCE_DATA: dict[str, Any] = {
    "ts": NOW,
    "identifier": "north",
    "bucket": "dataset",
    "object_key": "north/today.csv",
    "size": 10,
    "sha256": C,
    "row_count": 100,
}
PERFORMANCE_EVAL: dict[str, Any] = {
    "ts": NOW,
    "identifier": "north",
    "input_event_id": A,
    "promotion": 3,
    "config_hash": A,
    "data_hash": B,
    "model_type": "GRU",
    "log_object_key": "inference-logs/north/20200101/x.jsonl",
    "rows": 10,
    "forecasts": 5,
}
ALL: list[tuple[type[Message], dict[str, Any]]] = [
    (TrainingData, TRAINING_DATA),
    (ModelTraining, MODEL_TRAINING),
    (ModelSelected, MODEL_SELECTED),
    (InferenceData, INFERENCE_DATA),
    (PerformanceEval, PERFORMANCE_EVAL),
]

OUTSIDE: list[tuple[type[Message], dict[str, Any], dict[str, Any]]] = [
    (TrainingData, TRAINING_DATA, {"ts": NOW + timedelta(days=1), "size": 11, "sha256": A, "row_count": 1}),
    (
        ModelTraining,
        MODEL_TRAINING,
        {"ts": NOW + timedelta(days=1), "run_id": "r", "duration_ms": 5, "error": "x", "bundle_sha256": A},
    ),
    (ModelSelected, MODEL_SELECTED, {"ts": NOW + timedelta(days=1), "run_id": "r", "score": 0.1, "decision_id": B}),
    (
        InferenceData,
        INFERENCE_DATA,
        {"ts": NOW + timedelta(days=1), "bucket": "runs", "object_key": "x", "size": 1, "deadline_ms": 5},
    ),
    (PerformanceEval, PERFORMANCE_EVAL, {"ts": NOW + timedelta(days=1), "rows": 1, "metrics": {"rmse": 0.1}}),
]
INSIDE: list[tuple[type[Message], dict[str, Any], dict[str, Any]]] = [
    (TrainingData, TRAINING_DATA, {"identifier": "north", "config_hash": C, "run": 2}),
    (
        ModelTraining,
        MODEL_TRAINING,
        {"identifier": "north", "config_hash": C, "model_hash": A, "run": 2, "status": "FAILED"},
    ),
    (ModelSelected, MODEL_SELECTED, {"scope": "south", "promotion": 4, "entry_sha256": B, "replaces": C}),
    (InferenceData, INFERENCE_DATA, {"sha256": A, "identifier": "south"}),
    (PerformanceEval, PERFORMANCE_EVAL, {"input_event_id": B, "promotion": 4}),
]


@pytest.mark.parametrize(("kind", "fields", "others"), OUTSIDE)
def test_the_event_id_stays_when_time_durations_and_run_ids_change(
    kind: type[Message], fields: dict[str, Any], others: dict[str, Any]
) -> None:
    first = kind(**fields)
    for name, value in others.items():
        assert kind(**{**fields, name: value}).event_id == first.event_id


@pytest.mark.parametrize(("kind", "fields", "others"), INSIDE)
def test_the_event_id_changes_with_every_identity_field(
    kind: type[Message], fields: dict[str, Any], others: dict[str, Any]
) -> None:
    assert set(others) == set(kind.identity_fields)
    ids = [kind(**{**fields, name: value}).event_id for name, value in others.items()]
    assert len({*ids, kind(**fields).event_id}) == len(others) + 1


def test_the_event_id_is_the_digest_of_topic_version_and_identity_fields() -> None:
    expected = digest({"topic": "training-data", "v": 1, "identifier": "global", "config_hash": A, "run": 1})
    assert TrainingData(**TRAINING_DATA).event_id == expected


@pytest.mark.parametrize(("kind", "fields"), ALL)
def test_a_message_is_the_same_after_it_is_sent_and_parsed(kind: type[Message], fields: dict[str, Any]) -> None:
    message = kind(**fields)
    data = message.to_bytes()
    assert kind.parse(data) == message
    written = json.loads(data)
    assert data == canonical_json(written)
    assert (written["event_id"], written["v"], written["ts"]) == (
        message.event_id,
        kind.model_fields["v"].default,
        "2020-01-01T12:00:00Z",
    )


def test_a_selection_of_version_1_keeps_its_bytes_and_its_id() -> None:
    message = ModelSelected(**{**MODEL_SELECTED, "v": 1})
    promotion = MODEL_SELECTED["promotion"]
    expected = digest({"topic": "model-selected", "v": 1, "scope": "north", "promotion": promotion})
    assert message.event_id == expected
    assert not {"entry_sha256", "replaces"} & json.loads(message.to_bytes()).keys()
    assert ModelSelected.parse(message.to_bytes()) == message


def test_the_key_of_a_message_is_the_field_that_decides_its_partition() -> None:
    assert {kind.topic: kind(**fields).key for kind, fields in ALL} == {
        "training-data": B,
        "model-training": A,
        "model-selected": "north",
        "inference-data": "north",
        "performance-eval": "north",
    }


@pytest.mark.parametrize("event_id", ["0" * 64, "", 5])
def test_a_message_with_the_event_id_of_another_is_refused(event_id: Any) -> None:
    sent = {**json.loads(TrainingData(**TRAINING_DATA).to_bytes()), "event_id": event_id}
    with raises(DataError, code="message-invalid", topic="training-data", fields=["message"]):
        TrainingData.parse(canonical_json(sent))


def test_a_message_with_a_changed_identity_is_refused() -> None:
    data = TrainingData(**TRAINING_DATA).to_bytes().replace(b'"run":1', b'"run":2')
    with raises(DataError, code="message-invalid", fields=["message"]):
        TrainingData.parse(data)


def test_a_field_that_a_later_version_added_is_ignored() -> None:
    sent = {**json.loads(TrainingData(**TRAINING_DATA).to_bytes()), "new": [1]}
    assert TrainingData.parse(canonical_json(sent)) == TrainingData(**TRAINING_DATA)


@pytest.mark.parametrize(
    ("data", "faults"),
    [
        (b"", "message: Invalid JSON"),
        (b"{", "message: Invalid JSON"),
        (b"\xff\xfe", "message: Invalid JSON"),
        (b"[]", "message: Input should be an object"),
        (b"{}", "ts: Field required; identifier: Field required; config_hash: Field required"),
        (canonical_json({**MODEL_TRAINING, "ts": "now"}), "ts: Input should be a valid datetime"),
        (canonical_json({**MODEL_TRAINING, "ts": "2020-01-01T00:00:00Z", "v": 0}), "v: Input should be 1"),
        (canonical_json({**MODEL_TRAINING, "ts": "2020-01-01T00:00:00Z", "status": "\n"}), "status: Input should be"),
        (canonical_json({**MODEL_TRAINING, "ts": "2020-01-01T00:00:00Z", "model_hash": "A"}), "model_hash: String"),
    ],
)
def test_an_invalid_message_is_refused_in_one_line_that_names_the_topic_and_the_fields(
    data: bytes, faults: str
) -> None:
    with raises(DataError, code="message-invalid", topic="model-training") as raised:
        ModelTraining.parse(data)
    message = str(raised.value)
    assert message.startswith(f"model-training: {faults}")
    assert "\n" not in message
    assert raised.value.exit_code == 4


def test_a_message_of_a_newer_flts_is_told_from_a_broken_one() -> None:
    sent = canonical_json({**MODEL_TRAINING, "ts": "2020-01-01T00:00:00Z", "v": 2})
    with raises(DataError, code="message-newer", topic="model-training", version=2):
        ModelTraining.parse(sent)


def test_a_number_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        ModelSelected(**{**MODEL_SELECTED, "score": float("nan")})


def test_a_message_cannot_be_changed() -> None:
    message = TrainingData(**TRAINING_DATA)
    with pytest.raises(ValueError, match="frozen"):
        message.run = 2


def test_an_empty_scope_is_the_global_one() -> None:
    assert InferenceData(**{**INFERENCE_DATA, "identifier": ""}).identifier == "global"


@pytest.mark.parametrize("scope", ["../x", "a/b", "A", ".hidden", "current.json", "x" * 64, "a\n"])
@pytest.mark.parametrize(("kind", "fields"), ALL)
def test_a_scope_that_could_leave_its_folder_is_refused(
    kind: type[Message], fields: dict[str, Any], scope: str
) -> None:
    with pytest.raises(ValueError, match="invalid scope"):
        kind(**{**fields, "identifier": scope})


@pytest.mark.parametrize(
    ("bucket", "key"),
    [
        ("secrets", "x"),
        ("", "x"),
        ("dataset/..", "x"),
        ("dataset", ""),
        ("dataset", "../runs/x"),
        ("dataset", "a/../../x"),
        ("dataset", "/etc/passwd"),
        ("dataset", "a//b"),
        ("dataset", "a/"),
        ("dataset", ".hidden"),
        ("dataset", "a\\..\\b"),
        ("dataset", "a\x00b"),
        ("dataset", "a%2e%2e"),
        ("dataset", "x" * 201),
        ("dataset", "/".join(["x" * 100] * 6)),
    ],
)
def test_a_key_of_rows_that_could_leave_its_bucket_is_refused(bucket: str, key: str) -> None:
    with pytest.raises(ValueError, match=r"invalid bucket|invalid key in dataset"):
        InferenceData(**{**INFERENCE_DATA, "bucket": bucket, "object_key": key})


def test_the_key_of_rows_is_made_of_bucket_and_key() -> None:
    assert InferenceData(**INFERENCE_DATA).key_in_store == "dataset/north/today.csv"


def test_a_message_larger_than_a_mebibyte_is_refused_without_parsing_it() -> None:
    data = InferenceData(**INFERENCE_DATA).to_bytes()
    assert InferenceData.parse(data + b" " * (LARGEST - len(data))).key == "north"
    with raises(DataError, code="message-too-large", topic="inference-data", size=LARGEST + 1):
        InferenceData.parse(data + b" " * (LARGEST - len(data) + 1))


@pytest.mark.parametrize(
    ("kind", "fields", "wrong"),
    [
        (TrainingData, TRAINING_DATA, {"run": 0}),
        (TrainingData, TRAINING_DATA, {"run": 10_000}),
        (TrainingData, TRAINING_DATA, {"size": -1}),
        (ModelTraining, MODEL_TRAINING, {"model": "../gru"}),
        (ModelTraining, MODEL_TRAINING, {"model": "GRU"}),
        (ModelSelected, MODEL_SELECTED, {"promotion": 0}),
        (ModelSelected, MODEL_SELECTED, {"promotion": 100_000_000}),
        (InferenceData, INFERENCE_DATA, {"deadline_ms": 0}),
    ],
)
def test_a_field_that_is_part_of_a_key_is_limited_to_valid_keys(
    kind: type[Message], fields: dict[str, Any], wrong: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        kind(**{**fields, **wrong})


@pytest.mark.parametrize(
    "changed",
    [{"ts": "0001-01-01T00:00:00+14:00"}, {"ts": "9999-12-31T23:00:00-12:00"}, {"deadline_ms": 10**30}],
    ids=str,
)
def test_a_time_that_cannot_be_reckoned_with_is_refused(changed: dict[str, Any]) -> None:
    (field,) = changed
    good: dict[str, Any] = {
        "ts": "2026-01-02T03:04:05Z",
        "identifier": "global",
        "bucket": "dataset",
        "object_key": "a.csv",
    }
    good |= {"size": 1, "sha256": "0" * 64, "row_count": 1}
    assert InferenceData.parse(json.dumps(good).encode())
    with raises(DataError, code="message-invalid", fields=[field]):
        InferenceData.parse(json.dumps(good | changed).encode())
