"""`flts verify`: re-derive every claim about a run from what it left behind, and write the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flts.cli.options import Home, Json, settings

if TYPE_CHECKING:
    from flts.verification.claims import State
    from flts.verification.report import Report

STYLES: dict[State, str] = {
    "true": "green",
    "false": "bold red",
    "depends on a false one": "red",
    "not recorded": "dim",
    "unreachable": "yellow",
}

MOST = 2
"""Claims with one reason that are listed at most; the report has all."""


def verify(
    config: Annotated[str | None, typer.Argument(help="The start of a config_hash. [that of the newest run]")] = None,
    run: Annotated[int | None, typer.Option(help="Number of the run. [the newest]")] = None,
    scope: Annotated[str | None, typer.Option(help="Only runs of this scope. [any]")] = None,
    pods: Annotated[Path | None, typer.Option(help="The output of `kubectl get pods -o json`.")] = None,
    log: Annotated[list[Path] | None, typer.Option(help="A file of log lines, as JSON. Repeatable.")] = None,
    expect: Annotated[Path | None, typer.Option(help="A TOML file with what has to hold.")] = None,
    expect_head: Annotated[
        str | None, typer.Option(help="The digest that the newest entry of the promotion log must have.")
    ] = None,
    compare: Annotated[
        list[str] | None, typer.Option(metavar="RUN", help="Another run, as for `flts compare`. Repeatable.")
    ] = None,
    claim: Annotated[str | None, typer.Option(help="Check this claim alone, and write no report.")] = None,
    require: Annotated[
        list[str] | None, typer.Option(help="A claim, or the start of several, that must be recorded. Repeatable.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the report. [reports/CONFIG/RUN in the folder of --home]")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Check every claim about a run. Exit codes: 0 none is false, 1 one is, 3 one could not be checked."""
    import flts
    from flts.cli import board
    from flts.verification.write.folder import write_report

    chosen = settings(home=home)
    report = flts.verify(
        config,
        run=run,
        scope=scope,
        claim=claim,
        pods=pods,
        logs=log or (),
        expect=expect,
        expect_head=expect_head,
        compare=compare or (),
        require=require or (),
        settings=chosen,
    )
    written = []
    if claim is None:
        folder = output or chosen.home / "reports" / report.config_hash[:12] / f"{report.run:04d}"
        written = write_report(report, folder)
    if as_json:
        board.print_json(report)
    else:
        _say(report, written, every=claim is not None)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _say(report: Report, written: list[Path], *, every: bool) -> None:
    """A line per section, why claims do not hold, what the run raised, and where the report is. every: all claims."""
    from collections import Counter

    from rich.text import Text

    from flts.cli import board
    from flts.verification.claims import DEPENDS
    from flts.verification.write.tables import COUNTED, reasons_of, shown

    console = board.open_console()
    console.print(f"run {report.run} of config {report.config_hash[:12]}")
    for section in report.sections:
        claims = report.of(section)
        counts = Counter(claim.state for claim in claims)
        listed = [
            Text(f"{counts[state]} {COUNTED.get(state, state)}", style)
            for state, style in STYLES.items()
            if counts[state]
        ]
        if listed:
            console.print(Text(f"{section.title:<12}"), Text(", ").join(listed))
        if every:
            for claim in claims:
                console.print(Text(f"  {claim.state}  {claim.id}  {shown(claim.found)}", STYLES[claim.state]))
        for reason, ids in reasons_of([claim for claim in claims if claim.state != DEPENDS]).items():
            board.say(console, f"  {_named(ids)}")
            board.say(console, f"    {reason}", style="bold")
    if report.lacking:
        board.say(console, f"required and not recorded: {_named(report.lacking)}", style="bold red")
    if isinstance(head := report.value("promotion.head"), str):
        console.print(f"head of the log: {head}", soft_wrap=True)
    for issue in report.issues:
        board.say(console, f"issue: {issue.says}", style="yellow")
    for file in written:
        console.print(str(file), soft_wrap=True)


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - MOST} more" if len(ids) > MOST else ""
    return f"{', '.join(ids[:MOST])}{more}"
