"""`flts runs`: what was run, and what came of it."""

from __future__ import annotations

from typing import Annotated

import typer

from flts.cli.options import Home, Json, existing_store

app = typer.Typer(help="List runs and show one.", no_args_is_help=True)


@app.command("list")
def list_runs(home: Home = None, as_json: Json = False) -> None:
    """All runs, newest first."""
    from flts.cli import board
    from flts.verify.evidence import newest_first

    rows = newest_first(existing_store(home))
    if as_json:
        board.print_json(rows)
        return
    board.print_table(
        ["config", "run", "scope", "started (UTC)", "outcome", "promotion"],
        [
            [
                row["config_hash"][:12],
                str(row["run"]),
                row["claim"]["scope"],
                row["claim"]["started"][:19].replace("T", " "),
                row["judge"]["outcome"] if row["judge"] else "not judged",
                str(row["judge"]["promotion"] or "") if row["judge"] else "",
            ]
            for row in rows
        ],
    )


@app.command()
def show(
    config: Annotated[str, typer.Argument(help="The start of a config_hash.")],
    run: Annotated[int | None, typer.Option(help="Number of the run. [the newest]")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """One run: its scoreboard and decision, or with --json everything that is stored about it."""
    from flts.cli import board
    from flts.verify.evidence import resolve, run_numbers, run_record

    store = existing_store(home)
    config_hash = resolve(store, config)
    record = run_record(store, config_hash, run or run_numbers(store, config_hash)[-1])
    if as_json:
        board.print_json(record)
        return
    claim = record["claim"]
    typer.echo(f"config {config_hash}\nrun {record['run']} in {claim['environment']}, started {claim['started']}")
    data = record["data"]
    typer.echo(f"rows {data['train']['rows']:,} train, {data['test']['rows']:,} test, data {claim['data_hash'][:12]}")
    if record["decision"] is None:
        typer.echo("not judged")
        for name, failure in record["failures"].items():
            typer.echo(f"  {name}: {failure['class']}: {failure['reason']}")
        return
    durations = {name: part["duration_ms"] for name, part in record["models"].items()}
    board.print_decision(record["decision"], durations)
