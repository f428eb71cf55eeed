"""`flts doctor`: what is wrong here, and how to fix it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flts.cli.options import Home, Json, Sets, loaded_spec, settings

if TYPE_CHECKING:
    from flts.doctor.finding import Diagnosis

STYLES = {"ok": "green", "warning": "yellow", "wrong": "bold red"}


def doctor(
    file: Annotated[Path | None, typer.Argument(help="Whose models are expected. [flts.toml, if it is here]")] = None,
    sets: Sets = None,
    models: Annotated[str | None, typer.Option(help="Expect only these models, separated by commas.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Check backends and services. Exit codes: 0 all well, 3 a backend did not answer, 1 something else is wrong."""
    from flts.cli import board
    from flts.doctor.examine import examine
    from flts.doctor.finding import exit_code

    chosen = settings(home=home)
    spec = loaded_spec(file, sets, models=models).spec
    findings = []
    for finding in examine(chosen, spec.trained):
        findings.append(finding)
        if not as_json:
            _say(finding)
    if as_json:
        board.print_json([dataclasses.asdict(finding) for finding in findings])
    if code := exit_code(findings):
        raise typer.Exit(code)


def _say(finding: Diagnosis) -> None:
    from rich.text import Text

    from flts.cli.board import open_console

    console = open_console()
    line = Text.assemble((f"{finding.state:<8}", STYLES[finding.state]), f"{finding.about:<12} {finding.found}")
    console.print(line, soft_wrap=True)
    if finding.mend:
        console.print(Text(f"{'':<8}{'':<12} → {finding.mend}"), soft_wrap=True)
