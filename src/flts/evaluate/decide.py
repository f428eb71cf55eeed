"""One decision from one case: the winner, its lead, how certain both are, and whether the winner is promoted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flts.contracts.canonical import digest
from flts.contracts.records.decision import (
    ChampionName,
    DecisionRecord,
    Look,
    RulesRecord,
    Verdict,
    YardstickRecord,
)
from flts.contracts.records.run import Outcome
from flts.evaluate.board import baseline_rows, candidate_rows, coverages, qualities
from flts.evaluate.case import Candidate, Case
from flts.evaluate.certainty import CHAMPION, certainty, sure, why_not
from flts.evaluate.gate import ChampionForecast, champion_gate, eligibility, skill_gate
from flts.evaluate.look import level_of, look_at, stated_error
from flts.evaluate.metrics import Yardstick
from flts.evaluate.score import Scored, rank, score, skill
from flts.preprocess.rows import Values
from flts.spec.fields import Evaluate


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
    reference: Scored | None
    """What candidates are tested against: the champion, or with gate = "not-worse" a model that was chosen before."""


def decide(case: Case) -> Decision:
    """Pure: the same case gives the same decision, byte for byte, in whatever order its parts are listed."""
    candidates = sorted(case.candidates, key=lambda c: c.name)
    field = _score_all(case, candidates)
    covered = {c.name: coverages(case, c) for c in candidates}
    limits = {c.name: eligibility(qualities(c, covered[c.name]), case.rules) for c in candidates}
    ineligible = {name: reason for name, verdicts in limits.items() if (reason := _not_met(verdicts))}

    best = next((scored for scored in field.ranked if scored.name not in ineligible), None)
    winner = next((c for c in candidates if best and c.name == best.name), None)
    look = _look(case, field)
    outcome, reasons, gates = _outcome(case, best, field, look)
    choice = (
        certainty(case, best, field.ranked, field.baselines, field.champion, look, covered[best.name]) if best else None
    )
    record = DecisionRecord(
        decision_id=_decision_id(case, candidates, field.baselines),
        scope=case.scope,
        config_hash=case.config_hash,
        outcome=outcome,
        winner=best.name if best else None,
        reasons=reasons,
        sure=sure(best.name, choice) if best and choice else None,
        why_not=why_not(case, best, field.ranked, candidates, ineligible) if best else [],
        champion=_name(case.champion),
        gates=gates,
        look=look,
        certainty=choice,
        candidates=candidate_rows(case, candidates, field.ranked, field.baselines, covered, limits),
        baselines=baseline_rows(case, field.baselines),
        windows=case.windows,
        yardstick=_yardstick_record(case.yardstick),
        rules=_rules_record(case.rules),
        preview_sha256=None,
    )
    return Decision(winner, record)


def _score_all(case: Case, candidates: Sequence[Candidate]) -> _Field:
    def scored(name: str, model_hash: str, forecast: Values) -> Scored:
        return score(name, model_hash, case.truth, forecast, case.yardstick, case.rules.weights)

    ranked = rank([scored(c.name, c.model_hash, c.forecast) for c in candidates if c.forecast is not None])
    baselines = [scored(b.name, "", b.forecast) for b in case.baselines if b.forecast is not None]
    champion, reference = (
        scored(CHAMPION, model.model_hash, model.forecast) if model is not None and model.forecast is not None else None
        for model in (case.champion, _reference(case))
    )
    return _Field(ranked, sorted(baselines, key=lambda b: (b.score, b.name)), champion, reference)


def _reference(case: Case) -> ChampionForecast | None:
    return case.reference or case.champion


def _look(case: Case, field: _Field) -> Look | None:
    """The tests of the candidates; None where there is nothing to compare with, or no test is wanted."""
    against = _name(_reference(case))
    if case.champion is None or field.reference is None or against is None or case.rules.gate == "always":
        return None
    return look_at(
        field.ranked, case.champion.model_hash, field.reference, against, case.spans, case.rules, case.overlapping
    )


def _name(model: ChampionForecast | None) -> ChampionName | None:
    return ChampionName(model=model.model, model_hash=model.model_hash) if model else None


def _rules_record(rules: Evaluate) -> RulesRecord:
    unused = {"windows", "step"} if rules.gate == "not-worse" else {"windows", "step", "margin"}
    return RulesRecord.model_validate(rules.model_dump(exclude=unused))


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
    reference = _reference(case)
    return digest(
        {
            "scope": case.scope,
            "config_hash": case.config_hash,
            "candidates": [[c.name, c.model_hash, c.status, c.forecasts_sha256] for c in candidates],
            "champion": case.champion.model_hash if case.champion else None,
            "reference": reference.model_hash if reference else None,
            "look": [case.spans, level_of(case.spans)],
            "referees": {b.name: b.score for b in baselines},
        }
    )


def _outcome(
    case: Case, best: Scored | None, field: _Field, look: Look | None
) -> tuple[Outcome, list[str], dict[str, Verdict]]:
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
        "champion": champion_gate(best, case.champion, _reference(case), look, case.rules.gate),
    }
    reasons = [_lowest_score(best, field.ranked), *(verdict.reason for verdict in gates.values())]
    reference = _reference(case)
    if look is not None and reference is not None and best.name in look.tests:
        reasons.append(stated_error(look, reference.named))
    passed = all(verdict.passed for verdict in gates.values())
    return "promote" if passed else "keep", reasons, gates


def _lowest_score(best: Scored, ranked: Sequence[Scored]) -> str:
    if len(ranked) == 1:
        return f"{best.name} is the only model with a forecast, score {best.score:.4f}"
    among = f"of {len(ranked)} models on the same windows"
    if best is not ranked[0]:
        among = f"of the models within the limits ({len(ranked)} were scored on the same windows)"
    return f"{best.name} has the lowest score, {best.score:.4f}, {among}"
