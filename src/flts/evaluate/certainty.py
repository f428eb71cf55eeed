"""How sure a ranking is: leads with interval and test, why each other model is not the one, and every doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flts.evaluate.case import Candidate, Case
from flts.evaluate.coverage import doubt as coverage_doubt
from flts.evaluate.metrics import losses
from flts.evaluate.score import Resampled, Scored, skill
from flts.evaluate.significance import MIN_ORIGINS, RESAMPLES, block_length, diebold_mariano, overlap

CHAMPION = "the champion"
"""Its name among the resampled models; a candidate of the same family may have another forecast."""


def certainty(
    case: Case,
    winner: Scored,
    ranked: Sequence[Scored],
    referees: Sequence[Scored],
    champion: Scored | None,
    resampled: Resampled | None,
) -> dict[str, Any]:
    """The winner's lead over the runner-up, the best referee and the champion, and how often it is the best."""
    windows, shared = len(case.truth), overlap(case.truth.shape[1], case.spacing)
    needed = max(MIN_ORIGINS, 3 * shared)
    others = [scored for scored in ranked if scored.name != winner.name]
    rivals = {"runner_up": others[0]} if others else {}
    rivals |= {"best_referee": referees[0]} if referees else {}
    if champion and champion.model_hash != winner.model_hash:
        rivals["champion"] = champion
    leads = {role: _lead(case, winner, rival, resampled) for role, rival in rivals.items()}
    found: dict[str, Any] = {
        "windows": windows,
        "windows_needed": needed,
        "chosen_among": len(ranked),
        "resamples": RESAMPLES if resampled else 0,
        "block": block_length(windows, shared),
        "best_share": resampled.best_share(winner.name, [s.name for s in ranked]) if resampled else None,
        **leads,
    }
    warnings = []
    if windows < needed:
        warnings.append(f"{windows} windows are too few for the ranking to mean anything: at least {needed} are needed")
    warnings += [said for role, lead in leads.items() if (said := _doubt(role, lead))]
    return {**found, "warnings": warnings}


def sure(winner: str, found: Mapping[str, Any]) -> str:
    """One sentence about how sure the choice is."""
    if found["best_share"] is None:
        return f"how sure: unknown, {found['windows']} windows do not make three independent blocks"
    if found["chosen_among"] == 1:
        return f"how sure: {winner} is the only model with a forecast"
    return (
        f"how sure: {winner} is the best of {found['chosen_among']} in {found['best_share']:.0%} of"
        f" {found['resamples']} resamplings of the windows (blocks of {found['block']})"
    )


def why_not(
    winner: Scored,
    ranked: Sequence[Scored],
    candidates: Sequence[Candidate],
    ineligible: Mapping[str, str],
    resampled: Resampled | None,
) -> list[dict[str, str]]:
    """For every candidate but the winner, one sentence."""
    said = {s.name: _behind(winner, s, resampled) for s in ranked if s.name != winner.name}
    said |= {name: f"not eligible: {reason}" for name, reason in ineligible.items()}
    said |= {c.name: f"{_kind(c)}: {c.reason}" for c in candidates if c.forecast is None}
    return [{"model": name, "why_not": said[name]} for name in sorted(said)]


def coverage_warning(row: Mapping[str, Any]) -> list[str]:
    """What the winner's intervals are worth, when that is not what they say."""
    said = [coverage_doubt(level, found) for level, found in (row["coverage"] or {}).items() if level == "0.8"]
    return [sentence for sentence in said if sentence]


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
    noise = "within the noise" if interval.holds(0.0) else "beyond the noise"
    return f"{said}, {noise} (95 % interval {interval.low:+.4f} to {interval.high:+.4f})"


def _lead(case: Case, winner: Scored, rival: Scored, resampled: Resampled | None) -> dict[str, Any]:
    test = diebold_mariano(
        losses(case.truth, winner.forecast, case.yardstick),
        losses(case.truth, rival.forecast, case.yardstick),
        case.truth.shape[1],
        case.spacing,
    )
    return {
        "model": case.champion.model if rival.name == CHAMPION and case.champion else rival.name,
        "lead": rival.score - winner.score,
        "relative_lead": skill(winner.score, rival.score),
        "interval": resampled.lead(winner.name, rival.name).to_json() if resampled else None,
        "diebold_mariano": test.to_json(),
    }


def _doubt(role: str, lead: Mapping[str, Any]) -> str | None:
    name, interval = lead["model"], lead["interval"]
    if role == "best_referee" and lead["lead"] <= 0.0:
        return f"no model beats the referee {name}: a forecast anyone can make does at least as well"
    if interval and interval["low"] <= 0.0 <= interval["high"]:
        against = {"runner_up": "the runner-up", "best_referee": "the referee", "champion": "the champion"}[role]
        return f"the lead over {against} {name} is smaller than the noise: its 95 % interval contains zero"
    return None
