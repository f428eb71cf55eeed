"""The published JSON Schema of a report: every report fits it, and nothing else does."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from tests.support import ROOT
from tests.support.verified import Ran

from flts.comparison.sides import Side
from flts.report.evidence import run_manifest
from flts.verification.outside import Outside, read_pods
from flts.verification.report import Report
from flts.verification.write.json import to_json

SCHEMA = json.loads((ROOT / "docs/reference/report.schema.json").read_text())
VALIDATOR = jsonschema_rs.Draft202012Validator(SCHEMA)


def fits(value: Any) -> bool:
    return bool(VALIDATOR.is_valid(value))


@pytest.fixture(scope="module")
def reports(healthy: Ran, local: Ran, tmp_path_factory: pytest.TempPathFactory) -> list[Report]:
    """A healthy one, one beside another run, one with pods, one that ended early, and one about damage."""
    folder = tmp_path_factory.mktemp("pods")
    (folder / "pods.json").write_text('{"items": []}')
    other = Side("other", run_manifest(local.store, local.config_hash, local.run))
    begun = healthy.copied()
    for key in begun.keys("", f"runs/{begun.config_hash}/0001/"):
        if not key.endswith("claim.json"):
            begun.store.erase(key)
    return [
        healthy.report(folder),
        healthy.alone(others=[other], required=["pods"]),
        healthy.alone(outside=Outside(pods=read_pods(folder / "pods.json"))),
        begun.alone(),
        healthy.with_object(healthy.key("claim.json", "runs/"), lambda data: b"").alone(),
    ]


def test_it_is_a_valid_schema_that_says_what_each_field_is() -> None:
    jsonschema_rs.meta.validate(SCHEMA)
    fields = SCHEMA["$defs"]["ReportClaim"]["properties"]
    assert [name for name, field in fields.items() if "description" not in field] == []


def test_every_report_fits_it(reports: list[Report]) -> None:
    for report in reports:
        faults = [str(fault) for fault in VALIDATOR.iter_errors(json.loads(to_json(report)))]
        assert faults == []


def test_nothing_else_fits_it(reports: list[Report]) -> None:
    whole = json.loads(to_json(reports[1]))
    claim = whole["claims"][0]
    issue: dict[str, Any] = {"id": "i", "says": "s", "recommends": None, "claims": []}
    parts = {"claims": claim, "issues": issue, "sections": whole["sections"][0]}
    assert not fits({**whole, "unknown": 1})
    assert not fits({**whole, "comparison": {}})
    for field in whole:
        assert not fits({key: value for key, value in whole.items() if key != field}), field
        assert not fits({**whole, field: 1.5}), field
    for field, part in parts.items():
        assert fits({**whole, field: [part]})
        assert not fits({**whole, field: [{**part, "unknown": 1}]})
        for name in part:
            assert not fits({**whole, field: [{key: value for key, value in part.items() if key != name}]}), name
    for wrong in ({"state": "maybe"}, {"evidence_sha256": "0" * 63}, {"due": None}, {"rests_on": "run.claim"}):
        assert not fits({**whole, "claims": [{**claim, **wrong}]}), wrong
