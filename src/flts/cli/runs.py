"""`flts runs`: every run with its result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flts.cli.options import Home, Json, Wide, existing_store, next_page, settings
from flts.contracts.errors import visible

FIRST = ("models", "forecast", "next")
"""The pictures that `plot` draws without --all."""

SHOWN = 50
"""Runs that `list` shows by default."""

app = typer.Typer(help="List runs and show one.", no_args_is_help=True)


@app.command("list")
def list_runs(
    limit: Annotated[int, typer.Option(min=1, help="List so many runs at most.")] = SHOWN,
    before: Annotated[
        str | None, typer.Option(metavar="CONFIG:RUN", help="Only runs older than this one, as the last line names it.")
    ] = None,
    scope: Annotated[str | None, typer.Option(help="Only runs of this scope. [any]")] = None,
    home: Home = None,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """The newest runs, newest first, page by page."""
    from flts.cli import board
    from flts.report.evidence import named_run, newest_first

    store = existing_store(home)
    older = named_run(store, before) if before is not None else None
    found = newest_first(store, limit + 1, scope=scope, before=older)
    rows = found[:limit]
    if len(found) > limit:
        last = f"{rows[-1].config_hash[:12]}:{rows[-1].run}"
        told = next_page("flts runs list", {"--scope": scope, "--limit": limit if limit != SHOWN else None}, last)
        typer.echo(told, err=True)
    if as_json:
        board.print_json([row.model_dump(mode="json", by_alias=True) for row in rows])
        return
    board.print_table(
        ["config", "run", "scope", "started (UTC)", "outcome", "promotion"],
        [
            [
                row.config_hash[:12],
                str(row.run),
                row.claim.scope,
                row.claim.started[:19].replace("T", " "),
                row.judge.outcome if row.judge else "not judged",
                str(row.judge.promotion or "") if row.judge else "",
            ]
            for row in rows
        ],
        optional=["started (UTC)", "scope", "promotion"],
        wide=wide,
    )


@app.command()
def index(home: Home = None) -> None:
    """Make the index of runs again, by one listing of all: after a restore, or where an older flts wrote, too."""
    from flts.report.reindex import mend

    made = mend(existing_store(home), every=True)
    typer.echo(f"{made.runs:,} runs, {made.entered:,} of them newly in the index")
    for damage in made.damaged:
        raise damage


@app.command()
def plot(
    config: Annotated[str | None, typer.Argument(help="The start of a config_hash. [that of the newest run]")] = None,
    target: Annotated[str | None, typer.Option(help="The target to draw. [the first]")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also every target, the error per step, and each model by itself.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Folder to write to. [.flts/plots/CONFIG]")] = None,
    home: Home = None,
) -> None:
    """Which model is best, how well each forecasts, and what comes next, as PNG files."""
    from flts.report.evidence import chosen_run, run_record
    from flts.report.plots import RunPlots
    from flts.runner.stored import load_experiment

    store = existing_store(home)
    record = run_record(store, *chosen_run(store, config, None))
    config_hash = record.config_hash
    judged = RunPlots(store, load_experiment(store, config_hash, record.claim.data_hash), record.decision)
    pictures = judged.of_all(target)
    pictures = (
        {**pictures, **judged.of_each()} if every else {name: pictures[name] for name in FIRST if name in pictures}
    )
    folder = output or settings(home=home).home / "plots" / config_hash[:12]
    for name, draw in pictures.items():
        file, picture = folder / f"{name}.png", draw().png
        folder.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture)
        typer.echo(visible(str(file)))


@app.command()
def show(
    config: Annotated[str | None, typer.Argument(help="The start of a config_hash. [that of the newest run]")] = None,
    run: Annotated[int | None, typer.Option(help="Number of the run. [the newest]")] = None,
    home: Home = None,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """One run: its scoreboard and decision, or with --json everything that is stored about it."""
    from flts.cli import board
    from flts.report.evidence import chosen_run, run_manifest, run_record

    store = existing_store(home)
    config_hash, number = chosen_run(store, config, run)
    if as_json:
        board.print_json(run_manifest(store, config_hash, number))
        return
    record = run_record(store, config_hash, number)
    claim, data = record.claim, record.data
    typer.echo(visible(f"config {config_hash}\nrun {record.run} in {claim.environment}, started {claim.started}"))
    counts = f"{data.train.rows:,} train, {data.test.rows:,} test" if data else "no longer in the store"
    typer.echo(f"rows {counts}, data {claim.data_hash[:12]}")
    if record.decision is None:
        typer.echo("not judged")
        for name, failure in record.failures.items():
            typer.echo(visible(f"  {name}: {failure.error}: {failure.reason}"))
        return
    durations_ms = {name: part.duration_ms for name, part in record.models.items()}
    board.print_decision(record.decision, durations_ms, wide=wide)
    board.print_details(record.decision, wide=wide)
