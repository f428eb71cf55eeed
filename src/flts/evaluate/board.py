"""The scoreboard: one row per candidate and baseline, every number of it computed from the same cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from flts.contracts.records.decision import (
    AbsentBaseline,
    AnyBaseline,
    AnyCandidate,
    BaselineRow,
    CandidateRow,
    Coverage,
    Interval,
    ScoredRow,
    UnitErrors,
    UnrankedRow,
    Verdict,
)
from flts.evaluate.case import Candidate, Case
from flts.evaluate.coverage import measured
from flts.evaluate.gate import GATED_LEVEL, Qualities
from flts.evaluate.origins import influence
from flts.evaluate.profile import profile
from flts.evaluate.score import Scored, skill


def coverages(case: Case, candidate: Candidate) -> dict[str, Coverage] | None:
    """Measured coverage of every level, or None where the model has no intervals."""
    if candidate.forecast is None:
        return None
    results = {
        level: measured(case.truth, lower, upper, case.yardstick, case.overlapping)
        for level, (lower, upper) in sorted(candidate.bounds.items())
    }
    return {level: value for level, value in results.items() if value is not None} or None


def static_coverage(case: Case, candidate: Candidate) -> dict[str, float] | None:
    """What the static offsets alone would cover at every level, or None where no window is adaptive."""
    if not candidate.adaptive:
        return None
    known = ~np.isnan(case.truth)
    return {
        level: float(((lower <= case.truth) & (case.truth <= upper)).sum() / known.sum())
        for level, (lower, upper) in sorted(candidate.static_bounds.items())
    }


def qualities(candidate: Candidate, covered: Mapping[str, Coverage] | None) -> Qualities:
    """The properties of a candidate that the rules limit."""
    gated = (covered or {}).get(GATED_LEVEL)
    return Qualities(gated.coverage if gated else None, candidate.bundle_bytes, candidate.latency_ms)


def candidate_rows(
    case: Case,
    candidates: Sequence[Candidate],
    ranked: Sequence[Scored],
    baselines: Sequence[Scored],
    covered: Mapping[str, dict[str, Coverage] | None],
    verdicts: Mapping[str, dict[str, Verdict]],
) -> list[AnyCandidate]:
    """Every candidate, best first; those without a forecast last, with their reason."""
    naive = next((b.score for b in baselines if b.name == "naive"), None)
    by_name = {c.name: c for c in candidates}
    rows: list[AnyCandidate] = []
    for position, scored in enumerate(ranked, 1):
        candidate = by_name[scored.name]
        assert candidate.bundle_sha256 is not None
        assert candidate.forecasts_sha256 is not None
        rows.append(
            CandidateRow(
                **dict(_scored_row(case, scored)),
                status="SUCCESS",
                rank=position,
                model_hash=scored.model_hash,
                bundle_sha256=candidate.bundle_sha256,
                forecasts_sha256=candidate.forecasts_sha256,
                skill=skill(scored.score, baselines[0].score) if baselines else None,
                skill_vs_naive=None if naive is None else skill(scored.score, naive),
                coverage=covered[scored.name],
                adaptive=candidate.adaptive,
                static_coverage=static_coverage(case, candidate),
                no_intervals=candidate.no_intervals,
                uses_history=candidate.uses_history,
                known_future=candidate.known_future,
                bundle_bytes=candidate.bundle_bytes,
                latency_ms=candidate.latency_ms,
                limits=verdicts[scored.name],
            )
        )
    rows += [
        UnrankedRow(status=c.status, rank=None, model=c.name, model_hash=c.model_hash, reason=c.reason)
        for c in candidates
        if c.status != "SUCCESS"
    ]
    return rows


def baseline_rows(case: Case, baselines: Sequence[Scored]) -> list[AnyBaseline]:
    """Every baseline, best first; those that do not apply last, with their reason."""
    rows: list[AnyBaseline] = [BaselineRow(**dict(_scored_row(case, b))) for b in baselines]
    without = sorted((b for b in case.baselines if b.forecast is None), key=lambda b: b.name)
    return rows + [AbsentBaseline(status="N/A", model=b.name, reason=b.reason) for b in without]


def _scored_row(case: Case, scored: Scored) -> ScoredRow:
    """What the rows of candidates and baselines have in common."""
    errors = scored.errors
    return ScoredRow(
        model=scored.name,
        score=scored.score,
        score_interval=_score_interval(case, scored),
        **errors.pooled(),
        units={target: UnitErrors.model_validate(found) for target, found in errors.units.items()},
        cells=errors.cells,
        profile=profile(case.truth, scored.forecast, case.yardstick, case.clock),
    )


def _score_interval(case: Case, scored: Scored) -> Interval | None:
    around = influence(scored, case.rules.weights, case.overlapping).interval()
    return around and Interval(low=scored.score + around.low, high=scored.score + around.high)
