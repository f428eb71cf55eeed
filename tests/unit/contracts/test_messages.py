"""A message told twice is recognised, and one that does not fit is refused in one line."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

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
    (ModelSelected, MODEL_SELECTED, {"scope": "south", "promotion": 4}),
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
def test_a_message_survives_the_bytes_it_is_sent_as(kind: type[Message], fields: dict[str, Any]) -> None:
    message = kind(**fields)
    data = message.to_bytes()
    assert kind.parse(data) == message
    written = json.loads(data)
    assert data == canonical_json(written)
    assert (written["event_id"], written["v"], written["ts"]) == (message.event_id, 1, "2020-01-01T12:00:00Z")


def test_the_key_of_a_message_is_the_field_that_its_topic_is_divided_by() -> None:
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
    with pytest.raises(DataError, match=r"^training-data: message: .*event_id .*does not belong to these identity"):
        TrainingData.parse(canonical_json(sent))


def test_a_message_whose_identity_was_changed_on_the_way_is_refused() -> None:
    data = TrainingData(**TRAINING_DATA).to_bytes().replace(b'"run":1', b'"run":2')
    with pytest.raises(DataError, match="event_id"):
        TrainingData.parse(data)


def test_a_field_that_a_later_version_added_is_ignored() -> None:
    sent = {**json.loads(TrainingData(**TRAINING_DATA).to_bytes()), "new": [1]}
    assert TrainingData.parse(canonical_json(sent)) == TrainingData(**TRAINING_DATA)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "message: Invalid JSON"),
        (b"{", "message: Invalid JSON"),
        (b"\xff\xfe", "message: Invalid JSON"),
        (b"[]", "message: Input should be an object"),
        (b"{}", "ts: Field required; identifier: Field required; config_hash: Field required"),
        (canonical_json({**MODEL_TRAINING, "ts": "now"}), "ts: Input should be a valid datetime"),
        (canonical_json({**MODEL_TRAINING, "ts": "2020-01-01T00:00:00Z", "v": 2}), "v: Input should be 1"),
        (canonical_json({**MODEL_TRAINING, "ts": "2020-01-01T00:00:00Z", "status": "\n"}), "status: Input should be"),
        (canonical_json({**MODEL_TRAINING, "ts": "2020-01-01T00:00:00Z", "model_hash": "A"}), "model_hash: String"),
    ],
)
def test_bytes_that_are_no_message_are_refused_in_one_line_that_names_the_topic_and_the_fields(
    data: bytes, said: str
) -> None:
    with pytest.raises(DataError) as raised:
        ModelTraining.parse(data)
    message = str(raised.value)
    assert message.startswith(f"model-training: {said}")
    assert "\n" not in message
    assert raised.value.exit_code == 4


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
    with pytest.raises(ValueError, match="is no scope name"):
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
def test_rows_named_by_a_key_that_could_leave_its_bucket_are_refused(bucket: str, key: str) -> None:
    with pytest.raises(ValueError, match=r"is no bucket|cannot be a part of a key|a key of dataset has at most"):
        InferenceData(**{**INFERENCE_DATA, "bucket": bucket, "object_key": key})


def test_rows_are_named_by_bucket_and_key() -> None:
    assert InferenceData(**INFERENCE_DATA).key_in_store == "dataset/north/today.csv"


def test_a_message_larger_than_a_mebibyte_is_refused_unread() -> None:
    data = InferenceData(**INFERENCE_DATA).to_bytes()
    assert InferenceData.parse(data + b" " * (LARGEST - len(data))).key == "north"
    with pytest.raises(DataError, match=r"inference-data: a message of 1,048,577 bytes; at most 1,048,576 fit"):
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
def test_a_field_that_names_an_object_stays_within_what_a_key_holds(
    kind: type[Message], fields: dict[str, Any], wrong: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        kind(**{**fields, **wrong})
