"""One decision from one case: who wins, by how much, how sure, and whether that is worth a promotion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from flts.contracts.canonical import digest
from flts.evaluate.board import candidate_rows, coverages, qualities, referee_rows
from flts.evaluate.case import Candidate, Case
from flts.evaluate.certainty import CHAMPION, certainty, coverage_warning, sure, why_not
from flts.evaluate.gate import Verdict, champion_gate, eligibility, skill_gate
from flts.evaluate.score import Scored, rank, resample, score, skill
from flts.evaluate.significance import overlap
from flts.preprocess.rows import Values

Outcome = Literal["promote", "keep", "none"]


@dataclass(frozen=True)
class Decision:
    """The outcome, and the record that is stored."""

    decision_id: str
    outcome: Outcome
    winner: Candidate | None
    record: Mapping[str, Any]


@dataclass(frozen=True)
class _Field:
    """Everyone who has a forecast, scored; candidates and referees best first."""

    ranked: Sequence[Scored]
    referees: Sequence[Scored]
    champion: Scored | None


def decide(case: Case) -> Decision:
    """Pure: the same case gives the same decision, byte for byte, in whatever order its parts are listed."""
    candidates = sorted(case.candidates, key=lambda c: c.name)
    field = _score_all(case, candidates)
    everyone = [*field.ranked, *field.referees, *([field.champion] if field.champion else [])]
    shared = overlap(case.truth.shape[1], case.spacing)
    resampled = resample(case.truth, everyone, case.yardstick, case.rules.weights, shared, case.seed)
    covered = {c.name: coverages(case, c) for c in candidates}
    limits = {c.name: eligibility(qualities(c, covered[c.name]), case.rules) for c in candidates}
    ineligible = {name: reason for name, verdicts in limits.items() if (reason := _not_met(verdicts))}

    best = next((scored for scored in field.ranked if scored.name not in ineligible), None)
    winner = next((c for c in candidates if best and c.name == best.name), None)
    outcome, reasons, gates = _outcome(case, best, field)
    rows = candidate_rows(case, candidates, field.ranked, field.referees, covered, limits, resampled)
    doubts: dict[str, Any] = {}
    if best is not None:
        doubts = certainty(case, best, field.ranked, field.referees, field.champion, resampled)
        doubts["warnings"] += coverage_warning(next(row for row in rows if row["model"] == best.name))
    decision_id = _decision_id(case, candidates, field.referees)
    record = {
        "v": 1,
        "decision_id": decision_id,
        "scope": case.scope,
        "config_hash": case.config_hash,
        "outcome": outcome,
        "winner": best.name if best else None,
        "reasons": reasons,
        "sure": sure(best.name, doubts) if best else None,
        "why_not": why_not(best, field.ranked, candidates, ineligible, resampled) if best else [],
        "champion": {"model": case.champion.model, "model_hash": case.champion.model_hash} if case.champion else None,
        "gates": {name: asdict(verdict) for name, verdict in gates.items()},
        "certainty": doubts,
        "candidates": rows,
        "referees": referee_rows(case, field.referees, resampled),
        "windows": dict(case.windows),
        "yardstick": {
            "targets": list(case.yardstick.targets),
            "width": case.yardstick.width.tolist(),
            "season_error": None if case.yardstick.season_error is None else case.yardstick.season_error.tolist(),
            "no_mase": case.yardstick.no_mase,
        },
        "rules": case.rules.model_dump(exclude={"windows", "step"}),
    }
    return Decision(decision_id, outcome, winner, record)


def _score_all(case: Case, candidates: Sequence[Candidate]) -> _Field:
    def scored(name: str, model_hash: str, forecast: Values) -> Scored:
        return score(name, model_hash, case.truth, forecast, case.yardstick, case.rules.weights)

    ranked = rank([scored(c.name, c.model_hash, c.forecast) for c in candidates if c.forecast is not None])
    referees = [scored(r.name, "", r.forecast) for r in case.referees if r.forecast is not None]
    champion = case.champion
    rival = (
        scored(CHAMPION, champion.model_hash, champion.forecast)
        if champion is not None and champion.forecast is not None
        else None
    )
    return _Field(ranked, sorted(referees, key=lambda r: (r.score, r.name)), rival)


def _not_met(verdicts: Mapping[str, Verdict]) -> str:
    return "; ".join(verdict.reason for verdict in verdicts.values() if not verdict.passed)


def _decision_id(case: Case, candidates: Sequence[Candidate], referees: Sequence[Scored]) -> str:
    return digest(
        {
            "scope": case.scope,
            "config_hash": case.config_hash,
            "candidates": [[c.name, c.model_hash, c.status, c.forecasts_sha256] for c in candidates],
            "champion": case.champion.model_hash if case.champion else None,
            "referees": {r.name: r.score for r in referees},
        }
    )


def _outcome(case: Case, best: Scored | None, field: _Field) -> tuple[Outcome, list[str], dict[str, Verdict]]:
    if not field.ranked:
        return "none", ["no candidate has a forecast, so there is nothing to promote"], {}
    if best is None:
        return "keep", [f"none of {len(field.ranked)} models is within the limits of [evaluate]"], {}
    referee = field.referees[0] if field.referees else None
    gates = {
        "min_skill": skill_gate(
            skill(best.score, referee.score) if referee else None,
            referee.name if referee else None,
            case.rules.min_skill,
        ),
        "champion": champion_gate(best, case.champion, case.truth, case.yardstick, case.rules, case.spacing),
    }
    among = f"of {len(field.ranked)} models on the same windows"
    if len(field.ranked) == 1:
        among = "as the only model with a forecast"
    elif best is not field.ranked[0]:
        among += " among those within the limits"
    reasons = [f"{best.name} has the lowest score, {best.score:.4f}, {among}"]
    reasons += [verdict.reason for verdict in gates.values()]
    passed = all(verdict.passed for verdict in gates.values())
    return "promote" if passed else "keep", reasons, gates
