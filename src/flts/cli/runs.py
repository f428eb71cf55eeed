"""`flts runs`: every run with its result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flts.cli.options import Home, Json, Wide, existing_store
from flts.contracts.errors import visible

app = typer.Typer(help="List runs and show one.", no_args_is_help=True)


@app.command("list")
def list_runs(home: Home = None, as_json: Json = False, wide: Wide = False) -> None:
    """All runs, newest first."""
    from flts.cli import board
    from flts.report.evidence import newest_first

    rows = newest_first(existing_store(home))
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
def plot(
    config: Annotated[str | None, typer.Argument(help="The start of a config_hash. [the newest run]")] = None,
    output: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("plots"),
    home: Home = None,
) -> None:
    """Forecast, residuals, error per step, calibration and loss curve of every model, as PNG and SVG files."""
    from flts.contracts.errors import UsageError
    from flts.forecasting.bundle import read_bundle
    from flts.report import plots
    from flts.report.evidence import newest_first, resolve
    from flts.runner.stored import load_experiment
    from flts.train.stage import stored_result

    store = existing_store(home)
    rows = newest_first(store)
    if not rows:
        raise UsageError(f"{store.url} has no runs yet", code="no-runs", store=store.url)
    config_hash = resolve(store, config) if config else rows[0].config_hash
    data_hash = next(row.claim.data_hash for row in rows if row.config_hash == config_hash)
    experiment = load_experiment(store, config_hash, data_hash)
    output.mkdir(parents=True, exist_ok=True)
    for name, model_hash in sorted(experiment.identity.model_hashes.items()):
        trained = stored_result(store, name, model_hash, experiment.identity.windows_hash)
        if trained is None:
            continue
        manifest, _ = read_bundle(store, trained.bundle_sha256)
        values = experiment.forecasts(store, model_hash, trained.forecasts_sha256)
        drawn = plots.of_model(experiment, name, values, trained.curve, manifest)
        for kind, picture in drawn.items():
            for ending, data in picture._asdict().items():
                file = output / f"{name}-{kind}.{ending}"
                file.write_bytes(data)
                typer.echo(str(file))


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
