"""An inspection as one JSON document: every figure finite or null, times in ISO 8601, lengths in rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from flts.explore.findings import Finding
from flts.explore.mend import Mended
from flts.explore.report import Inspection
from flts.explore.statistics import KPSS_CRITICAL
from flts.preprocess.fit import DAY, format_step


def document(seen: Inspection, found: Sequence[Finding]) -> dict[str, Any]:
    """Everything `flts data inspect` knows."""
    time = seen.timeline
    values: dict[str, Any] = {
        "v": 1,
        "runs": not any(finding.severity == "stops" for finding in found),
        "findings": [asdict(finding) for finding in found],
        "files": [_file(mended) for mended in (seen.train, seen.test) if mended is not None],
        "rows": {"train": len(seen.train_rows), "test": len(seen.test_rows)},
        "time": {
            "column": seen.time_column,
            "timezone": seen.timezone,
            "zoned": seen.train.zoned,
            "first": _iso(time.first),
            "last": _iso(time.last),
            "span_days": (time.last - time.first) / DAY,
            "step": format_step(time.step),
            "step_seconds": time.step / 1e9,
            "regular": time.regular,
            "test_regular": time.test_regular,
            "gaps": [{"after": _iso(g.after), "before": _iso(g.before), "missing": g.missing} for g in time.gaps],
            "gap_count": time.gap_count,
            "missing_rows": time.missing_rows,
            "off_grid": time.off_grid,
            "measured_on": seen.grid.resampled,
        },
        "target": seen.target,
        "why_target": seen.why_target,
        "seasons": dict(seen.grid.seasons),
        "memory": asdict(seen.memory) if seen.memory else None,
        "kpss_critical": KPSS_CRITICAL,
        "columns": [asdict(column) for column in seen.columns],
    }
    plain: dict[str, Any] = _finite(values)
    return plain


def _file(mended: Mended) -> dict[str, Any]:
    return {
        "name": mended.name,
        "rows": len(mended.rows),
        "text_columns": mended.text,
        "repeats": asdict(mended.repeats) if mended.repeats else None,
    }


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _iso(time: int) -> str:
    return f"{np.datetime64(time, 'ns').astype('datetime64[ms]')}Z"
