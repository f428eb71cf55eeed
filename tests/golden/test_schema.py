"""The published JSON Schema describes what is stored and sent: every golden record, line and pointer fits it."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema_rs
import pytest
from tests.golden import store as golden
from tests.support import ROOT

from flts.contracts.messages import TOPICS, ModelSelected
from flts.contracts.records.answer import ForecastLine
from flts.contracts.records.base import StoredRecord, parse_record, version_of

SCHEMA = json.loads((ROOT / "docs/reference/records.schema.json").read_text())
DEFINITIONS = SCHEMA["$defs"]


@cache
def validator(name: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": DEFINITIONS})


def faults(name: str, value: Any) -> list[str]:
    return [str(error) for error in validator(name).iter_errors(value)]


def current(kind: type[StoredRecord], key: str, data: bytes) -> Any:
    """A record of the version that is written now."""
    stored = json.loads(data)
    return stored if stored["v"] == version_of(kind) else json.loads(parse_record(kind, data, key).to_bytes())


def test_it_is_a_valid_schema_of_draft_2020_12() -> None:
    assert SCHEMA["$schema"].endswith("/draft/2020-12/schema")
    jsonschema_rs.meta.validate(SCHEMA)


@pytest.mark.parametrize("archive", golden.WRITTEN_WITH)
def test_every_golden_record_fits_it(archive: str) -> None:
    for key, kind, data in golden.records(archive):
        assert faults(kind.__name__, current(kind, key, data)) == [], key


@pytest.mark.parametrize("archive", golden.WRITTEN_WITH)
def test_every_golden_pointer_and_line_fits_it(archive: str) -> None:
    for key, data in golden.objects(archive).items():
        if key.endswith("current.json"):
            assert faults(ModelSelected.__name__, json.loads(data)) == [], key
        for line in data.splitlines() if key.endswith(".jsonl") else ():
            assert faults(ForecastLine.__name__, json.loads(line)) == [], key


@pytest.mark.parametrize("kind", list(golden.KINDS.values()))
def test_a_record_with_a_field_that_is_unknown_absent_or_of_another_type_does_not_fit_it(
    kind: type[StoredRecord],
) -> None:
    key, data = next((key, data) for key, other, data in golden.records(golden.NEWEST) if other is kind)
    whole = current(kind, key, data)
    assert faults(kind.__name__, {**whole, "unknown": 1}) != []
    for field in whole:
        assert faults(kind.__name__, {**whole, field: [["wrong"]]}) != [], field
    for field in DEFINITIONS[kind.__name__]["required"]:
        assert faults(kind.__name__, {name: value for name, value in whole.items() if name != field}) != [], field


def test_every_message_has_a_definition_with_its_topic() -> None:
    for topic, message in TOPICS.items():
        assert DEFINITIONS[message.__name__]["description"].startswith(f"Topic `{topic}`")
        assert "event_id" in DEFINITIONS[message.__name__]["properties"]


def test_the_definition_of_every_record_says_what_it_is_and_where_it_lies() -> None:
    for kind in golden.KINDS.values():
        assert "`" in DEFINITIONS[kind.__name__]["description"]
