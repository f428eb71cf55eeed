"""A decision for people: the scoreboard, the winner and why, how sure, and where everything is."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from flts.pipeline import RunResult


def print_result(result: RunResult) -> None:
    """What `flts run` ends with."""
    print_decision(result.decision, result.durations_ms, result.run_ids)
    console = _console()
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
        console.print(f"  note: {warning}", highlight=False, style="dim")
    console.print(f"  run        {result.config_hash[:12]} #{result.run}", highlight=False, style="dim")
    for name, place in result.places.items():
        console.print(f"  {name:<10} {place}", highlight=False, style="dim", soft_wrap=True)


def print_decision(
    decision: Mapping[str, Any],
    durations_ms: Mapping[str, int | None] | None = None,
    run_ids: Mapping[str, str | None] | None = None,
) -> None:
    """Scoreboard, reasons and doubts of a stored decision."""
    console = _console()
    console.print()
    console.print(_board(decision, durations_ms or {}))
    console.print()
    for row in decision["candidates"]:
        if row["status"] != "SUCCESS":
            kind = "not applicable" if row["status"] == "N/A" else "failed"
            console.print(f"  {row['model']} {kind}: {row['reason']}", highlight=False, style="red", soft_wrap=True)
    for row in decision["referees"]:
        if row.get("reason"):
            console.print(f"  {row['model']} not applicable: {row['reason']}", highlight=False, style="dim")
    for reason in decision["reasons"]:
        console.print(f"  {reason}", highlight=False, soft_wrap=True)
    certainty = decision["certainty"]
    for role in ("runner_up", "best_referee"):
        if role in certainty:
            console.print(f"  {_lead(role, certainty[role])}", highlight=False, soft_wrap=True)
    for warning in certainty.get("warnings", ()):
        console.print(f"  [yellow]caution[/]  {warning}", highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    plain = dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
    json.dump(plain, sys.stdout, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    sys.stdout.write("\n")


def print_table(headings: list[str], rows: list[list[str]]) -> None:
    """A plain table."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    _console().print(table, highlight=False)


def _board(decision: Mapping[str, Any], durations_ms: Mapping[str, int | None]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    targets = decision["yardstick"]["targets"]
    single = f"RMSE of {targets[0]}" if len(targets) == 1 else ""
    headings = ["rank", "model", "score", "RMSE", "MAE", "MSE", "MASE", *([single] if single else []), "skill", "time"]
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=True)
    ranked = [row for row in decision["candidates"] if row["rank"] is not None]
    for row in [*ranked, *(row for row in decision["referees"] if "score" in row)]:
        referee = "rank" not in row
        duration = durations_ms.get(row["model"])
        table.add_row(
            "" if referee else str(row["rank"]),
            f"{row['model']} (referee)" if referee else row["model"],
            f"{row['score']:.4f}",
            *(f"{row[name]:.4f}" for name in ("rmse", "mae", "mse")),
            "" if row["mase"] is None else f"{row['mase']:.3f}",
            *([_number(row["units"][targets[0]]["rmse"])] if single else []),
            "" if referee or row["skill"] is None else f"{row['skill']:+.1%}",
            "" if duration is None else f"{duration / 1000:.1f}s",
            style="dim" if referee else ("bold" if row["rank"] == 1 else None),
        )
    return table


def _lead(role: str, lead: Mapping[str, Any]) -> str:
    against = f"the referee {lead['model']}" if role == "best_referee" else f"the runner-up {lead['model']}"
    relative = "" if lead["relative_lead"] is None else f" ({lead['relative_lead']:+.1%})"
    interval = lead["interval"]
    between = f", 95 % interval {interval['low']:+.4f} to {interval['high']:+.4f}" if interval else ""
    return f"lead over {against}: {lead['lead']:+.4f}{relative}{between}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _console() -> Any:
    from rich.console import Console

    # a pipe has no width; a board that is folded there cannot be read or searched
    return Console() if sys.stdout.isatty() else Console(width=160, no_color=True)
