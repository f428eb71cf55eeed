"""`flts run`: a whole run on one machine."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from flts.cli.options import Home, Json, LogFormat, Models, Sets, Source, SpecFile, Wide, logged, required_spec


def run(
    file: SpecFile = None,
    sets: Sets = None,
    source: Source = None,
    models: Models = None,
    recompute: Annotated[bool, typer.Option("--recompute", help="Fit again what is stored, and compare.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait while another run uses the folder.")] = False,
    jobs: Annotated[int | None, typer.Option(help="Fits that run at once. [cores ÷ threads]")] = None,
    tracking: Annotated[str | None, typer.Option(help="MLflow runs: auto, mlflow or off. [auto]")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Start a run of hours without a question.")] = False,
    log_format: LogFormat = None,
    home: Home = None,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Preprocess, train every model, judge them on the same windows, promote the best."""
    from flts import api
    from flts.cli import board
    from flts.runner.progress import reporter

    chosen = logged(log_format=log_format, home=home, jobs=jobs, tracking=tracking)
    loaded = required_spec(file, sets, source, models)
    shown_by = board.print_json if as_json else partial(board.print_result, wide=wide)
    with reporter(sorted(loaded.spec.expected), quiet=as_json, yes=yes, board=shown_by) as shown:
        result = api.run(
            loaded.spec, folder=loaded.folder, settings=chosen, recompute=recompute, wait=wait, reporter=shown
        )
    if result.decision.outcome == "none" or any(result.nondeterministic):
        raise typer.Exit(1)
