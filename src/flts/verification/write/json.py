"""The report as JSON, for programs."""

from __future__ import annotations

import json

from flts.verification.report import Report


def to_json(report: Report) -> str:
    """Every field, keys sorted, one to a line, so that two reports can be compared with `diff`."""
    return json.dumps(report.model_dump(mode="json"), sort_keys=True, indent=1, ensure_ascii=False) + "\n"
