"""How certain a ranking is: leads with interval and test, why each other model lost, and what to be wary of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flts.contracts.records.decision import Certainty, Coverage, Lead, WhyNot
from flts.evaluate.case import Candidate, Case
from flts.evaluate.coverage import miscalibration
from flts.evaluate.gate import GATED_LEVEL
from flts.evaluate.metrics import losses
from flts.evaluate.score import Resampled, Scored, skill
from flts.evaluate.significance import MIN_ORIGINS, RESAMPLES, block_length, diebold_mariano, overlap

CHAMPION = "the champion"
"""Key of the champion among the resampled models: a candidate of the same family may have another forecast."""


def certainty(
    case: Case,
    winner: Scored,
    ranked: Sequence[Scored],
    baselines: Sequence[Scored],
    champion: Scored | None,
    resampled: Resampled | None,
    covered: Mapping[str, Coverage] | None,
) -> Certainty:
    """The winner's lead over the runner-up, the best baseline and the champion, and how often it is the best.

    covered: measured coverage of the winner's intervals by level.
    """
    windows, shared = len(case.truth), overlap(case.truth.shape[1], case.spacing)
    needed = max(MIN_ORIGINS, 3 * shared)
    second = next((scored for scored in ranked if scored.name != winner.name), None)
    runner_up = _lead(case, winner, second, resampled) if second else None
    best_baseline = _lead(case, winner, baselines[0], resampled) if baselines else None
    another = champion if champion and champion.model_hash != winner.model_hash else None
    over_champion = _lead(case, winner, another, resampled) if another else None
    warnings = []
    if windows < needed:
        warnings.append(f"{windows} test windows are too few for a reliable ranking: at least {needed} are needed")
    warnings += _lead_warnings("the runner-up", runner_up)
    warnings += _baseline_warnings(best_baseline)
    warnings += _lead_warnings("the champion", over_champion)
    warnings += _coverage_warnings(covered)
    return Certainty(
        windows=windows,
        windows_needed=needed,
        chosen_among=len(ranked),
        resamples=RESAMPLES if resampled else 0,
        block=block_length(windows, shared),
        best_share=resampled.best_share(winner.name, [s.name for s in ranked]) if resampled else None,
        runner_up=runner_up,
        best_baseline=best_baseline,
        champion=over_champion,
        warnings=warnings,
    )


def sure(winner: str, choice: Certainty) -> str:
    """One sentence about how certain the choice is."""
    if choice.best_share is None:
        return f"how sure: unknown, {choice.windows} test windows are too few for a block bootstrap"
    if choice.chosen_among == 1:
        return f"how sure: {winner} is the only model with a forecast"
    return (
        f"how sure: {winner} is the best of {choice.chosen_among} models in {choice.best_share:.0%} of"
        f" {choice.resamples} bootstrap resamples (blocks of {choice.block} windows)"
    )


def why_not(
    winner: Scored,
    ranked: Sequence[Scored],
    candidates: Sequence[Candidate],
    ineligible: Mapping[str, str],
    resampled: Resampled | None,
) -> list[WhyNot]:
    """For every candidate but the winner, one sentence."""
    sentences = {s.name: _behind(winner, s, resampled) for s in ranked if s.name != winner.name}
    sentences |= {name: f"not eligible: {reason}" for name, reason in ineligible.items()}
    sentences |= {c.name: f"{_kind(c)}: {c.reason}" for c in candidates if c.forecast is None}
    return [WhyNot(model=name, why_not=sentences[name]) for name in sorted(sentences)]


def _kind(candidate: Candidate) -> str:
    return "not applicable" if candidate.status == "N/A" else "failed"


def _behind(winner: Scored, other: Scored, resampled: Resampled | None) -> str:
    share = skill(winner.score, other.score)
    relative = "" if share is None else f" ({share:+.1%})"
    sentence = f"its score {other.score:.4f} is {other.score - winner.score:.4f} worse{relative}"
    if resampled is None:
        return sentence
    interval = resampled.lead(winner.name, other.name)
    zero = "contains zero" if interval.contains(0.0) else "excludes zero"
    return f"{sentence}; the 95 % interval of the difference, {interval.low:+.4f} to {interval.high:+.4f}, {zero}"


def _lead(case: Case, winner: Scored, rival: Scored, resampled: Resampled | None) -> Lead:
    test = diebold_mariano(
        losses(case.truth, winner.forecast, case.yardstick),
        losses(case.truth, rival.forecast, case.yardstick),
        case.truth.shape[1],
        case.spacing,
    )
    return Lead(
        model=case.champion.model if rival.name == CHAMPION and case.champion else rival.name,
        lead=rival.score - winner.score,
        relative_lead=skill(winner.score, rival.score),
        interval=resampled.lead(winner.name, rival.name) if resampled else None,
        diebold_mariano=test,
    )


def _lead_warnings(against: str, lead: Lead | None) -> list[str]:
    if lead is None or lead.interval is None or not lead.interval.contains(0.0):
        return []
    return [f"the lead over {against} {lead.model} is smaller than the noise: its 95 % interval contains zero"]


def _baseline_warnings(lead: Lead | None) -> list[str]:
    if lead is not None and lead.lead <= 0.0:
        return [f"no model beats the baseline {lead.model}: a forecast that anyone can make is at least as good"]
    return _lead_warnings("the baseline", lead)


def _coverage_warnings(covered: Mapping[str, Coverage] | None) -> list[str]:
    warning = miscalibration(GATED_LEVEL, (covered or {}).get(GATED_LEVEL))
    return [warning] if warning else []
