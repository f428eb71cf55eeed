"""A decision for people: the scoreboard, the winner with reasons and certainty, and where everything is stored."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from flts.contracts.records.decision import METRICS, AbsentBaseline, CandidateRow, Metric, UnrankedRow
from flts.evaluate.profile import WEEKDAYS

if TYPE_CHECKING:
    from rich.table import Table

    from flts.contracts.records.decision import (
        BaselineRow,
        DecisionRecord,
        HourErrors,
        Interval,
        Lead,
        SmallestLead,
        StepErrors,
        WeekdayErrors,
    )
    from flts.runner.local import RunResult

STEPS_SHOWN = 24
ERRORS = ("RMSE", "MAE", "cells")
LEVEL = "0.8"
COVERAGE = "coverage (80 %)"
ONE_FIT = "its forecasts depend on dates alone, and it is not fitted again at each origin"
NOT_COUNTED = "not counted: other experiments that were tried on the same rows make a lucky winner more likely"


def print_result(result: RunResult) -> None:
    """The output at the end of `flts run`."""
    print_decision(result.decision, result.durations_ms)
    console = open_console()
    outcome = result.decision.outcome
    champion = result.champion.champion if result.champion else None
    if result.promoted and champion:
        line = f"[bold green]promoted[/]  {champion.model} is champion of '{result.scope}'"
    elif outcome == "promote" and result.repeated and champion:
        line = (
            f"[bold]unchanged[/]  this decision is in the log already and is not applied again;"
            f" champion of '{result.scope}': {champion.model}"
        )
    elif champion:
        line = f"[bold]unchanged[/]  champion of '{result.scope}' stays {champion.model}"
    else:
        line = f"[bold red]nothing promoted[/]  scope '{result.scope}' has no champion"
    console.print(line, highlight=False)
    for name, verdict in sorted(result.recomputed.items()):
        if verdict is not None:
            console.print(f"  recomputed {name}: {verdict.replace('_', ' ')}", highlight=False)
    for warning in result.warnings:
        _say(console, f"  note: {warning}", style="dim")
    console.print(f"  run        {result.config_hash[:12]} #{result.run}", highlight=False, style="dim")
    for name, place in result.places.items():
        _say(console, f"  {name:<10} {place}", style="dim")


def print_decision(decision: DecisionRecord, durations_ms: Mapping[str, int | None] | None = None) -> None:
    """Scoreboard, reasons and warnings of a stored decision."""
    console = open_console()
    console.print()
    console.print(_board(decision, durations_ms or {}))
    console.print()
    _print_notes(decision, console)
    for reason in decision.reasons:
        _say(console, f"  {reason}")
    if decision.sure:
        _say(console, f"  {decision.sure}")
    winner = decision.row(decision.winner)
    if winner is not None and winner.adaptive is not None and not winner.no_intervals:
        _say(console, f"  {_followed(winner, decision.windows.count)}")
    certainty = decision.certainty
    if certainty is None:
        return
    leads = {
        "the runner-up": certainty.runner_up,
        "the baseline": certainty.best_baseline,
        "the champion": certainty.champion,
    }
    for against, lead in leads.items():
        if lead is not None:
            _say(console, f"  {_lead(against, lead)}")
    # with "not-worse" the gate tests another difference than this lead, and against the reference
    tested_otherwise = decision.rules.gate == "not-worse" and certainty.champion is not None
    if certainty.smallest_lead is not None and not tested_otherwise:
        _say(console, f"  {_smallest(certainty.smallest_lead)}")
    for warning in certainty.warnings:
        _say(console, warning, label="  [yellow]caution[/]  ")
    _say(console, f"  {NOT_COUNTED}", style="dim")


def print_details(decision: DecisionRecord) -> None:
    """Why each other model did not win; intervals of the winner, and its errors per step, hour and weekday."""
    console = open_console()
    if decision.why_not:
        console.print("\n[bold]why not the others[/]")
    for other in decision.why_not:
        _say(console, f"  {other.model}: {other.why_not}")
    winner = decision.row(decision.winner)
    if winner is None:
        return
    if winner.no_intervals:
        _say(console, f"\nno intervals: {winner.no_intervals}")
    else:
        console.print("\n[bold]intervals of the winner on test[/]")
        console.print(_levels(winner))
    console.print("\n[bold]errors of the winner, scaled[/]")
    console.print(_steps(winner))
    console.print(make_table(["hour", *ERRORS], [[str(at.hour), *_errors(at)] for at in winner.profile.hour]))
    days = [[WEEKDAYS[at.weekday], *_errors(at)] for at in winner.profile.weekday]
    console.print(make_table(["weekday", *ERRORS], days))


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    plain = dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
    json.dump(plain, sys.stdout, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False, default=_stored)
    sys.stdout.write("\n")


def _stored(value: object) -> Any:
    """A record in a document, in its stored form."""
    if not isinstance(value, BaseModel):
        raise TypeError(f"{type(value).__name__} has no JSON form")
    return value.model_dump(mode="json", by_alias=True)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A plain table."""
    open_console().print(make_table(headings, rows), highlight=False)


