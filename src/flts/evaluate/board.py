"""The scoreboard: one row per candidate and referee, every number of it computed from the same cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from flts.evaluate import coverage
from flts.evaluate.case import Candidate, Case
from flts.evaluate.gate import GATED_LEVEL, Qualities, Verdict
from flts.evaluate.profile import profile
from flts.evaluate.score import Resampled, Scored, skill
from flts.evaluate.significance import overlap


def coverages(case: Case, candidate: Candidate) -> dict[str, Any] | None:
    """Measured coverage of every level, or None where the model has no intervals."""
    if candidate.forecast is None:
        return None
    shared = overlap(case.truth.shape[1], case.spacing)
    found = {
        level: coverage.measured(case.truth, candidate.forecast, half_width, case.yardstick, shared, case.seed)
        for level, half_width in sorted(candidate.half_width.items())
    }
    return {level: value for level, value in found.items() if value is not None} or None


def qualities(candidate: Candidate, covered: Mapping[str, Any] | None) -> Qualities:
    """What the limits of the rules look at."""
    gated = (covered or {}).get(GATED_LEVEL)
    return Qualities(gated["coverage"] if gated else None, candidate.bundle_bytes, candidate.latency_ms)


def candidate_rows(
    case: Case,
    candidates: Sequence[Candidate],
    ranked: Sequence[Scored],
    referees: Sequence[Scored],
    covered: Mapping[str, Mapping[str, Any] | None],
    verdicts: Mapping[str, Mapping[str, Verdict]],
    resampled: Resampled | None,
) -> list[dict[str, Any]]:
    """Every candidate, best first; those without a forecast last, with their reason."""
    naive = next((r.score for r in referees if r.name == "naive"), None)
    by_name = {c.name: c for c in candidates}
    rows: list[dict[str, Any]] = []
    for place, scored in enumerate(ranked, 1):
        candidate = by_name[scored.name]
        rows.append(
            {
                "rank": place,
                "model": scored.name,
                "model_hash": scored.model_hash,
                "status": "SUCCESS",
                "bundle_sha256": candidate.bundle_sha256,
                "forecasts_sha256": candidate.forecasts_sha256,
                **_errors(case, scored, resampled),
                "skill": skill(scored.score, referees[0].score) if referees else None,
                "skill_vs_naive": None if naive is None else skill(scored.score, naive),
                "coverage": covered[scored.name],
                "no_intervals": candidate.no_intervals,
                "bundle_bytes": candidate.bundle_bytes,
                "latency_ms": candidate.latency_ms,
                "limits": {name: asdict(verdict) for name, verdict in verdicts[scored.name].items()},
            }
        )
    rows += [
        {"rank": None, "model": c.name, "model_hash": c.model_hash, "status": c.status, "reason": c.reason}
        for c in candidates
        if c.forecast is None
    ]
    return rows


def referee_rows(case: Case, referees: Sequence[Scored], resampled: Resampled | None) -> list[dict[str, Any]]:
    """Every referee, best first; those that do not apply last, with their reason."""
    rows: list[dict[str, Any]] = [{"model": r.name, **_errors(case, r, resampled)} for r in referees]
    without = sorted((r for r in case.referees if r.forecast is None), key=lambda r: r.name)
    return rows + [{"model": r.name, "status": "N/A", "reason": r.reason} for r in without]


def _errors(case: Case, scored: Scored, resampled: Resampled | None) -> dict[str, Any]:
    return {
        "score": scored.score,
        "score_interval": resampled.interval(scored.name).to_json() if resampled else None,
        **asdict(scored.errors),
        "profile": profile(case.truth, scored.forecast, case.yardstick, case.clock),
    }
