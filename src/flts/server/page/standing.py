"""What a person asks about a champion: is it better than repeating the past, since when, is it getting worse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from flts.contracts.records.decision import BaselineRow, DecisionRecord, Lead, WeightsRecord
from flts.contracts.records.live import Live, LiveErrors, LiveSkill
from flts.contracts.records.log import LogEntry
from flts.contracts.records.model import Manifest
from flts.promotion.words import LEVEL, NOT_COUNTED, notes, why
from flts.server.page.evidence import Current
from flts.server.page.shown import Moment, ago, lasting, moment, moment_of, percent
from flts.spec.steps import Step

Tone = Literal["good", "open", "bad"]
SEASONAL = "seasonal_naive"
NOT_MEASURED = "Not measured"


@dataclass(frozen=True)
class BoardQuestion:
    """A question, its answer in a few words, and the sentences behind it. tone: good, bad, or open: not known.

    command: what would answer it, for the terminal.
    """

    question: str
    answer: str
    details: Sequence[str]
    tone: Tone
    command: str = ""


@dataclass(frozen=True)
class ToldDecision:
    """How a decision is told: a heading that claims no more than was shown, reasons and doubts."""

    heading: str
    reasons: Sequence[str]
    doubts: Sequence[str]
    remarks: Sequence[str]


def told(decision: DecisionRecord) -> ToldDecision:
    """A lead within the noise is not called a win."""
    said = list(notes(decision))
    doubts = [*(decision.certainty.warnings if decision.certainty else []), *(n.text for n in said if n.fault)]
    remarks = [*(note.text for note in said if not note.fault), NOT_COUNTED]
    return ToldDecision(_heading(decision), list(why(decision)), doubts, remarks)


def _heading(decision: DecisionRecord) -> str:
    winner, certainty = decision.winner, decision.certainty
    if winner is None or certainty is None:
        return "No model won"
    if certainty.chosen_among == 1:
        return f"{winner} is the only model with a forecast"
    if certainty.runner_up is not None and beyond_noise(certainty.runner_up):
        return f"Why {winner} won"
    return f"{winner} leads, within the noise"


def beyond_noise(lead: Lead) -> bool:
    """Whether a lead is shown: its 95 % interval lies above zero."""
    return lead.interval is not None and lead.interval.low > 0.0


def against_the_past(entry: LogEntry, decision: DecisionRecord | None, manifest: Manifest) -> BoardQuestion:
    """Whether the champion is better than a forecast that anyone can make."""
    asked = "Better than repeating the past?"
    row = decision.row(entry.champion.model) if decision else None
    if decision is None or row is None:
        return BoardQuestion(asked, "Unknown", ["The decision behind this promotion cannot be read."], "open")
    baselines = {baseline.model: baseline for baseline in decision.ranked_baselines}
    baseline = baselines.get(SEASONAL) or baselines.get("naive")
    if baseline is None:
        return BoardQuestion(asked, "Unknown", ["No baseline has a forecast of the test windows."], "open")
    details = [_compared(row.score, baseline, _repeating(baseline.model, manifest), decision.windows.count)]
    best = decision.ranked_baselines[0]
    if best.model != baseline.model:
        repeating = _repeating(best.model, manifest)
        details.append(_compared(row.score, best, repeating, decision.windows.count))
    answer, tone, sentence = _verdict(row.score, best, _lead(decision, entry, best.model))
    return BoardQuestion(asked, answer, [*details, sentence], tone)


def _compared(score: float, baseline: BaselineRow, repeating: str, windows: int) -> str:
    numbers = f"({score:.4f} against {baseline.score:.4f}, {windows:,} test windows)"
    if baseline.score <= 0.0:
        return f"Repeating {repeating} makes no error {numbers}."
    skill = 1.0 - score / baseline.score
    if round(skill, 3) == 0.0:
        return f"Its error score is that of repeating {repeating} {numbers}."
    side = "lower" if skill > 0.0 else "higher"
    return f"Its error score is {percent(skill)} {side} than that of repeating {repeating} {numbers}."


def _verdict(score: float, best: BaselineRow, lead: Lead | None) -> tuple[str, Tone, str]:
    if score >= best.score:
        return "No", "bad", f"The baseline {best.model}, a forecast that anyone can make, is at least as good."
    if lead is None:
        return (
            "Lower error",
            "open",
            "Whether its lead is more than noise was tested for another model, the winner.",
        )
    if lead.interval is None:
        return "Not shown", "open", "Whether this lead is more than noise is unknown: there are too few windows."
    if not beyond_noise(lead):
        return "Not shown", "open", "This lead is smaller than the noise: its 95 % interval contains zero."
    return "Yes", "good", "This lead is larger than the noise."


def _lead(decision: DecisionRecord, entry: LogEntry, baseline: str) -> Lead | None:
    """The lead of the champion over a baseline, where the decision has it: it is that of the winner."""
    found = decision.certainty.best_baseline if decision.certainty else None
    return found if found and decision.winner == entry.champion.model and found.model == baseline else None


def _repeating(baseline: str, manifest: Manifest) -> str:
    if baseline != SEASONAL or not manifest.seasons:
        return "the last value"
    return f"the value {lasting(manifest.seasons[0], Step.parse(manifest.fitted.grid.step))} earlier"


def since_when(current: Current, now: float) -> BoardQuestion:
    """Since when the champion serves."""
    entry = current.entry
    details = [
        f"Promotion {entry.number}, {ago(entry.time, now)}: {kind(entry)} ({entry.actor}).",
        f"This server answers with it since {moment_of(current.since).text}.",
    ]
    return BoardQuestion("Since when does it serve?", promoted(entry).text, details, "good")


def stale(current: Current) -> str:
    """Why the newest promotion does not serve; empty where it does. The reason may name places, and is in the log."""
    if current.stale_since is None:
        return ""
    return (
        f"A newer promotion cannot be served since {moment_of(current.stale_since).text}; promotion"
        f" {current.entry.number} goes on answering. The log of the server says why."
    )


def promoted(entry: LogEntry) -> Moment:
    """When an entry was written."""
    return moment(entry.time)


def kind(entry: LogEntry) -> str:
    """How a model became champion."""
    match entry.kind:
        case "rollback":
            return f"a rollback to promotion {entry.restores}"
        case "manual":
            return "promoted by hand"
        case "promote":
            return "promoted by the judge"


def is_it_worse(live: Live | None, entry: LogEntry, decision: DecisionRecord | None) -> BoardQuestion:
    """How the forecasts that were served compare with those of the test windows, on the same scale."""
    asked, champion = "Is it getting worse?", entry.champion
    if live is None:
        said = "No truth was compared with the forecasts that were served."
        command = f"flts predictions join --truth FILE --scope {entry.scope} --write"
        return BoardQuestion(asked, NOT_MEASURED, [said], "open", command)
    found = next((model for model in live.models if model.model_hash == champion.model_hash), None)
    row = decision.row(champion.model) if decision else None
    computed = f"Computed {moment(live.made).text}."
    if live.bundle_sha256 != champion.bundle_sha256 or row is None:
        return BoardQuestion(asked, NOT_MEASURED, [f"{computed} Another model was champion then."], "open")
    if found is None or not found.errors.cells:
        return BoardQuestion(asked, NOT_MEASURED, [f"{computed} No forecast of this model had truth."], "open")
    score = _composite(found.errors, live.weights)
    details = [
        f"Its error score was {score:.4f} in {found.errors.cells:,} forecasts with truth, and {row.score:.4f} on the"
        " test windows. No test says whether the difference is noise.",
        *_live_skill(found.skill),
        *_live_coverage(live),
        computed,
    ]
    needed = decision.certainty.windows_needed if decision and decision.certainty else 0
    if found.origins < needed:
        few = f"{found.origins:,} origins with truth are too few to say; the test windows needed {needed:,}."
        return BoardQuestion(asked, "Too early to say", [few, *details], "open")
    answer, tone = _live_verdict(score, row.score, found.skill.skill)
    return BoardQuestion(asked, answer, details, tone)


def _composite(errors: LiveErrors, weights: WeightsRecord) -> float:
    return weights.rmse * errors.rmse + weights.mae * errors.mae + weights.mse * errors.mse


def _live_verdict(score: float, before: float, skill: float | None) -> tuple[str, Tone]:
    if skill is not None and skill <= 0.0:
        return "Worse than repeating the past", "bad"
    if score <= before:
        return "No", "good"
    return (f"{percent(score / before - 1.0)} more error", "open") if before else ("More error", "open")


def _live_skill(found: LiveSkill) -> Iterator[str]:
    if found.skill is None:
        return
    if found.skill <= 0.0:
        yield f"The baseline {found.baseline}, a forecast that anyone can make, was at least as good there."
    else:
        yield f"It removed {percent(found.skill)} of the error score of {found.baseline} there."


def _live_coverage(live: Live) -> Iterator[str]:
    found = live.coverage.get(LEVEL)
    if found is not None and found.cells:
        whose = "Its" if len(live.models) == 1 else "All models'"
        yield f"{whose} 80 % intervals held the truth in {percent(found.coverage)} of {found.cells:,}."
