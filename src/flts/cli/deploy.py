"""`flts deploy`: what the chart calls in a cluster, and the comparison of a deployment with this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flts.cli.options import Json, LogFormat, SpecFile, loaded_spec, logged, split_names

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(help="Compare a deployment with this machine, and prepare a cluster.", no_args_is_help=True)

Timeout = Annotated[float, typer.Option(help="Seconds to wait for backends that do not answer.")]


@app.command()
def check(
    values: Annotated[list[Path], typer.Option("--values", help="File of values of the chart; later ones win.")],
    file: SpecFile = None,
    chart: Annotated[Path | None, typer.Option(help="Folder of the chart, for its own defaults.")] = None,
    manifest: Annotated[Path | None, typer.Option(help="Also compare with a run: `flts runs show --json`.")] = None,
    as_json: Json = False,
) -> None:
    """Name every value in which a deployment differs, and the hashes it moves. Exits with 1 when one differs."""
    from flts.cli import board
    from flts.deploy.check import against_file, against_manifest, deployed

    spec = deployed(values, chart)
    drifts = against_file(spec, loaded_spec(file, None).spec)
    if manifest is not None:
        drifts += against_manifest(spec, manifest)
    if as_json:
        board.print_json([drift._asdict() for drift in drifts])
    elif drifts:
        rows = [[d.key, _text(d.deployed), _text(d.other), d.against, _hashes(d.moves)] for d in drifts]
        board.print_table(["key", "deployed", "expected", "by", "moves"], rows)
    else:
        typer.echo("no difference")
    if drifts:
        raise typer.Exit(1)


@app.command()
def prepare(
    timeout: Timeout = 600.0,
    bucket: Annotated[list[str] | None, typer.Option(help="Make this bucket, too.")] = None,
    log_format: LogFormat = None,
) -> None:
    """Make the buckets and topics that do not exist yet."""
    from flts.deploy.prepare import prepare as made

    names = made(logged(log_format=log_format), bucket or [], timeout)
    typer.echo(f"buckets made: {', '.join(names) or 'none'}; all topics exist")


@app.command()
def wait(
    timeout: Timeout = 600.0,
    rows: Annotated[
        Path | None, typer.Option(help="Then wait for the files of this experiment, as long again.")
    ] = None,
    log_format: LogFormat = None,
) -> None:
    """Wait until every bucket exists and every backend answers."""
    from flts.deploy.prepare import wait as waited

    waited(logged(log_format=log_format), timeout, None if rows is None else loaded_spec(rows, None))
    typer.echo("every backend answers" if rows is None else "every backend answers, and the rows are there")


@app.command()
def smoke(
    file: Annotated[Path, typer.Argument(help="The experiment; its first rows are used.")],
    models: Annotated[str, typer.Option("--models", help="These models, separated by commas.")] = "gru,ridge",
    url: Annotated[str, typer.Option(help="Also ask this forecast service.")] = "",
    timeout: Annotated[float, typer.Option(help="Seconds for everything.")] = 240.0,
    log_format: LogFormat = None,
) -> None:
    """Run a small experiment through the services, in the scope helm-test. `helm test` calls it."""
    from flts.deploy.smoke import experiment
    from flts.deploy.smoke import smoke as tried

    passed = tried(logged(log_format=log_format), experiment(file, split_names(models)), url, timeout)
    result, champion = passed.result, passed.champion
    typer.echo(
        f"run {result.run} of {result.config_hash} is judged: {len(result.decision.candidates)} models have forecasts"
    )
    typer.echo(f"the pointer of scope {result.scope} names promotion {champion.promotion}, {champion.model_type}")
    if passed.forecast is None:
        typer.echo("no forecast service was asked")
        return
    for row in passed.forecast.rows:
        typer.echo(f"{url} answers with it: {row.target} at {row.time.isoformat()} is {row.mean:g}")


@app.command()
def secrets(name: Annotated[str, typer.Argument(help="Name of the Secret.")], timeout: Timeout = 120.0) -> None:
    """Make the Secret of this deployment, once. Runs in a pod."""
    from flts.deploy.prepare import patiently
    from flts.deploy.secrets import Api, make_secret

    api = Api.of_this_pod()  # which the network of a new pod may not reach yet
    made = patiently(lambda: make_secret(api, name), timeout)
    typer.echo(f"made the Secret {name}" if made else f"the Secret {name} exists and stays as it is")


def _text(value: Any) -> str:
    return "—" if value is None else json.dumps(value, ensure_ascii=False)


def _hashes(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"
