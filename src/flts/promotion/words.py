"""What a stored decision says, in sentences: the same words on the terminal and on the page of the forecast service."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flts.contracts.records.decision import (
    AbsentBaseline,
    CandidateRow,
    DecisionRecord,
    Interval,
    Lead,
    SmallestLead,
    UnrankedRow,
)

LEVEL = "0.8"
COVERAGE = "coverage (80 %)"
ONE_FIT = "its forecasts depend on dates alone, and it is not fitted again at each origin"
ONE_FIT_AHEAD = "its forecasts depend on dates and what is known ahead, and it is not fitted again at each origin"
NOT_COUNTED = "not counted: other experiments that were tried on the same rows make a lucky winner more likely"


@dataclass(frozen=True)
class Note:
    """What a scoreboard cannot say about a row. fault: the model failed, or may not be promoted."""

    text: str
    fault: bool


def notes(decision: DecisionRecord) -> Iterator[Note]:
    """Failures, limits that are not met, and how models are judged that differ from the others."""
    yield from _known_ahead(decision)
    for row in decision.candidates:
        if isinstance(row, UnrankedRow):
            kind = "not applicable" if row.status == "N/A" else "failed"
            yield Note(f"{row.model} {kind}: {row.reason}", fault=True)
            continue
        if row.uses_history is False:
            known = row.known_future is not None and (row.known_future.measured or row.known_future.generated)
            yield Note(f"{row.model} is judged from one fit: {ONE_FIT_AHEAD if known else ONE_FIT}", fault=False)
        for verdict in row.limits.values():
            if not verdict.passed:
                yield Note(f"{row.model} not eligible: {verdict.reason}", fault=True)
    for baseline in decision.baselines:
        if isinstance(baseline, AbsentBaseline) and baseline.reason:
            yield Note(f"{baseline.model} not applicable: {baseline.reason}", fault=False)


def _known_ahead(decision: DecisionRecord) -> Iterator[Note]:
    """With which values of the rows to forecast models were judged, and which models saw none."""
    ranked = [(row.model, row.known_future) for row in decision.ranked if row.known_future is not None]
    measured = next((known.measured for _, known in ranked if known.measured), [])
    if measured:
        by = ", ".join(name for name, known in ranked if known.measured)
        judged = f"{by}: judged with measured values of {', '.join(measured)}"
        yield Note(f"{judged}; forecasts of these would make the errors larger", fault=False)
    ignoring = [name for name, known in ranked if not known.measured and not known.generated]
    if ignoring:
        yield Note(f"{', '.join(ignoring)}: ignores what is known of the rows to forecast", fault=False)


def why(decision: DecisionRecord) -> Iterator[str]:
    """Reasons, how sure the choice is, the intervals of the winner, and its leads."""
    yield from decision.reasons
    if decision.sure:
        yield decision.sure
    winner = decision.row(decision.winner)
    if winner is not None and winner.adaptive is not None and not winner.no_intervals:
        yield followed(winner, decision.windows.count)
    certainty = decision.certainty
    if certainty is None:
        return
    leads = {
        "the runner-up": certainty.runner_up,
        "the baseline": certainty.best_baseline,
        "the champion": certainty.champion,
    }
    yield from (lead_over(against, lead) for against, lead in leads.items() if lead is not None)
    # with "not-worse" the gate tests another difference than this lead, and against the reference
    tested_otherwise = decision.rules.gate == "not-worse" and certainty.champion is not None
    if certainty.smallest_lead is not None and not tested_otherwise:
        yield smallest(certainty.smallest_lead)


def followed(winner: CandidateRow, windows: int) -> str:
    """How many windows had adaptive intervals, and what both kinds cover at 80 %."""
    adaptive = winner.adaptive or 0
    counted = f"intervals of {winner.model}: adaptive in {adaptive:,} windows, static in {windows - adaptive:,}"
    pooled = (winner.coverage or {}).get(LEVEL)
    if not adaptive or pooled is None or winner.static_coverage is None:
        return counted
    return f"{counted}; at 80 % they cover {pooled.coverage:.1%}, static ones alone {winner.static_coverage[LEVEL]:.1%}"


def lead_over(against: str, lead: Lead) -> str:
    """A lead with its interval and its test."""
    relative = "" if lead.relative_lead is None else f" ({lead.relative_lead:+.1%})"
    interval = f", 95 % interval {between(lead.interval, '{:+.4f}')}" if lead.interval else ""
    tested = ""
    if lead.test is not None and lead.test.p is not None:
        adjusted = lead.test.adjusted_p
        tested = f", p = {lead.test.p:.2g}" if adjusted is None else f", adjusted p = {adjusted:.2g}"
    elif lead.diebold_mariano is not None and lead.diebold_mariano.p is not None:
        tested = f", Diebold-Mariano p = {lead.diebold_mariano.p:.2g}"
    return f"lead over {against} {lead.model}: {lead.lead:+.4f}{relative}{interval}{tested}"


def smallest(found: SmallestLead) -> str:
    """The smallest lead that the windows of a decision can show."""
    relative = "" if found.relative is None else f" ({found.relative:.1%} of its score)"
    shown = f"smallest lead over {found.over} that these windows can show at level {found.level:.2g}"
    return f"{shown}: {found.lead:.4f}{relative}"


def between(interval: Interval | None, form: str = "{:.4f}") -> str:
    """An interval as it is shown; empty where there is none."""
    return f"{form.format(interval.low)} to {form.format(interval.high)}" if interval else ""


def number(value: float) -> str:
    """A number in the unit of a target."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
