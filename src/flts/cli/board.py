"""A decision for people: the scoreboard, the winner and why, how sure, and where everything is."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flts.evaluate.profile import WEEKDAYS

if TYPE_CHECKING:
    from rich.table import Table

    from flts.runner.local import RunResult

STEPS_SHOWN = 24
LEVEL = "0.8"


def print_result(result: RunResult) -> None:
    """What `flts run` ends with."""
    print_decision(result.decision, result.durations_ms)
    console = open_console()
    outcome = result.decision["outcome"]
    champion = result.champion["champion"] if result.champion else None
    if result.promoted and champion:
        line = f"[bold green]promoted[/]  {champion['model']} is champion of '{result.scope}'"
    elif outcome == "promote" and result.repeated and champion:
        line = (
            f"[bold]unchanged[/]  this decision is in the log already and is not applied again;"
            f" champion of '{result.scope}': {champion['model']}"
        )
    elif champion:
        line = f"[bold]unchanged[/]  champion of '{result.scope}' stays {champion['model']}"
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


def print_decision(decision: Mapping[str, Any], durations_ms: Mapping[str, int | None] | None = None) -> None:
    """Scoreboard, reasons and doubts of a stored decision."""
    console = open_console()
    console.print()
    console.print(_board(decision, durations_ms or {}))
    console.print()
    _print_unranked(decision, console)
    for reason in decision["reasons"]:
        _say(console, f"  {reason}")
    if decision["sure"]:
        _say(console, f"  {decision['sure']}")
    certainty = decision["certainty"]
    for role in ("runner_up", "best_referee", "champion"):
        if role in certainty:
            _say(console, f"  {_lead(role, certainty[role])}")
    for warning in certainty.get("warnings", ()):
        _say(console, warning, label="  [yellow]caution[/]  ")


def print_details(decision: Mapping[str, Any]) -> None:
    """Why not each of the others, and where the winner errs: per step, hour and weekday, with its intervals."""
    console = open_console()
    if decision["why_not"]:
        console.print("\n[bold]why not the others[/]")
    for other in decision["why_not"]:
        _say(console, f"  {other['model']}: {other['why_not']}")
    winner = next((row for row in decision["candidates"] if row["model"] == decision["winner"]), None)
    if winner is None:
        return
    if winner["no_intervals"]:
        _say(console, f"\nno intervals: {winner['no_intervals']}")
    else:
        console.print("\n[bold]intervals of the winner on test[/]")
        console.print(_levels(winner["coverage"] or {}))
    console.print("\n[bold]errors of the winner, scaled[/]")
    console.print(_profile_table("step", winner))
    console.print(_profile_table("hour", winner))
    console.print(_profile_table("weekday", winner))


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    plain = dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
    json.dump(plain, sys.stdout, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    sys.stdout.write("\n")


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A plain table."""
    open_console().print(make_table(headings, rows), highlight=False)


def _say(console: Any, text: str, *, label: str = "", style: str = "") -> None:
    """A line of a record as it stands: its square brackets are no markup, and a pipe gets it whole."""
    from rich.markup import escape

    console.print(f"{label}{escape(text)}", highlight=False, soft_wrap=True, style=style)


def _print_unranked(decision: Mapping[str, Any], console: Any) -> None:
    for row in decision["candidates"]:
        if row["status"] != "SUCCESS":
            kind = "not applicable" if row["status"] == "N/A" else "failed"
            _say(console, f"  {row['model']} {kind}: {row['reason']}", style="red")
            continue
        for verdict in row["limits"].values():
            if not verdict["passed"]:
                _say(console, f"  {row['model']} not eligible: {verdict['reason']}", style="red")
    for row in decision["referees"]:
        if row.get("reason"):
            _say(console, f"  {row['model']} not applicable: {row['reason']}", style="dim")