def _say(console: Any, text: str, *, label: str = "", style: str = "") -> None:
    """A line of text as it is: its square brackets are not markup, and it is not folded."""
    from rich.markup import escape

    console.print(f"{label}{escape(text)}", highlight=False, soft_wrap=True, style=style)


def _print_notes(decision: DecisionRecord, console: Any) -> None:
    """What the table cannot say about its rows."""
    for row in decision.candidates:
        if isinstance(row, UnrankedRow):
            kind = "not applicable" if row.status == "N/A" else "failed"
            _say(console, f"  {row.model} {kind}: {row.reason}", style="red")
            continue
        if row.uses_history is False:
            _say(console, f"  {row.model} is judged from one fit: {ONE_FIT}", style="dim")
        for verdict in row.limits.values():
            if not verdict.passed:
                _say(console, f"  {row.model} not eligible: {verdict.reason}", style="red")
    for baseline in decision.baselines:
        if isinstance(baseline, AbsentBaseline) and baseline.reason:
            _say(console, f"  {baseline.model} not applicable: {baseline.reason}", style="dim")


def _board(decision: DecisionRecord, durations_ms: Mapping[str, int | None]) -> Table:
    targets = decision.yardstick.targets
    single = [f"RMSE of {targets[0]}"] if len(targets) == 1 else []
    headings = [
        "rank",
        "model",
        "score",
        "95 %",
        *(m.heading for m in METRICS.values()),
        *single,
        "skill",
        COVERAGE,
        "time",
    ]
    rows = [_board_line(row, targets, durations_ms) for row in decision.ranked]
    rows += [_board_line(row, targets, durations_ms) for row in decision.ranked_baselines]
    styles = ["bold" if row.model == decision.winner else None for row in decision.ranked]
    return make_table(headings, rows, [*styles, *["dim"] * len(decision.ranked_baselines)], left=("model",))


def _board_line(
    row: CandidateRow | BaselineRow, targets: Sequence[str], durations_ms: Mapping[str, int | None]
) -> list[str]:
    candidate = row if isinstance(row, CandidateRow) else None
    skill = candidate.skill if candidate else None
    covered = (candidate.coverage or {}).get(LEVEL) if candidate else None
    duration = durations_ms.get(row.model)
    return [
        str(candidate.rank) if candidate else "",
        row.model if candidate else f"{row.model} (baseline)",
        f"{row.score:.4f}",
        _between(row.score_interval),
        *(_error(getattr(row, name), metric) for name, metric in METRICS.items()),
        *([_number(row.units[targets[0]].rmse)] if len(targets) == 1 else []),
        "" if skill is None else f"{skill:+.1%}",
        f"{covered.coverage:.1%}" if covered else "",
        "" if duration is None else f"{duration / 1000:.1f}s",
    ]


