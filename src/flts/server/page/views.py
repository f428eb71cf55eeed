"""What each page shows, as plain values made of stored records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flts.contracts.errors import DamagedObject
from flts.contracts.records.decision import DecisionRecord
from flts.contracts.records.log import LogEntry
from flts.contracts.records.model import Manifest
from flts.evaluate.profile import WEEKDAYS
from flts.promotion.words import between
from flts.server.page.box import Box
from flts.server.page.chart import Chart, of_preview
from flts.server.page.evidence import Current, Judgement, PageReader
from flts.server.page.promotions import Promotions, promotions
from flts.server.page.scoreboard import Board, board
from flts.server.page.shown import Moment, lasting, moment_of
from flts.server.page.standing import (
    BoardQuestion,
    ToldDecision,
    against_the_past,
    is_it_worse,
    kind,
    promoted,
    since_when,
    stale,
    told,
)
from flts.spec.steps import SECOND, Step

UTC = "UTC"


@dataclass(frozen=True)
class Plain:
    """A small table; its first column is text, the others are numbers."""

    name: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class DecisionParts:
    """What both the first page and that of a decision show of it.

    windows: how many test windows, of when; chart: None where there is no preview, and no_chart says why.
    """

    decision_id: str
    told: ToldDecision
    board: Board
    windows: str
    targets: Sequence[str]
    chart: Chart | None
    no_chart: str


@dataclass(frozen=True)
class Home:
    """The first page of a scope. decision: None where it cannot be read."""

    model: str
    number: int
    forecasts: str
    questions: Sequence[BoardQuestion]
    stale: str
    decision: DecisionParts | None
    chosen_for: str
    box: Box
    promotions: Promotions | None


@dataclass(frozen=True)
class DecisionPage:
    """The page of one decision."""

    title: str
    outcome: str
    promotions: Sequence[tuple[int, Moment, str]]
    """Number, time, and which model was promoted how and by whom."""
    parts: DecisionParts
    why_not: Sequence[tuple[str, str]]
    tables: Sequence[Plain]
    rules: Sequence[tuple[str, str]]
    identity: Sequence[tuple[str, str]]


def home_view(
    current: Current, manifest: Manifest, evidence: PageReader, target: str | None, form: Box, newest: int, now: float
) -> Home:
    """What the store cannot tell is left out, and the page says so."""
    entry = current.entry
    judgement = _behind(evidence, entry)
    decision = judgement.decision if judgement else None
    step = Step.parse(manifest.fitted.grid.step)
    ahead = lasting(manifest.horizon, step)
    return Home(
        model=entry.champion.model,
        number=entry.number,
        forecasts=f"{_listed(manifest.targets)}, {ahead} ahead",
        questions=[
            against_the_past(entry, decision, manifest),
            since_when(current, now),
            is_it_worse(evidence.live(current.scope), entry, decision),
        ],
        stale=stale(current),
        decision=_parts(judgement, target, entry.champion.model_hash) if judgement else None,
        chosen_for=_chosen_for(entry, decision),
        box=form,
        promotions=_promotions(current, evidence, newest, None),
    )


def promotions_view(current: Current, evidence: PageReader, most: int, before: int | None) -> Promotions:
    """Some promotions. Raises DamagedObject."""
    entries, total = evidence.entries(current, most, before)
    return promotions(entries, total, current.entry.number, evidence.decision)


def decision_view(found: Judgement, entries: Sequence[LogEntry], current: Current, target: str | None) -> DecisionPage:
    """entries: the promotions that name this decision."""
    decision = found.decision
    named = f"promotion {entries[0].number}" if entries else decision.decision_id[:12]
    return DecisionPage(
        title=f"Decision of {named}",
        outcome=_outcome(decision),
        promotions=[
            (entry.number, promoted(entry), f"{entry.champion.model}, {kind(entry)} ({entry.actor})")
            for entry in entries
        ],
        parts=_parts(found, target, current.entry.champion.model_hash),
        why_not=[(other.model, other.why_not) for other in decision.why_not],
        tables=list(_tables(decision)),
        rules=_rules(decision),
        identity=_identity(decision),
    )


def _behind(evidence: PageReader, entry: LogEntry) -> Judgement | None:
    try:
        return evidence.behind(entry)
    except DamagedObject:
        return None


def _promotions(current: Current, evidence: PageReader, most: int, before: int | None) -> Promotions | None:
    try:
        return promotions_view(current, evidence, most, before)
    except DamagedObject:
        return None


def _chosen_for(entry: LogEntry, decision: DecisionRecord | None) -> str:
    """Why the champion is not the winner of the decision behind it; empty where it is."""
    if entry.kind == "manual":
        return f"{entry.champion.model} was promoted by hand, whatever the gates decided."
    if decision is not None and decision.winner != entry.champion.model:
        return f"{entry.champion.model} is not the winner of this decision."
    return f"{entry.champion.model} serves again after a rollback." if entry.kind == "rollback" else ""


def _parts(found: Judgement, target: str | None, champion: str) -> DecisionParts:
    decision, manifest = found.decision, found.manifest
    targets = decision.yardstick.targets
    chart, no_chart = None, "No model won, so there is no forecast to show." if decision.winner is None else ""
    zone = manifest.fitted.grid.timezone if manifest else UTC
    if found.preview is not None:
        chart = of_preview(found.preview, target if target in found.preview.targets else found.preview.targets[0], zone)
    elif not no_chart:
        no_chart = "The stored forecasts of this decision cannot be read."
    return DecisionParts(
        decision_id=decision.decision_id,
        told=told(decision),
        board=board(decision, champion),
        windows=_windows(decision, manifest),
        targets=targets,
        chart=chart,
        no_chart=no_chart,
    )


def _windows(decision: DecisionRecord, manifest: Manifest | None) -> str:
    first, last = (moment_of(at // SECOND).text for at in (decision.windows.first, decision.windows.last))
    horizon = f" of {manifest.horizon:,} steps" if manifest else ""
    return f"{decision.windows.count:,} test windows{horizon}, from {first} to {last}"


def _outcome(decision: DecisionRecord) -> str:
    match decision.outcome:
        case "promote":
            return f"{decision.winner} passed every gate."
        case "keep":
            kept = f"the champion stays {decision.champion.model}" if decision.champion else "there is no champion"
            return f"Nothing was promoted: {kept}."
        case "none":
            return "Nothing was promoted: no candidate has a forecast."


def _tables(decision: DecisionRecord) -> list[Plain]:
    winner = decision.row(decision.winner)
    if winner is None:
        return []
    errors = ["RMSE", "MAE", "cells"]
    found = []
    if winner.coverage:
        static = winner.static_coverage
        rows = [
            [
                f"{float(level):.0%}",
                f"{result.coverage:.1%}",
                between(result.interval, "{:.1%}"),
                f"{result.width:.4f}",
                *([f"{static[level]:.1%}"] if static else []),
            ]
            for level, result in winner.coverage.items()
        ]
        headings = ["level", "coverage", "95 %", "mean width, scaled", *(["static"] if static else [])]
        found.append(Plain(f"Intervals of {winner.model} on test", headings, rows))
    profile = winner.profile
    named = (
        ("step", [(f"{at.step}", at) for at in profile.step]),
        ("hour", [(f"{at.hour:02}", at) for at in profile.hour]),
        ("weekday", [(WEEKDAYS[at.weekday], at) for at in profile.weekday]),
    )
    for name, parts in named:
        rows = [[label, f"{at.rmse:.4f}", f"{at.mae:.4f}", f"{at.cells:,}"] for label, at in parts]
        found.append(Plain(f"Errors of {winner.model} per {name}, scaled", [name, *errors], rows))
    return found


def _rules(decision: DecisionRecord) -> list[tuple[str, str]]:
    rules = decision.rules.model_dump(exclude_none=True)
    weights = rules.pop("weights")
    shown = ", ".join(f"{name.upper()} {value:g}" for name, value in weights.items())
    return [*((name, str(value)) for name, value in rules.items()), ("weights", shown)]


def _identity(decision: DecisionRecord) -> list[tuple[str, str]]:
    found = [
        ("decision_id", decision.decision_id),
        ("config_hash", decision.config_hash),
        ("windows_hash", decision.windows.windows_hash),
    ]
    winner = decision.row(decision.winner)
    if winner is not None:
        found += [("model_hash", winner.model_hash), ("bundle_sha256", winner.bundle_sha256)]
    return found


def _listed(names: Sequence[str]) -> str:
    most = 4
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