def _board(decision: Mapping[str, Any], durations_ms: Mapping[str, int | None]) -> Table:
    targets = decision["yardstick"]["targets"]
    single = [f"RMSE of {targets[0]}"] if len(targets) == 1 else []
    headings = ["rank", "model", "score", "95 %", "RMSE", "MAE", "MSE", "MASE", *single, "skill", "80 % held", "time"]
    ranked = [row for row in decision["candidates"] if row["rank"] is not None]
    rows, styles = [], []
    for row in [*ranked, *(row for row in decision["referees"] if "score" in row)]:
        referee = "rank" not in row
        duration = durations_ms.get(row["model"])
        covered = (row.get("coverage") or {}).get(LEVEL)
        rows.append(
            [
                "" if referee else str(row["rank"]),
                f"{row['model']} (referee)" if referee else row["model"],
                f"{row['score']:.4f}",
                _between(row["score_interval"]),
                *(f"{row[name]:.4f}" for name in ("rmse", "mae", "mse")),
                "" if row["mase"] is None else f"{row['mase']:.3f}",
                *([_number(row["units"][targets[0]]["rmse"])] if single else []),
                "" if referee or row["skill"] is None else f"{row['skill']:+.1%}",
                f"{covered['coverage']:.1%}" if covered else "",
                "" if duration is None else f"{duration / 1000:.1f}s",
            ]
        )
        styles.append("dim" if referee else ("bold" if row["model"] == decision["winner"] else None))
    return make_table(headings, rows, styles, left=("model",))


def _levels(coverage: Mapping[str, Any]) -> Table:
    rows = [
        [
            f"{float(level):.0%}",
            f"{found['coverage']:.1%}",
            _between(found["interval"], "{:.1%}"),
            f"{found['width']:.4f}",
        ]
        for level, found in coverage.items()
    ]
    return make_table(["level", "held", "95 %", "mean width, scaled"], rows)


def _profile_table(kind: str, winner: Mapping[str, Any]) -> Table:
    """One row per step, hour or weekday; steps with their coverage and width."""
    covered = {found["step"]: found for found in ((winner["coverage"] or {}).get(LEVEL) or {"step": []})["step"]}
    rows = []
    for found in winner["profile"][kind][:STEPS_SHOWN]:
        label = WEEKDAYS[found[kind]] if kind == "weekday" else str(found[kind])
        row = [label, f"{found['rmse']:.4f}", f"{found['mae']:.4f}", f"{found['cells']:,}"]
        if kind == "step" and covered:
            row += [f"{covered[found['step']]['coverage']:.1%}", f"{covered[found['step']]['width']:.4f}"]
        rows.append(row)
    more = ["80 % held", "width"] if kind == "step" and covered else []
    return make_table([kind, "RMSE", "MAE", "cells", *more], rows)


def make_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    styles: Sequence[str | None] = (),
    left: Sequence[str] | None = None,
) -> Table:
    """A table to print. left: headings of the columns that are no numbers; without it all are text that may fold."""
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


def _lead(role: str, lead: Mapping[str, Any]) -> str:
    against = {"runner_up": "the runner-up", "best_referee": "the referee", "champion": "the champion"}[role]
    relative = "" if lead["relative_lead"] is None else f" ({lead['relative_lead']:+.1%})"
    between = f", 95 % interval {_between(lead['interval'], '{:+.4f}')}" if lead["interval"] else ""
    p = lead["diebold_mariano"]["p"]
    tested = "" if p is None else f", Diebold-Mariano p = {p:.2g}"
    return f"lead over {against} {lead['model']}: {lead['lead']:+.4f}{relative}{between}{tested}"


def _between(interval: Mapping[str, float] | None, form: str = "{:.4f}") -> str:
    return f"{form.format(interval['low'])} to {form.format(interval['high'])}" if interval else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def open_console() -> Any:
    """Where results are printed."""
    from rich.console import Console

    # a pipe has no width; a board that is folded there cannot be read or searched
    return Console() if sys.stdout.isatty() else Console(width=180, no_color=True)
