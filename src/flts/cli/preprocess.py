"""`flts preprocess`: the job that starts a run of the services."""

from __future__ import annotations

from typing import Annotated

import typer

from flts.cli.options import Json, LogFormat, Models, Sets, Source, SpecFile, logged, required_spec


def preprocess(
    file: SpecFile = None,
    sets: Sets = None,
    source: Source = None,
    models: Models = None,
    recompute: Annotated[bool, typer.Option("--recompute", help="Have all models fitted again.")] = False,
    claim_test: Annotated[bool, typer.Option("--claim-test", help="Have the test rows forecast, too.")] = False,
    log_format: LogFormat = None,
    as_json: Json = False,
) -> None:
    """Process and store the rows, tell the trainers, then end. The services do the rest."""
    from flts.cli.board import print_json
    from flts.contracts.messages import TOPICS
    from flts.runner.claim import claim_rows, start
    from flts.runner.reporter import Quiet
    from flts.runner.services.trace import traced_context
    from flts.wiring import open_raw

    chosen = logged(log_format=log_format)
    loaded = required_spec(file, sets, source, models)
    with traced_context(chosen, "preprocess") as context:
        context.bus.ensure(list(TOPICS))
        raw = open_raw(loaded.spec.dataset, loaded.folder, chosen)
        started = start(context, loaded.spec, raw, Quiet(), recompute=recompute)
        if claim_test:
            claim_rows(context, started)
    claim = started.claim
    if as_json:
        print_json(claim.model_dump(mode="json"))
        return
    count = len(started.experiment.spec.trained)
    typer.echo(f"run {claim.run} of {claim.config_hash} is claimed; {count} models may start")
