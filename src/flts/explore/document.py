"""An inspection as one JSON document: every figure finite or null, times in ISO 8601, lengths in rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from flts.explore.finding import Finding
from flts.explore.repair import Repaired
from flts.explore.report import Inspection
from flts.explore.statistics import KPSS_CRITICAL
from flts.spec.steps import DAY


def document(inspection: Inspection, findings: Sequence[Finding]) -> dict[str, Any]:
    """All figures and findings, as `flts data inspect --json` prints them."""
    time, placed = inspection.timeline, inspection.placed
    values: dict[str, Any] = {
        "v": 1,
        "runs": not any(finding.severity == "stops" for finding in findings),
        "findings": [asdict(finding) for finding in findings],
        "files": [_file(repaired) for repaired in (inspection.train, inspection.test) if repaired is not None],
        "rows": {"train": len(inspection.train_rows), "test": len(inspection.test_rows)},
        "time": {
            "column": inspection.time_column,
            "timezone": inspection.timezone,
            "zoned": inspection.train.zoned,
            "first": _iso(time.first),
            "last": _iso(time.last),
            "span_days": (time.last - time.first) / DAY,
            "step": str(placed.own.step),
            "step_seconds": placed.own.step.nanoseconds / 1e9,
            "local_step": placed.own.local,
            "regular": time.regular,
            "test_regular": time.test_regular,
            "gaps": [{"after": _iso(g.after), "before": _iso(g.before), "missing": g.missing} for g in time.gaps],
            "gap_count": time.gap_count,
            "missing_rows": time.missing_rows,
            "off_grid": placed.off_grid,
            "sharing_a_step": placed.sharing,
            "measured_on": str(placed.grid.step) if placed.merged else None,
            "clock": asdict(inspection.clock) if inspection.clock else None,
            "keeps": inspection.keeps,
        },
        "target": inspection.target,
        "why_target": inspection.why_target,
        "seasons": dict(inspection.seasons),
        "memory": asdict(inspection.memory) if inspection.memory else None,
        "kpss_critical": KPSS_CRITICAL,
        "columns": [asdict(column) for column in inspection.columns],
    }
    plain: dict[str, Any] = _finite(values)
    return plain


def _file(repaired: Repaired) -> dict[str, Any]:
    return {
        "name": repaired.name,
        "rows": len(repaired.rows),
        "text_columns": repaired.text,
        "repeats": asdict(repaired.repeats) if repaired.repeats else None,
    }


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _iso(time: int) -> str:
    return f"{np.datetime64(time, 'ns').astype('datetime64[ms]')}Z"
