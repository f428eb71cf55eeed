"""The judge: its scoreboard and its decision made again by its own arithmetic, and compared field by field."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import DamagedObject, FltsError, StageFailed
from flts.contracts.records.decision import METRICS, CandidateRow, DecisionRecord, UnrankedRow
from flts.contracts.records.log import LogEntry
from flts.evaluate.case import Candidate
from flts.forecasting.intervals import LEVELS
from flts.models.registry import BASELINES
from flts.promotion.evidence import kept_aside
from flts.promotion.judge import Waiting, gather, judge
from flts.spec.lineage import explain
from flts.verification.aside import first_results
from flts.verification.claims import FALSE, TRUE, Check, Found, SectionChecks, absent, recorded, same
from flts.verification.evidence import Rehearsal, RunEvidence
from flts.verification.sealed import told_of_decision
from flts.verification.since import failures_until_now, made_since
from flts.verification.stages import took


def _interval(row: CandidateRow) -> JsonValue:
    return [row.score_interval.low, row.score_interval.high] if row.score_interval else None


def _covered(level: str) -> Callable[[CandidateRow], JsonValue]:
    return lambda row: found.coverage if (found := (row.coverage or {}).get(level)) else None


def _field(name: str) -> Callable[[CandidateRow], JsonValue]:
    def value(row: CandidateRow) -> JsonValue:
        found: JsonValue = getattr(row, name)
        return found

    return value


FIGURES: Mapping[str, tuple[str, Callable[[CandidateRow], JsonValue]]] = {
    "score": ("score", _field("score")),
    "score_interval": ("interval of the score", _interval),
    **{name: (metric.heading, _field(name)) for name, metric in METRICS.items()},
    "rank": ("rank", _field("rank")),
    "skill": ("skill against the best baseline", _field("skill")),
    "skill_vs_naive": ("skill against naive", _field("skill_vs_naive")),
    **{f"coverage_{level * 100:g}": (f"coverage at {level:.0%}", _covered(f"{level:g}")) for level in LEVELS},
}
"""Figures of the scoreboard that have a claim of their own: what a sentence calls them, and where a row has them."""
LATER = {"evidence"}
"""Fields that a decision of an earlier FLTS does not have."""
MOST = 3
"""Differences that a reason names at most."""
Shows = Callable[[DecisionRecord], JsonValue]
PARTS: Mapping[str, tuple[str, Shows]] = {
    "windows": ("The test windows are", lambda d: d.windows.count),
    "yardstick": (
        "What errors are scaled by is",
        lambda d: dict(zip(d.yardstick.targets, d.yardstick.width, strict=True)),
    ),
    "rules": ("Weights and limits are", lambda d: d.rules.weights.model_dump()),
    "baselines": ("The rows of the baselines are", lambda d: [row.model for row in d.baselines]),
    "winner": ("The winner is", lambda d: d.winner),
    "gates": ("The verdicts of the gates are", lambda d: [gate.reason for gate in d.gates.values()]),
    "look": ("The tests against the champion are", lambda d: d.look.against.model if d.look else None),
    "certainty": ("The certainty of the choice is", lambda d: d.certainty.best_share if d.certainty else None),
    "outcome": ("The outcome is", lambda d: d.outcome),
    "reasons": ("The reasons are", lambda d: list(d.reasons)),
    "sure": ("The sentence about certainty is", lambda d: d.sure),
    "why_not": (
        "What is said about each other model is",
        lambda d: [f"{one.model}: {one.why_not}" for one in d.why_not],
    ),
}
"""Fields of a decision that have a claim of their own: how its sentence begins, and what is shown of a field."""


def evaluation(evidence: RunEvidence) -> SectionChecks:
    """Claims about the scoreboard and the decision."""
    decision, preview = _keys(evidence)
    checks = [
        Check("evaluation.decision", "The decision of this run is stored as it was made", _decision, decision),
        Check("evaluation.decision_id", "Its decision_id is the digest of what was compared", _decision_id),
        Check("evaluation.evidence", "What the decision names as its evidence is what is stored", _evidence),
        *(_part(name, says, shows) for name, (says, shows) in PARTS.items()),
        *(check for model in evidence.models for check in _of_model(model)),
        *(_baseline(name) for name in BASELINES),
        Check("evaluation.others", "Everything else in the decision is as computed again", _others),
        Check("evaluation.preview", "The preview of the winner shows its forecasts", _preview, preview),
        Check("evaluation.duration", "The recorded seconds of the judge fit between its start and its end", _duration),
        Check("evaluation.judged", "The record of the judge says what the decision says", _judged),
    ]
    return SectionChecks("evaluation", "Evaluation", checks)


def _keys(evidence: RunEvidence) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the claims about the decision and its preview vouch for; nothing where no judge names a decision."""
    with evidence.noting():
        try:
            judged = evidence.judged
        except DamagedObject:
            judged = None
    if judged is None:
        return (), ()
    named = judged.scope, judged.decision_id
    return (layout.decision(*named),), (layout.preview(*named),)


