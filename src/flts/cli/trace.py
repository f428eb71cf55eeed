"""`flts trace`: from an answer back to the rows that its model learned from."""

from __future__ import annotations

from typing import Annotated

import typer

from flts.cli.options import Home, Json, existing_store


def trace(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="That of an answer, or of a batch.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Follow an answer to its promotion, decision, bundle, rows and run; 1 where a digest differs."""
    from flts.cli import board
    from flts.report.trace import OK, summary
    from flts.report.trace import trace as follow

    found = follow(existing_store(home), request_id)
    if as_json:
        board.print_json(found)
    else:
        words = [f"{name} {value}" for name, value in summary(found.lines).items() if value is not None]
        typer.echo(f"{found.request_id}, scope '{found.scope}': {', '.join(words)}")
        for step in found.steps:
            typer.echo(f"{step.what:<10}{step.state if step.state == OK else 'NOT OK'}  {step.key or ''}")
            said = [f"{name} {value}" for name, value in step.said.items() if value is not None]
            if step.sha256 is not None:
                typer.echo(f"{'':<10}sha256 {step.sha256}")
            typer.echo(f"{'':<10}{', '.join(said) if step.state == OK else step.state}")
    if not found.intact:
        raise typer.Exit(1)
