"""`flts init`: a first flts.toml, derived from the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flts.cli.data import DataFile, Target, TestFile, Time, Timezone
from flts.cli.options import ClockColumn, Decimal, Encoding, Separator, Thousands, TimeFormat, reading
from flts.contracts.errors import visible


def init(
    file: DataFile,
    test_file: TestFile = None,
    output: Annotated[Path, typer.Option(help="The experiment to write.")] = Path("flts.toml"),
    target: Target = None,
    horizon: Annotated[
        int | None, typer.Option(min=1, max=10**9, help="Rows ahead. [a natural unit of the step]")
    ] = None,
    time: Time = None,
    timezone: Timezone = None,
    separator: Separator = None,
    decimal: Decimal = None,
    thousands: Thousands = None,
    time_format: TimeFormat = None,
    clock_column: ClockColumn = None,
    encoding: Encoding = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Write an experiment that `flts run` accepts as it is, with a reason for each value."""
    from flts import api
    from flts.runner.progress import waiting

    named = reading(
        separator=separator,
        decimal=decimal,
        thousands=thousands,
        time_format=time_format,
        clock_column=clock_column,
        encoding=encoding,
    )
    with waiting(f"{file}: lengths of history are tried"):
        first = api.init(
            file,
            test_file,
            output=output,
            target=target,
            horizon=horizon,
            time=time,
            timezone=timezone,
            reading=named,
            force=force,
        )
    task = first.spec.task
    typer.echo(visible(f"{output}: forecast '{first.target}' ({first.why_target})"))
    typer.echo(f"  {task.input_length} rows of history, {task.horizon} ahead, by {', '.join(first.models)}")
    for finding in first.warnings:
        typer.echo(f"  ! {visible(finding.message)}")
    if first.missing:
        typer.echo(f"  ! not installed, so only a comment in {output}: {first.missing}")
    written = "" if output == Path("flts.toml") else f" {output}"
    typer.echo(f"  next: flts run{written}")