def again(evidence: RunEvidence) -> DecisionRecord:
    """The decision made again from the stored forecasts.

    Raises StageFailed where the store no longer has what the decision was compared with.
    """
    return evidence.once("decision again", lambda: _again(evidence))


def _again(evidence: RunEvidence) -> DecisionRecord:
    experiment, scope = evidence.experiment, evidence.claim.scope
    rehearsal = Rehearsal(evidence, first_results(evidence), made_since(evidence))
    gathered = gather(rehearsal, experiment, scope, evidence.run)
    if isinstance(gathered, Waiting):
        missing = ", ".join(gathered.missing)
        raise DamagedObject(f"neither a result nor a failure is stored for {missing}", code="result-missing")
    stored, made = evidence.decision, None
    candidates = [_as_first_said(evidence, stored, candidate) for candidate in gathered]
    for entries in _standings(evidence):
        made = judge(rehearsal, experiment, candidates, scope, entries).record
        if stored is not None and made.decision_id == stored.decision_id:
            break
    if made is None:
        raise _without_champion(evidence)
    return made


def _as_first_said(evidence: RunEvidence, stored: DecisionRecord | None, candidate: Candidate) -> Candidate:
    """A candidate without a forecast, with the reason of the run that first made this decision.

    Later runs may come to the same decision for other reasons: these are no part of decision_id.
    """
    rows = stored.candidates if stored and candidate.forecast is None else []
    row = next((row for row in rows if isinstance(row, UnrankedRow) and row.model == candidate.name), None)
    if row is None or (row.status, row.reason) == (candidate.status, candidate.reason):
        return candidate
    said = row.status == candidate.status and any(
        f"{failure.error}: {failure.reason}" == row.reason for failure in failures_until_now(evidence, row.model)
    )
    return dataclasses.replace(candidate, reason=row.reason) if said else candidate


def _without_champion(evidence: RunEvidence) -> FltsError:
    """The error for a decision whose champion is not in the log: one of both was changed since."""
    judged, log = evidence.judged, evidence.log
    newest = judged.promotion if judged else None
    if newest is not None and newest <= len(log.entries):
        return DamagedObject(
            f"{evidence.decision_key} names a champion that the promotion log did not have at its time",
            code="champion-unknown",
            key=evidence.decision_key,
        )
    return StageFailed(
        "the champion that the candidates were compared with is no longer in the promotion log", code="champion-gone"
    )


def _standings(evidence: RunEvidence) -> list[Sequence[LogEntry]]:
    """The logs that the judge may have seen, the likeliest first: those whose champion the decision names."""
    stored, entries = evidence.decision, evidence.log.entries
    if stored is None:
        return []
    entry = evidence.entry
    if entry is not None:
        lengths = [entry.number - 1]
    else:
        newest = evidence.judged.promotion if evidence.judged else None
        lengths = list(range(min(newest or 0, len(entries)), evidence.claim.promotion - 1, -1))
    wanted = stored.champion.model_hash if stored.champion else None
    seen = [entries[:length] for length in lengths]
    return [log for log in seen if (log[-1].champion.model_hash if log else None) == wanted]


def _needs_decision(look: Callable[[RunEvidence, DecisionRecord], Found]) -> Callable[[RunEvidence], Found]:
    def look_at(evidence: RunEvidence) -> Found:
        decision = evidence.decision
        return absent("this run was not judged") if decision is None else look(evidence, decision)

    return look_at


@_needs_decision
def _decision(evidence: RunEvidence, decision: DecisionRecord) -> Found:
    key = evidence.decision_key
    assert key is not None
    found = evidence.digest(key)
    told = told_of_decision(evidence)
    against = [who for who, digest in told.items() if digest != found]
    if not against:
        return recorded(found)
    changed = key if len(told) == len(against) > 1 else against[0] if len(told) > 1 else f"{key} or {against[0]}"
    return Found(FALSE, told[against[0]], found, f"{changed} was changed; {layout.mend(key)}")


@_needs_decision
def _decision_id(evidence: RunEvidence, decision: DecisionRecord) -> Found:
    return same(
        decision.decision_id,
        again(evidence).decision_id,
        f"{evidence.decision_key} was made from other things than are stored",
    )


def _part(name: str, says: str, shows: Shows) -> Check:
    def look(evidence: RunEvidence, decision: DecisionRecord) -> Found:
        made = again(evidence)
        first, second = (_plain(getattr(record, name)) for record in (decision, made))
        found = _differences(first, second, f"{name} in {evidence.decision_key}")
        return dataclasses.replace(found, expected=shows(decision), found=shows(made))

    return Check(f"evaluation.{name}", f"{says} as computed again", _needs_decision(look))


def _of_model(model: str) -> list[Check]:
    return [
        *(_figure(model, name, words, value) for name, (words, value) in FIGURES.items()),
        Check(f"evaluation.{model}.row", f"The whole row of {model} is as computed again", _row(model)),
    ]


