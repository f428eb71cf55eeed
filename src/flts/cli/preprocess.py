"""`flts preprocess`: the job that starts a run of the services."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from flts.cli.options import Json, Sets, Source, log_events, settings


def preprocess(
    file: Annotated[Path | None, typer.Argument(help="The experiment. [flts.toml, if it is here]")] = None,
    sets: Sets = None,
    source: Source = None,
    models: Annotated[str | None, typer.Option(help="Only these models, separated by commas.")] = None,
    recompute: Annotated[bool, typer.Option("--recompute", help="Have all models fitted again.")] = False,
    claim_test: Annotated[bool, typer.Option("--claim-test", help="Have the test rows forecast, too.")] = False,
    as_json: Json = False,
) -> None:
    """Process the rows, store them, and tell the trainers; then end. What runs elsewhere does the rest."""
    from flts.cli.board import print_json
    from flts.runner.claim import begin, claim_rows, prepare
    from flts.runner.services.host import TOPICS
    from flts.runner.services.trace import TracedBus, span
    from flts.spec.sources import load_spec
    from flts.wiring import open_raw, shared_context

    chosen = settings()
    log_events(chosen)
    if file is None and Path("flts.toml").exists():
        file = Path("flts.toml")
    names = [name.strip() for name in models.split(",") if name.strip()] if models is not None else None
    loaded = load_spec(file, environ=os.environ, overrides=sets or (), source=source, models=names)
    with shared_context(chosen) as context, span("preprocess"):
        context.bus = TracedBus(context.bus)
        context.bus.ensure(TOPICS)
        prepared, experiment = prepare(context, loaded.spec, open_raw(loaded.spec.dataset, loaded.folder, chosen))
        claim = begin(context, experiment, prepared, recompute=recompute)
        if claim_test:
            claim_rows(context, claim, prepared)
    if as_json:
        print_json(claim.model_dump(mode="json"))
        return
    typer.echo(
        f"run {claim.run} of {claim.config_hash} is claimed; {len(experiment.identity.model_hashes)} models may start"
    )
