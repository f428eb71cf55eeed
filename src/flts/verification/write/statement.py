"""The report as an in-toto Statement with the predicate test-result, which supply-chain tools read and sign."""

from __future__ import annotations

import json

from flts.contracts import layout
from flts.verification.claims import BAD, NOT_RECORDED, TRUE, UNREACHABLE, ReportClaim
from flts.verification.report import Report

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"


def to_statement(report: Report) -> str:
    """What was examined by digest, and which claims passed, warn or failed.

    A claim that is not recorded warns where this environment should have it, and is left out elsewhere.
    """
    failed = [claim.id for claim in report.claims if claim.state in BAD or claim.state == UNREACHABLE]
    warned = [claim.id for claim in report.claims if claim.state == NOT_RECORDED and claim.due]
    statement = {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(_subjects(report).items())],
        "predicateType": PREDICATE,
        "predicate": {
            "result": "FAILED" if failed else "WARNED" if warned else "PASSED",
            "configuration": [
                {"name": layout.spec(report.config_hash), "digest": {"sha256": digest}}
                for digest in [_digest_of(report.claims, layout.spec(report.config_hash))]
                if digest
            ],
            "passedTests": [claim.id for claim in report.claims if claim.state == TRUE],
            "warnedTests": warned,
            "failedTests": failed,
        },
    }
    return json.dumps(statement, indent=1, ensure_ascii=False) + "\n"


def _subjects(report: Report) -> dict[str, str]:
    """Everything that was read, by name."""
    return {
        source.name: source.sha256 for claim in report.claims for source in claim.evidence if source.sha256 is not None
    }


def _digest_of(claims: list[ReportClaim], name: str) -> str | None:
    every = (source for claim in claims for source in claim.evidence if source.name == name)
    return next((source.sha256 for source in every), None)