def _figure(model: str, name: str, words: str, value: Callable[[CandidateRow], JsonValue]) -> Check:
    def look(evidence: RunEvidence, decision: DecisionRecord) -> Found:
        stored, made = decision.row(model), again(evidence).row(model)
        if stored is None and made is None:
            return absent(f"{model} has no forecast")
        first, second = value(stored) if stored else None, value(made) if made else None
        if first is None and second is None:
            return absent(f"{model} has no {words}")
        return same(first, second, f"{evidence.decision_key} names another {words} of {model} than computed again")

    return Check(f"evaluation.{model}.{name}", f"The {words} of {model} is as computed again", _needs_decision(look))


def _baseline(name: str) -> Check:
    def look(evidence: RunEvidence, decision: DecisionRecord) -> Found:
        stored, made = (
            next((row.score for row in record.ranked_baselines if row.model == name), None)
            for record in (decision, again(evidence))
        )
        if stored is None and made is None:
            return absent(f"{name} does not apply to these rows")
        return same(stored, made, f"{evidence.decision_key} names another score of {name} than computed again")

    return Check(
        f"evaluation.{name}.score", f"The score of the baseline {name} is as computed again", _needs_decision(look)
    )


def _row(model: str) -> Callable[[RunEvidence], Found]:
    def look(evidence: RunEvidence, decision: DecisionRecord) -> Found:
        rows = [
            next((row for row in record.candidates if row.model == model), None)
            for record in (decision, again(evidence))
        ]
        return _differences(_plain(rows[0]), _plain(rows[1]), f"the row of {model} in {evidence.decision_key}")

    return _needs_decision(look)


@_needs_decision
def _others(evidence: RunEvidence, decision: DecisionRecord) -> Found:
    stored, made = _plain(decision), _plain(again(evidence))
    made = {name: value for name, value in made.items() if name in stored or name not in LATER}
    return _differences(stored, made, str(evidence.decision_key))


def _duration(evidence: RunEvidence) -> Found:
    judged = evidence.judged
    return absent("this run was not judged") if judged is None else took(evidence.part("judge"), judged)


@_needs_decision
def _evidence(evidence: RunEvidence, decision: DecisionRecord) -> Found:
    """Each object by its digest, and the baselines, which are not stored, forecast again."""
    told, key = decision.evidence, evidence.decision_key
    if told is None:
        return absent(f"{key} is of an earlier flts, which did not record it")
    for name, expected in told.objects.items():
        found = evidence.digest(name)
        if found != expected and kept_aside(evidence, name, expected) is None:
            return Found(FALSE, expected, found, f"{name} is not the one that the decision names; {layout.mend(name)}")
    made = again(evidence).evidence
    assert made is not None
    for name in sorted({*told.baselines, *made.baselines}):
        first, second = told.baselines.get(name), made.baselines.get(name)
        if first != second:
            return Found(FALSE, first, second, f"{key} names other forecasts of {name} than computed again")
    return recorded(len(told.objects) + len(told.baselines))


@_needs_decision
def _preview(evidence: RunEvidence, decision: DecisionRecord) -> Found:
    if decision.preview_sha256 is None:
        return absent("there is no winner to preview")
    key = layout.preview(decision.scope, decision.decision_id)
    data = evidence.get(key)
    if data is None:
        return Found(FALSE, decision.preview_sha256, None, f"{key} is absent; {layout.restore(key)}")
    return same(decision.preview_sha256, sha256(data), f"{key} was changed; {layout.mend(key)}")


@_needs_decision
def _judged(evidence: RunEvidence, decision: DecisionRecord) -> Found:
    judged = evidence.judged
    assert judged is not None
    for model in sorted({*judged.run_ids, *(row.model for row in decision.candidates)}):
        part, run_id = evidence.trained(model) or evidence.failed(model), judged.run_ids.get(model)
        if part is not None and part.run_id != run_id:
            return Found(FALSE, part.run_id, run_id, f"{evidence.part('judge')} names another tracked run of {model}")
    return same(decision.outcome, judged.outcome, f"{evidence.part('judge')} records another outcome than the decision")


def _differences(stored: Any, made: Any, what: str) -> Found:
    differing = explain(_keyed(stored), _keyed(made))
    if not differing:
        return Found(TRUE)
    shown = "; ".join(map(str, differing[:MOST]))
    more = f" and {len(differing) - MOST} more" if len(differing) > MOST else ""
    return Found(FALSE, reason=f"{what} is not the one computed again: {shown}{more}")


def _keyed(value: Any) -> Any:
    """Lists as mappings, so that a difference is shown at its place."""
    if isinstance(value, dict):
        return {key: _keyed(item) for key, item in value.items()}
    if isinstance(value, list):
        return {str(place): _keyed(item) for place, item in enumerate(value)}
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value.model_dump(mode="json", by_alias=True) if hasattr(value, "model_dump") else value