def _error(value: float | None, metric: Metric) -> str:
    return "" if value is None else f"{value:.{metric.decimals}f}"


def _levels(winner: CandidateRow) -> Table:
    """Coverage per level, beside what the static offsets alone cover where some windows are adaptive."""
    static = winner.static_coverage
    rows = [
        [
            f"{float(level):.0%}",
            f"{result.coverage:.1%}",
            _between(result.interval, "{:.1%}"),
            f"{result.width:.4f}",
            *([f"{static[level]:.1%}"] if static else []),
        ]
        for level, result in (winner.coverage or {}).items()
    ]
    return make_table(["level", "coverage", "95 %", "mean width, scaled", *(["static"] if static else [])], rows)


def _followed(winner: CandidateRow, windows: int) -> str:
    """How many windows had adaptive intervals, and what both kinds cover at 80 %."""
    adaptive = winner.adaptive or 0
    counted = f"intervals of {winner.model}: adaptive in {adaptive:,} windows, static in {windows - adaptive:,}"
    pooled = (winner.coverage or {}).get(LEVEL)
    if not adaptive or pooled is None or winner.static_coverage is None:
        return counted
    return f"{counted}; at 80 % they cover {pooled.coverage:.1%}, static ones alone {winner.static_coverage[LEVEL]:.1%}"


def _steps(winner: CandidateRow) -> Table:
    """Errors per step, with coverage and width where the winner has intervals."""
    pooled = (winner.coverage or {}).get(LEVEL)
    covered = {at.step: [f"{at.coverage:.1%}", f"{at.width:.4f}"] for at in pooled.step} if pooled else {}
    steps = winner.profile.step[:STEPS_SHOWN]
    rows = [[str(at.step), *_errors(at), *covered.get(at.step, ())] for at in steps]
    return make_table(["step", *ERRORS, *([COVERAGE, "width"] if covered else [])], rows)


def _errors(at: StepErrors | HourErrors | WeekdayErrors) -> list[str]:
    return [f"{at.rmse:.4f}", f"{at.mae:.4f}", f"{at.cells:,}"]


def make_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    styles: Sequence[str | None] = (),
    left: Sequence[str] | None = None,
) -> Table:
    """A table to print. left: headings of the text columns; without it all columns are text that may fold."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in headings:
        if left is None:
            table.add_column(heading, overflow="fold")
        else:
            table.add_column(heading, justify="left" if heading in left else "right", no_wrap=True)
    for position, row in enumerate(rows):
        table.add_row(*row, style=styles[position] if styles else None)
    return table


def _lead(against: str, lead: Lead) -> str:
    relative = "" if lead.relative_lead is None else f" ({lead.relative_lead:+.1%})"
    between = f", 95 % interval {_between(lead.interval, '{:+.4f}')}" if lead.interval else ""
    tested = ""
    if lead.test is not None and lead.test.p is not None:
        adjusted = lead.test.adjusted_p
        tested = f", p = {lead.test.p:.2g}" if adjusted is None else f", adjusted p = {adjusted:.2g}"
    elif lead.diebold_mariano is not None and lead.diebold_mariano.p is not None:
        tested = f", Diebold-Mariano p = {lead.diebold_mariano.p:.2g}"
    return f"lead over {against} {lead.model}: {lead.lead:+.4f}{relative}{between}{tested}"


def _smallest(found: SmallestLead) -> str:
    relative = "" if found.relative is None else f" ({found.relative:.1%} of its score)"
    shown = f"smallest lead over {found.over} that these windows can show at level {found.level:.2g}"
    return f"{shown}: {found.lead:.4f}{relative}"


def _between(interval: Interval | None, form: str = "{:.4f}") -> str:
    return f"{form.format(interval.low)} to {form.format(interval.high)}" if interval else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def open_console() -> Any:
    """The console that results are printed on."""
    from rich.console import Console

    # a pipe has no width, and a folded scoreboard cannot be read or searched
    return Console() if sys.stdout.isatty() else Console(width=180, no_color=True)
