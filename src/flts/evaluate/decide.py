"""One decision from one set of results: who wins, by how much, how sure, and whether that is worth a promotion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from flts.evaluate.gate import Champion, Verdict, champion_gate, skill_gate
from flts.evaluate.metrics import Yardstick, losses
from flts.evaluate.score import Scored, lead_interval, rank, score, skill
from flts.evaluate.significance import MIN_ORIGINS, diebold_mariano, overlap
from flts.lineage import digest
from flts.preprocess.rows import Values
from flts.spec import Evaluate

Status = Literal["SUCCESS", "FAILED", "N/A"]
Outcome = Literal["promote", "keep", "none"]


@dataclass(frozen=True)
class Candidate:
    """One expected model and what came of it; `forecast` [origins, horizon, targets] only with SUCCESS."""

    name: str
    model_hash: str
    status: Status
    reason: str | None = None
    bundle_sha256: str | None = None
    forecasts_sha256: str | None = None
    forecast: Values | None = None


@dataclass(frozen=True)
class Referee:
    """A forecast anyone can make; never promoted. `forecast` is None where it does not apply, with the reason."""

    name: str
    forecast: Values | None
    reason: str | None = None


@dataclass(frozen=True)
class Case:
    """Everything a decision depends on.

    truth [origins, horizon, targets] in original units; spacing: median rows between neighbouring origins; windows:
    what is said of the origins in the record; seed: of the bootstrap.
    """

    scope: str
    config_hash: str
    candidates: Sequence[Candidate]
    referees: Sequence[Referee]
    champion: Champion | None
    truth: Values
    spacing: float
    yardstick: Yardstick
    rules: Evaluate
    windows: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class Decision:
    """The outcome, and the record that is stored."""

    decision_id: str
    outcome: Outcome
    winner: Candidate | None
    record: Mapping[str, Any]


def decide(case: Case) -> Decision:
    """Pure: the same case gives the same decision, byte for byte, in whatever order its parts are listed."""
    candidates = sorted(case.candidates, key=lambda c: c.name)
    ranked = rank([_score(case, c.name, c.model_hash, c.forecast) for c in candidates if c.forecast is not None])
    scored_referees = [_score(case, r.name, "", r.forecast) for r in case.referees if r.forecast is not None]
    referees = sorted(scored_referees, key=lambda r: (r.score, r.name))
    winner = next((c for c in candidates if ranked and c.name == ranked[0].name), None)
    outcome, reasons, verdicts = _outcome(case, ranked, referees)
    decision_id = _decision_id(case, candidates, referees)
    record = {
        "v": 1,
        "decision_id": decision_id,
        "scope": case.scope,
        "config_hash": case.config_hash,
        "outcome": outcome,
        "winner": winner.name if winner else None,
        "reasons": reasons,
        "champion": {"model": case.champion.model, "model_hash": case.champion.model_hash} if case.champion else None,
        "gates": {name: asdict(verdict) for name, verdict in verdicts.items()},
        "certainty": _certainty(case, ranked, referees),
        "candidates": _board(candidates, ranked, referees),
        "referees": _referee_board(case, referees),
        "windows": dict(case.windows),
        "yardstick": {
            "targets": list(case.yardstick.targets),
            "width": case.yardstick.width.tolist(),
            "season_error": None if case.yardstick.season_error is None else case.yardstick.season_error.tolist(),
            "no_mase": case.yardstick.no_mase,
        },
        "rules": case.rules.model_dump(mode="json", exclude={"windows", "step"}),
    }
    return Decision(decision_id, outcome, winner, record)


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


def _score(case: Case, name: str, model_hash: str, forecast: Values) -> Scored:
    return score(name, model_hash, case.truth, forecast, case.yardstick, case.rules.weights)


def _outcome(
    case: Case, ranked: Sequence[Scored], referees: Sequence[Scored]
) -> tuple[Outcome, list[str], dict[str, Verdict]]:
    if not ranked:
        return "none", ["no candidate has a forecast, so there is nothing to promote"], {}
    best = ranked[0]
    referee = referees[0] if referees else None
    verdicts = {
        "min_skill": skill_gate(
            skill(best.score, referee.score) if referee else None,
            referee.name if referee else None,
            case.rules.min_skill,
        ),
        "champion": champion_gate(best, case.champion, case.truth, case.yardstick, case.rules, case.spacing),
    }
    among = f"of {len(ranked)} models on the same windows" if len(ranked) > 1 else "as the only model with a forecast"
    reasons = [f"{best.name} has the lowest score, {best.score:.4f}, {among}"]
    reasons += [verdict.reason for verdict in verdicts.values()]
    passed = all(verdict.passed for verdict in verdicts.values())
    return "promote" if passed else "keep", reasons, verdicts


def _certainty(case: Case, ranked: Sequence[Scored], referees: Sequence[Scored]) -> dict[str, Any]:
    """How sure the ranking is: the winner's lead over the runner-up and the best referee, with interval and test."""
    if not ranked:
        return {}
    windows, shared = len(case.truth), overlap(case.truth.shape[1], case.spacing)
    needed = max(MIN_ORIGINS, 3 * shared)
    warnings = []
    if windows < needed:
        warnings.append(f"{windows} windows are too few for the ranking to mean anything: at least {needed} are needed")
    rivals = {"runner_up": ranked[1]} if len(ranked) > 1 else {}
    rivals |= {"best_referee": referees[0]} if referees else {}
    leads = {role: _lead(case, ranked[0], rival, shared) for role, rival in rivals.items()}
    warnings += [said for role, lead in leads.items() if (said := _doubt(role, lead))]
    return {
        "windows": windows,
        "windows_needed": needed,
        "chosen_among": len(ranked),
        **leads,
        "warnings": warnings,
    }


