"""How sure a ranking is: leads with interval and test, why each other model is not the one, and every doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flts.contracts.records.decision import Certainty, Coverage, Lead, WhyNot
from flts.evaluate.case import Candidate, Case
from flts.evaluate.coverage import doubt as coverage_doubt
from flts.evaluate.gate import GATED_LEVEL
from flts.evaluate.metrics import losses
from flts.evaluate.score import Resampled, Scored, skill
from flts.evaluate.significance import MIN_ORIGINS, RESAMPLES, block_length, diebold_mariano, overlap

CHAMPION = "the champion"
"""Its name among the resampled models; a candidate of the same family may have another forecast."""


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
        warnings.append(f"{windows} windows are too few for the ranking to mean anything: at least {needed} are needed")
    warnings += _doubt("the runner-up", runner_up)
    warnings += _baseline_doubt(best_baseline)
    warnings += _doubt("the champion", over_champion)
    warnings += _coverage_doubt(covered)
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


def sure(winner: str, found: Certainty) -> str:
    """One sentence about how sure the choice is."""
    if found.best_share is None:
        return f"how sure: unknown, {found.windows} windows do not make three independent blocks"
    if found.chosen_among == 1:
        return f"how sure: {winner} is the only model with a forecast"
    return (
        f"how sure: {winner} is the best of {found.chosen_among} in {found.best_share:.0%} of"
        f" {found.resamples} resamplings of the windows (blocks of {found.block})"
    )


def why_not(
    winner: Scored,
    ranked: Sequence[Scored],
    candidates: Sequence[Candidate],
    ineligible: Mapping[str, str],
    resampled: Resampled | None,
) -> list[WhyNot]:
    """For every candidate but the winner, one sentence."""
    said = {s.name: _behind(winner, s, resampled) for s in ranked if s.name != winner.name}
    said |= {name: f"not eligible: {reason}" for name, reason in ineligible.items()}
    said |= {c.name: f"{_kind(c)}: {c.reason}" for c in candidates if c.forecast is None}
    return [WhyNot(model=name, why_not=said[name]) for name in sorted(said)]


def _kind(candidate: Candidate) -> str:
    return "not applicable" if candidate.status == "N/A" else "failed"


def _behind(winner: Scored, other: Scored, resampled: Resampled | None) -> str:
    behind = other.score - winner.score
    share = skill(winner.score, other.score)
    relative = "" if share is None else f" ({share:+.1%})"
    said = f"its score {other.score:.4f} is behind by {behind:.4f}{relative}"
    if resampled is None:
        return said
    interval = resampled.lead(winner.name, other.name)
    noise = "within the noise" if interval.contains(0.0) else "beyond the noise"
    return f"{said}, {noise} (95 % interval {interval.low:+.4f} to {interval.high:+.4f})"


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


def _doubt(against: str, lead: Lead | None) -> list[str]:
    if lead is None or lead.interval is None or not lead.interval.contains(0.0):
        return []
    return [f"the lead over {against} {lead.model} is smaller than the noise: its 95 % interval contains zero"]


def _baseline_doubt(lead: Lead | None) -> list[str]:
    # decisions store these sentences: they call a baseline a referee so that a decision keeps its bytes
    if lead is not None and lead.lead <= 0.0:
        return [f"no model beats the referee {lead.model}: a forecast anyone can make does at least as well"]
    return _doubt("the referee", lead)


def _coverage_doubt(covered: Mapping[str, Coverage] | None) -> list[str]:
    said = coverage_doubt(GATED_LEVEL, (covered or {}).get(GATED_LEVEL))
    return [said] if said else []
