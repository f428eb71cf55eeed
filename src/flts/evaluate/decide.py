"""One decision from one case: the winner, its lead, how certain both are, and whether the winner is promoted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flts.contracts.canonical import digest
from flts.contracts.records.decision import (
    ChampionName,
    DecisionRecord,
    RulesRecord,
    Verdict,
    YardstickRecord,
)
from flts.contracts.records.run import Outcome
from flts.evaluate.board import baseline_rows, candidate_rows, coverages, qualities
from flts.evaluate.case import Candidate, Case
from flts.evaluate.certainty import CHAMPION, certainty, sure, why_not
from flts.evaluate.gate import champion_gate, eligibility, skill_gate
from flts.evaluate.metrics import Yardstick
from flts.evaluate.score import Scored, rank, resample, score, skill
from flts.evaluate.significance import overlap
from flts.preprocess.rows import Values


@dataclass(frozen=True)
class Decision:
    """The stored record and the winner that it names."""

    winner: Candidate | None
    record: DecisionRecord

    @property
    def decision_id(self) -> str:
        """Digest of what was compared."""
        return self.record.decision_id

    @property
    def outcome(self) -> Outcome:
        """Whether the winner is promoted."""
        return self.record.outcome


@dataclass(frozen=True)
class _Field:
    """Every model with a forecast, scored; candidates and baselines best first."""

    ranked: Sequence[Scored]
    baselines: Sequence[Scored]
    champion: Scored | None


def decide(case: Case) -> Decision:
    """Pure: the same case gives the same decision, byte for byte, in whatever order its parts are listed."""
    candidates = sorted(case.candidates, key=lambda c: c.name)
    field = _score_all(case, candidates)
    everyone = [*field.ranked, *field.baselines, *([field.champion] if field.champion else [])]
    shared = overlap(case.truth.shape[1], case.spacing)
    resampled = resample(case.truth, everyone, case.yardstick, case.rules.weights, shared, case.seed)
    covered = {c.name: coverages(case, c) for c in candidates}
    limits = {c.name: eligibility(qualities(c, covered[c.name]), case.rules) for c in candidates}
    ineligible = {name: reason for name, verdicts in limits.items() if (reason := _not_met(verdicts))}

    best = next((scored for scored in field.ranked if scored.name not in ineligible), None)
    winner = next((c for c in candidates if best and c.name == best.name), None)
    outcome, reasons, gates = _outcome(case, best, field)
    choice = (
        certainty(case, best, field.ranked, field.baselines, field.champion, resampled, covered[best.name])
        if best
        else None
    )
    record = DecisionRecord(
        decision_id=_decision_id(case, candidates, field.baselines),
        scope=case.scope,
        config_hash=case.config_hash,
        outcome=outcome,
        winner=best.name if best else None,
        reasons=reasons,
        sure=sure(best.name, choice) if best and choice else None,
        why_not=why_not(best, field.ranked, candidates, ineligible, resampled) if best else [],
        champion=_champion_name(case),
        gates=gates,
        certainty=choice,
        candidates=candidate_rows(case, candidates, field.ranked, field.baselines, covered, limits, resampled),
        baselines=baseline_rows(case, field.baselines, resampled),
        windows=case.windows,
        yardstick=_yardstick_record(case.yardstick),
        rules=RulesRecord.model_validate(case.rules.model_dump(exclude={"windows", "step"})),
        preview_sha256=None,
    )
    return Decision(winner, record)


def _score_all(case: Case, candidates: Sequence[Candidate]) -> _Field:
    def scored(name: str, model_hash: str, forecast: Values) -> Scored:
        return score(name, model_hash, case.truth, forecast, case.yardstick, case.rules.weights)

    ranked = rank([scored(c.name, c.model_hash, c.forecast) for c in candidates if c.forecast is not None])
    baselines = [scored(b.name, "", b.forecast) for b in case.baselines if b.forecast is not None]
    champion = case.champion
    rival = (
        scored(CHAMPION, champion.model_hash, champion.forecast)
        if champion is not None and champion.forecast is not None
        else None
    )
    return _Field(ranked, sorted(baselines, key=lambda b: (b.score, b.name)), rival)


def _champion_name(case: Case) -> ChampionName | None:
    champion = case.champion
    return ChampionName(model=champion.model, model_hash=champion.model_hash) if champion else None


def _yardstick_record(yardstick: Yardstick) -> YardstickRecord:
    error = yardstick.season_error
    return YardstickRecord(
        targets=list(yardstick.targets),
        width=yardstick.width.tolist(),
        season_error=None if error is None else error.tolist(),
        no_mase=yardstick.no_mase,
    )


def _not_met(verdicts: Mapping[str, Verdict]) -> str:
    return "; ".join(verdict.reason for verdict in verdicts.values() if not verdict.passed)


def _decision_id(case: Case, candidates: Sequence[Candidate], baselines: Sequence[Scored]) -> str:
    return digest(
        {
            "scope": case.scope,
            "config_hash": case.config_hash,
            "candidates": [[c.name, c.model_hash, c.status, c.forecasts_sha256] for c in candidates],
            "champion": case.champion.model_hash if case.champion else None,
            "referees": {b.name: b.score for b in baselines},
        }
    )


def _outcome(case: Case, best: Scored | None, field: _Field) -> tuple[Outcome, list[str], dict[str, Verdict]]:
    if not field.ranked:
        return "none", ["no candidate has a forecast, so there is nothing to promote"], {}
    if best is None:
        return "keep", [f"none of {len(field.ranked)} models is within the limits of [evaluate]"], {}
    baseline = field.baselines[0] if field.baselines else None
    gates = {
        "min_skill": skill_gate(
            skill(best.score, baseline.score) if baseline else None,
            baseline.name if baseline else None,
            case.rules.min_skill,
        ),
        "champion": champion_gate(best, case.champion, case.truth, case.yardstick, case.rules, case.spacing),
    }
    reasons = [_lowest_score(best, field.ranked), *(verdict.reason for verdict in gates.values())]
    passed = all(verdict.passed for verdict in gates.values())
    return "promote" if passed else "keep", reasons, gates


def _lowest_score(best: Scored, ranked: Sequence[Scored]) -> str:
    if len(ranked) == 1:
        return f"{best.name} is the only model with a forecast, score {best.score:.4f}"
    among = f"of {len(ranked)} models on the same windows"
    if best is not ranked[0]:
        among = f"of the models within the limits ({len(ranked)} were scored on the same windows)"
    return f"{best.name} has the lowest score, {best.score:.4f}, {among}"