def _lead(case: Case, winner: Scored, rival: Scored, shared: int) -> dict[str, Any]:
    interval = lead_interval(
        case.truth, winner.forecast, rival.forecast, case.yardstick, case.rules.weights, shared, case.seed
    )
    test = diebold_mariano(
        losses(case.truth, winner.forecast, case.yardstick),
        losses(case.truth, rival.forecast, case.yardstick),
        case.truth.shape[1],
        case.spacing,
    )
    return {
        "model": rival.name,
        "lead": rival.score - winner.score,
        "relative_lead": skill(winner.score, rival.score),
        "interval": interval.to_json() if interval else None,
        "diebold_mariano": test.to_json(),
    }


def _doubt(role: str, lead: Mapping[str, Any]) -> str | None:
    name, interval = lead["model"], lead["interval"]
    if role == "best_referee" and lead["lead"] <= 0.0:
        return f"no model beats the referee {name}: a forecast anyone can make does at least as well"
    if interval and interval["low"] <= 0.0 <= interval["high"]:
        against = f"the referee {name}" if role == "best_referee" else f"the runner-up {name}"
        return f"the lead over {against} is smaller than the noise: its 95 % interval contains zero"
    return None


def _board(
    candidates: Sequence[Candidate], ranked: Sequence[Scored], referees: Sequence[Scored]
) -> list[dict[str, Any]]:
    """Every candidate, best first; those without a forecast last, with their reason."""
    naive = next((r.score for r in referees if r.name == "naive"), None)
    by_name = {c.name: c for c in candidates}
    rows: list[dict[str, Any]] = [
        {
            "rank": place,
            "model": scored.name,
            "model_hash": scored.model_hash,
            "status": "SUCCESS",
            "bundle_sha256": by_name[scored.name].bundle_sha256,
            "forecasts_sha256": by_name[scored.name].forecasts_sha256,
            "score": scored.score,
            **_errors(scored),
            "skill": skill(scored.score, referees[0].score) if referees else None,
            "skill_vs_naive": None if naive is None else skill(scored.score, naive),
        }
        for place, scored in enumerate(ranked, 1)
    ]
    rows += [
        {"rank": None, "model": c.name, "model_hash": c.model_hash, "status": c.status, "reason": c.reason}
        for c in candidates
        if c.forecast is None
    ]
    return rows


def _referee_board(case: Case, referees: Sequence[Scored]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{"model": r.name, "score": r.score, **_errors(r)} for r in referees]
    without = sorted((r for r in case.referees if r.forecast is None), key=lambda r: r.name)
    return rows + [{"model": r.name, "status": "N/A", "reason": r.reason} for r in without]


def _errors(scored: Scored) -> dict[str, Any]:
    return asdict(scored.errors)
