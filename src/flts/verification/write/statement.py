"""The report as an in-toto Statement with the predicate test-result, which supply-chain tools read and sign."""

from __future__ import annotations

import json

from flts.contracts import layout
from flts.verification.claims import BAD, NOT_RECORDED, TRUE, UNREACHABLE
from flts.verification.report import Report

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"


def to_statement(report: Report) -> str:
    """What was examined by digest, and which claims passed, warn or failed.

    A claim that is not recorded failed where it is required, else warns where this environment should have it, and is
    left out elsewhere.
    """
    lacking = set(report.lacking)
    failed = [c.id for c in report.claims if c.state in BAD or c.state == UNREACHABLE or c.id in lacking]
    warned = [c.id for c in report.claims if c.state == NOT_RECORDED and c.due and c.id not in lacking]
    experiment = layout.spec(report.config_hash)
    digest = report.evidence.get(experiment)
    statement = {
        "_type": STATEMENT,
        "subject": [_resource(name, digest) for name, digest in sorted(report.evidence.items()) if digest],
        "predicateType": PREDICATE,
        "predicate": {
            "result": "FAILED" if failed else "WARNED" if warned else "PASSED",
            "configuration": [_resource(experiment, digest)] if digest else [],
            "passedTests": [claim.id for claim in report.claims if claim.state == TRUE],
            "warnedTests": warned,
            "failedTests": failed,
        },
    }
    return json.dumps(statement, indent=1, ensure_ascii=False) + "\n"


def _resource(name: str, digest: str) -> dict[str, object]:
    """A resource descriptor of in-toto."""
    return {"name": name, "digest": {"sha256": digest}}
