"""A decision for people: the scoreboard, the winner with reasons and certainty, and where everything is stored."""

from __future__ import annotations

import dataclasses
import json
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from flts.cli.table import FittingTable, fitting_table
from flts.contracts.errors import visible
from flts.contracts.records.decision import METRICS, CandidateRow, Metric
from flts.evaluate.profile import WEEKDAYS
from flts.promotion import words
from flts.promotion.words import COVERAGE, LEVEL, NOT_COUNTED

if TYPE_CHECKING:
    from flts.contracts.records.decision import (
        BaselineRow,
        DecisionRecord,
        HourErrors,
        StepErrors,
        WeekdayErrors,
    )
    from flts.runner.local import RunResult

STEPS_SHOWN = 24
ENDLESS = 100_000
"""Columns of a console without a width."""
ERRORS = ("RMSE", "MAE", "cells")


def print_result(result: RunResult, *, wide: bool = False) -> None:
    """The output at the end of `flts run`. wide: as of `open_console`."""
    print_decision(result.decision, result.durations_ms, wide=wide)
    console = open_console(wide=wide)
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
        say(console, f"  note: {warning}", style="dim")
    console.print(f"  run        {result.config_hash[:12]} #{result.run}", highlight=False, style="dim")
    for name, place in result.places.items():
        say(console, f"  {name:<10} {place}", style="dim")


def print_decision(
    decision: DecisionRecord, durations_ms: Mapping[str, int | None] | None = None, *, wide: bool = False
) -> None:
    """Scoreboard, reasons and warnings of a stored decision. wide: as of `open_console`."""
    console = open_console(wide=wide)
    console.print()
    console.print(_board(decision, durations_ms or {}), crop=False)
    console.print()
    for note in words.notes(decision):
        say(console, f"  {note.text}", style="red" if note.fault else "dim")
    for sentence in words.why(decision):
        say(console, f"  {sentence}")
    certainty = decision.certainty
    if certainty is None:
        return
    for warning in certainty.warnings:
        say(console, warning, label="  [yellow]caution[/]  ")
    say(console, f"  {NOT_COUNTED}", style="dim")


def print_details(decision: DecisionRecord, *, wide: bool = False) -> None:
    """Why each other model did not win; intervals of the winner, and its errors per step, hour and weekday.

    wide: as of `open_console`.
    """
    console = open_console(wide=wide)
    if decision.why_not:
        console.print("\n[bold]why not the others[/]")
    for other in decision.why_not:
        say(console, f"  {other.model}: {other.why_not}")
    winner = decision.row(decision.winner)
    if winner is None:
        return
    if winner.no_intervals:
        say(console, f"\nno intervals: {winner.no_intervals}")
    else:
        console.print("\n[bold]intervals of the winner on test[/]")
        console.print(_levels(winner))
    console.print("\n[bold]errors of the winner, scaled[/]")
    console.print(_steps(winner))
    console.print(fitting_table(["hour", *ERRORS], [[str(at.hour), *_errors(at)] for at in winner.profile.hour]))
    days = [[WEEKDAYS[at.weekday], *_errors(at)] for at in winner.profile.weekday]
    console.print(fitting_table(["weekday", *ERRORS], days))


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


def print_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, optional: Sequence[str] = (), wide: bool = False
) -> None:
    """A table of text. optional: as of `fitting_table`; wide: as of `open_console`."""
    table = fitting_table(headings, rows, optional=optional)
    open_console(wide=wide).print(table, highlight=False, crop=False)


def say(console: Any, text: str, *, label: str = "", style: str = "", indent: str = "    ") -> None:
    """A sentence as it is: its square brackets are not markup. A terminal gets it wrapped at words, then indented."""
    from rich.text import Text

    shown = Text.from_markup(label)
    lines = textwrap.wrap(
        shown.plain + text,
        console.width,
        subsequent_indent=indent,
        expand_tabs=False,
        replace_whitespace=False,
        break_long_words=False,  # the terminal does: a path that is copied stays one
        break_on_hyphens=False,
    )
    shown.append("\n".join(lines)[len(shown.plain) :])
    console.print(shown, highlight=False, soft_wrap=True, style=style)


def _board(decision: DecisionRecord, durations_ms: Mapping[str, int | None]) -> FittingTable:
    """The scoreboard; where it is too wide, how good a model is goes last, and what follows from the rest first."""
    targets = decision.yardstick.targets
    single = [f"RMSE of {targets[0]}"] if len(targets) == 1 else []
    metrics = [metric.heading for metric in METRICS.values()]
    figures = ["score", "95 %", *metrics, *single, "skill", COVERAGE, *(["time"] if durations_ms else [])]
    first = ["skill", COVERAGE, METRICS["rmse"].heading, *single, "95 %", METRICS["mase"].heading, "time"]
    rows = [_board_line(row, targets, durations_ms) for row in decision.ranked]
    rows += [_board_line(row, targets, durations_ms) for row in decision.ranked_baselines]
    styles = ["bold" if row.model == decision.winner else None for row in decision.ranked]
    return fitting_table(
        ["rank", "model", *figures],
        rows,
        [*styles, *["dim"] * len(decision.ranked_baselines)],
        numbers=["rank", *figures],
        optional=[*first, *(heading for heading in metrics if heading not in first)],
    )


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
        *(["" if duration is None else f"{duration / 1000:.1f}s"] if durations_ms else []),
    ]


def _error(value: float | None, metric: Metric) -> str:
    return "" if value is None else f"{value:.{metric.decimals}f}"


def _levels(winner: CandidateRow) -> FittingTable:
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
    return fitting_table(["level", "coverage", "95 %", "mean width, scaled", *(["static"] if static else [])], rows)


def _steps(winner: CandidateRow) -> FittingTable:
    """Errors per step, with coverage and width where the winner has intervals."""
    pooled = (winner.coverage or {}).get(LEVEL)
    covered = {at.step: [f"{at.coverage:.1%}", f"{at.width:.4f}"] for at in pooled.step} if pooled else {}
    steps = winner.profile.step[:STEPS_SHOWN]
    rows = [[str(at.step), *_errors(at), *covered.get(at.step, ())] for at in steps]
    return fitting_table(["step", *ERRORS, *([COVERAGE, "width"] if covered else [])], rows)


def _errors(at: StepErrors | HourErrors | WeekdayErrors) -> list[str]:
    return [f"{at.rmse:.4f}", f"{at.mae:.4f}", f"{at.cells:,}"]


def open_console(*, wide: bool = False) -> Any:
    """The console that results are printed on; control characters in what they name are escaped.

    wide: as if the terminal had no width.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Shown(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else visible(text), style, control)

    # a pipe has no width, and a folded scoreboard cannot be read or searched
    if not sys.stdout.isatty():
        return Shown(width=ENDLESS, no_color=True)
    return Shown(width=ENDLESS) if wide else Shown()
