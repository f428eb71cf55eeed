"""`flts run`: the main job on one machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from flts.cli.options import Home, Json, Sets, Source, log_events, settings


def run(
    file: Annotated[Path | None, typer.Argument(help="The experiment. [flts.toml, if it is here]")] = None,
    sets: Sets = None,
    source: Source = None,
    models: Annotated[str | None, typer.Option(help="Only these models, separated by commas.")] = None,
    recompute: Annotated[bool, typer.Option("--recompute", help="Fit again what is stored, and compare.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait while another run uses the folder.")] = False,
    jobs: Annotated[int | None, typer.Option(help="Trainers side by side. [cores ÷ threads]")] = None,
    tracking: Annotated[str | None, typer.Option(help="MLflow runs: auto, mlflow or off. [auto]")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Preprocess, train every model, judge them on the same windows, promote the best."""
    from flts import api
    from flts.cli import board
    from flts.cli.progress import reporter
    from flts.spec.sources import load_spec

    chosen = settings(home=home, jobs=jobs, tracking=tracking)
    log_events(chosen)
    if file is None and Path("flts.toml").exists():
        file = Path("flts.toml")
    names = [name.strip() for name in models.split(",") if name.strip()] if models is not None else None
    loaded = load_spec(file, environ=os.environ, overrides=sets or (), source=source, models=names)
    with reporter(sorted(loaded.spec.expected), quiet=as_json) as shown:
        result = api.run(
            loaded.spec, folder=loaded.folder, settings=chosen, recompute=recompute, wait=wait, reporter=shown
        )
    if as_json:
        board.print_json(result)
    else:
        board.print_result(result)
    if result.decision["outcome"] == "none" or any(result.nondeterministic):
        raise typer.Exit(1)
