"""The scoreboard of a decision: candidates and baselines, best first, then those without a forecast and why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flts.contracts.records.decision import (
    METRICS,
    AbsentBaseline,
    BaselineRow,
    CandidateRow,
    DecisionRecord,
    Interval,
    ScoredRow,
    UnrankedRow,
)
from flts.promotion.words import COVERAGE, LEVEL, between
from flts.server.page.shown import aligned


@dataclass(frozen=True)
class Whisker:
    """A score with its interval on the common scale of a scoreboard, from 0 to 100."""

    low: float
    score: float
    high: float


@dataclass(frozen=True)
class BoardRow:
    """One model. tags: what it is besides a candidate; reason: why it has no cells, or may not be promoted."""

    model: str
    rank: str
    kind: str
    """"first", "candidate", "baseline" or "absent"."""
    tags: Sequence[str]
    cells: Sequence[str]
    whisker: Whisker | None
    reason: str


@dataclass(frozen=True)
class Board:
    """headings: of the cells, after rank and model; the first is that of the whisker."""

    headings: Sequence[str]
    rows: Sequence[BoardRow]


def board(decision: DecisionRecord, champion: str | None = None) -> Board:
    """champion: the model_hash of the model that serves, which is marked."""
    targets = decision.yardstick.targets
    single = targets[0] if len(targets) == 1 else None
    headings = ["score", "95 %", *(metric.heading for metric in METRICS.values())]
    headings += [f"RMSE of {single}"] if single else []
    return Board([*headings, "skill", COVERAGE], list(_rows(decision, single, champion)))


def _rows(decision: DecisionRecord, single: str | None, champion: str | None) -> Iterator[BoardRow]:
    scale, places = _scale(decision), _places(decision, single)
    for row in decision.ranked:
        marks = [word for word, holds in (("champion", row.model_hash == champion),) if holds]
        kind = "first" if row.model == decision.winner else "candidate"
        reasons = [verdict.reason for verdict in row.limits.values() if not verdict.passed]
        reason = f"not eligible: {'; '.join(reasons)}" if reasons else ""
        yield BoardRow(row.model, str(row.rank), kind, marks, _cells(row, single, places), _whisker(row, scale), reason)
    for baseline in decision.ranked_baselines:
        cells = _cells(baseline, single, places)
        yield BoardRow(baseline.model, "", "baseline", ["baseline"], cells, _whisker(baseline, scale), "")
    for absent in (*decision.candidates, *decision.baselines):
        if isinstance(absent, UnrankedRow | AbsentBaseline):
            tag = "failed" if absent.status == "FAILED" else "not applicable"
            yield BoardRow(absent.model, "", "absent", [tag], [], None, absent.reason or "no reason is stored")


def _cells(row: CandidateRow | BaselineRow, single: str | None, most: int) -> list[str]:
    candidate = row if isinstance(row, CandidateRow) else None
    covered = (candidate.coverage or {}).get(LEVEL) if candidate else None
    errors = ((getattr(row, name), metric.decimals) for name, metric in METRICS.items())
    return [
        f"{row.score:.4f}",
        between(row.score_interval),
        *("" if value is None else f"{value:.{places}f}" for value, places in errors),
        *([aligned(row.units[single].rmse, most)] if single else []),
        "" if candidate is None or candidate.skill is None else f"{candidate.skill:+.1%}",
        f"{covered.coverage:.1%}" if covered else "",
    ]


def _places(decision: DecisionRecord, single: str | None) -> int:
    """Decimals that show four digits of the smallest error of a target in its unit."""
    errors = [row.units[single].rmse for row in (*decision.ranked, *decision.ranked_baselines)] if single else []
    smallest = min((error for error in errors if error > 0.0), default=1.0)
    return max(0, 3 - math.floor(math.log10(smallest)))


def _scale(decision: DecisionRecord) -> Interval | None:
    """The scores of all candidates and of the best baseline: a far worse one would press all others together."""
    rows = [*decision.ranked, *decision.ranked_baselines[:1]]
    ends = [end for row in rows for end in _ends(row)]
    return Interval(low=min(ends), high=max(ends)) if ends and max(ends) > min(ends) else None


def _whisker(row: ScoredRow, scale: Interval | None) -> Whisker | None:
    low, high = _ends(row)
    if scale is None or low < scale.low or high > scale.high:
        return None
    places = (round(100.0 * (value - scale.low) / (scale.high - scale.low), 1) for value in (low, row.score, high))
    return Whisker(*places)


def _ends(row: ScoredRow) -> tuple[float, float]:
    found = row.score_interval
    return (row.score, row.score) if found is None else (min(found.low, row.score), max(found.high, row.score))
