"""How certain a ranking is: leads with interval and test, why each other model lost, and what to be wary of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flts.contracts.records.decision import Certainty, Coverage, Lead, Look, SmallestLead, WhyNot
from flts.evaluate.bootstrap import FEWEST_BLOCKS, RESAMPLES, best_share, block_length
from flts.evaluate.case import Candidate, Case
from flts.evaluate.coverage import miscalibration
from flts.evaluate.gate import GATED_LEVEL
from flts.evaluate.origins import difference
from flts.evaluate.score import Scored, skill
from flts.evaluate.significance import ALPHA, Mean, windows_needed

CHAMPION = "the champion"
"""Name of the champion among the scored models: a candidate of the same family may have another forecast."""


def certainty(
    case: Case,
    winner: Scored,
    ranked: Sequence[Scored],
    baselines: Sequence[Scored],
    champion: Scored | None,
    look: Look | None,
    covered: Mapping[str, Coverage] | None,
) -> Certainty:
    """The winner's lead over the runner-up, the best baseline and the champion, and how often it is the best.

    covered: measured coverage of the winner's intervals by level.
    """
    windows, shared, weights = len(winner.origins), case.overlapping, case.rules.weights
    needed = windows_needed(shared)
    share = best_share(winner.name, ranked, weights, shared, case.seed)
    second = next((scored for scored in ranked if scored.name != winner.name), None)
    another = champion if champion and champion.model_hash != winner.model_hash else None
    runner_up = _lead(case, winner, second, None) if second else None
    best_baseline = _lead(case, winner, baselines[0], None) if baselines else None
    over_champion = _lead(case, winner, another, look) if another else None
    warnings = []
    if windows < needed:
        warnings.append(too_few(windows, needed))
    warnings += _lead_warnings("the runner-up", runner_up)
    warnings += _baseline_warnings(best_baseline)
    warnings += _lead_warnings("the champion", over_champion)
    warnings += _coverage_warnings(covered)
    return Certainty(
        windows=windows,
        windows_needed=needed,
        chosen_among=len(ranked),
        resamples=0 if share is None else RESAMPLES,
        block=block_length(windows, shared),
        best_share=share,
        runner_up=runner_up,
        best_baseline=best_baseline,
        champion=over_champion,
        smallest_lead=_smallest_lead(case, winner, another or second, look if another else None),
        warnings=warnings,
    )


def too_few(windows: int, needed: int) -> str:
    """The warning that a ranking on these windows is not reliable."""
    return f"{windows} test windows are too few for a reliable ranking: at least {needed} are needed"


def sure(winner: str, choice: Certainty) -> str:
    """One sentence about how certain the choice is."""
    if choice.best_share is None:
        return (
            f"how sure: unknown, {choice.windows} test windows are fewer than {FEWEST_BLOCKS} blocks of {choice.block}"
        )
    if choice.chosen_among == 1:
        return f"how sure: {winner} is the only model with a forecast"
    return (
        f"how sure: {winner} is the best of {choice.chosen_among} models in {choice.best_share:.0%} of"
        f" {choice.resamples} bootstrap resamples (blocks of {choice.block} windows)"
    )


def why_not(
    case: Case, winner: Scored, ranked: Sequence[Scored], candidates: Sequence[Candidate], ineligible: Mapping[str, str]
) -> list[WhyNot]:
    """For every candidate but the winner, one sentence."""
    sentences = {s.name: _behind(case, winner, s) for s in ranked if s.name != winner.name}
    sentences |= {name: f"not eligible: {reason}" for name, reason in ineligible.items()}
    sentences |= {c.name: f"{_kind(c)}: {c.reason}" for c in candidates if c.forecast is None}
    return [WhyNot(model=name, why_not=sentences[name]) for name in sorted(sentences)]


def _kind(candidate: Candidate) -> str:
    return "not applicable" if candidate.status == "N/A" else "failed"


def _behind(case: Case, winner: Scored, other: Scored) -> str:
    share = skill(winner.score, other.score)
    relative = "" if share is None else f" ({share:+.1%})"
    sentence = f"its score {other.score:.4f} is {other.score - winner.score:.4f} worse{relative}"
    interval = _mean_lead(case, winner, other).interval()
    if interval is None:
        return sentence
    zero = "contains zero" if interval.contains(0.0) else "excludes zero"
    return f"{sentence}; the 95 % interval of the difference, {interval.low:+.4f} to {interval.high:+.4f}, {zero}"


def _mean_lead(case: Case, winner: Scored, rival: Scored) -> Mean:
    """The rival's score minus the winner's."""
    return difference(rival, winner, case.rules.weights, case.overlapping)


def _lead(case: Case, winner: Scored, rival: Scored, look: Look | None) -> Lead:
    """look: the tests against this rival, where they were made; a margin makes them tests of something else."""
    test = difference(winner, rival, case.rules.weights, case.overlapping).test()
    if look is not None and look.margin is None:
        test = look.tests[winner.name]
    return Lead(
        model=case.champion.model if rival.name == CHAMPION and case.champion else rival.name,
        lead=rival.score - winner.score,
        relative_lead=skill(winner.score, rival.score),
        interval=_mean_lead(case, winner, rival).interval(),
        test=test,
    )


def _smallest_lead(case: Case, winner: Scored, rival: Scored | None, look: Look | None) -> SmallestLead | None:
    """What a one-sided test needs: at the level of the look, shared by its candidates, or at 5 % over a runner-up."""
    if rival is None:
        return None
    level = look.level / len(look.tests) if look else ALPHA
    lead = _mean_lead(case, winner, rival).smallest(level)
    if lead is None:
        return None
    return SmallestLead(
        over=case.champion.model if rival.name == CHAMPION and case.champion else rival.name,
        level=level,
        lead=lead,
        relative=lead / rival.score if rival.score else None,
    )


def _lead_warnings(against: str, lead: Lead | None) -> list[str]:
    if lead is None:
        return []
    if lead.interval is None:
        reason = lead.test.reason if lead.test else None
        return [f"whether the lead over {against} {lead.model} is more than noise is unknown: {reason}"]
    if not lead.interval.contains(0.0):
        return []
    return [f"the lead over {against} {lead.model} is smaller than the noise: its 95 % interval contains zero"]


def _baseline_warnings(lead: Lead | None) -> list[str]:
    if lead is not None and lead.lead <= 0.0:
        return [f"no model beats the baseline {lead.model}: a forecast that anyone can make is at least as good"]
    return _lead_warnings("the baseline", lead)


def _coverage_warnings(covered: Mapping[str, Coverage] | None) -> list[str]:
    warning = miscalibration(GATED_LEVEL, (covered or {}).get(GATED_LEVEL))
    return [warning] if warning else []
