"""A decision for people: the scoreboard, the winner with reasons and certainty, and where everything is stored."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from flts.contracts.errors import visible
from flts.contracts.records.decision import METRICS, CandidateRow, Metric
from flts.evaluate.profile import WEEKDAYS
from flts.promotion import words
from flts.promotion.words import COVERAGE, LEVEL, NOT_COUNTED

if TYPE_CHECKING:
    from rich.table import Table

    from flts.contracts.records.decision import (
        BaselineRow,
        DecisionRecord,
        HourErrors,
        StepErrors,
        WeekdayErrors,
    )
    from flts.runner.local import RunResult

STEPS_SHOWN = 24
ERRORS = ("RMSE", "MAE", "cells")


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
    for note in words.notes(decision):
        _say(console, f"  {note.text}", style="red" if note.fault else "dim")
    for sentence in words.why(decision):
        _say(console, f"  {sentence}")
    certainty = decision.certainty
    if certainty is None:
        return
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
        words.between(row.score_interval),
        *(_error(getattr(row, name), metric) for name, metric in METRICS.items()),
        *([words.number(row.units[targets[0]].rmse)] if len(targets) == 1 else []),
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
            words.between(result.interval, "{:.1%}"),
            f"{result.width:.4f}",
            *([f"{static[level]:.1%}"] if static else []),
        ]
        for level, result in (winner.coverage or {}).items()
    ]
    return make_table(["level", "coverage", "95 %", "mean width, scaled", *(["static"] if static else [])], rows)


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
    """A table to print, its texts as they are: square brackets are no markup.

    left: headings of the text columns; without it all columns are text that may fold.
    """
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in headings:
        if left is None:
            table.add_column(escape(heading), overflow="fold")
        else:
            table.add_column(escape(heading), justify="left" if heading in left else "right", no_wrap=True)
    for position, row in enumerate(rows):
        table.add_row(*map(escape, row), style=styles[position] if styles else None)
    return table


def open_console() -> Any:
    """The console that results are printed on; control characters in what they name are escaped."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Shown(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else visible(text), style, control)

    # a pipe has no width, and a folded scoreboard cannot be read or searched
    return Shown() if sys.stdout.isatty() else Shown(width=180, no_color=True)
