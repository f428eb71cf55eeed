"""`flts preprocess`: the job that starts a run of the services."""

from __future__ import annotations

from typing import Annotated

import typer

from flts.cli.options import Json, Models, Sets, Source, SpecFile, loaded_spec, logged


def preprocess(
    file: SpecFile = None,
    sets: Sets = None,
    source: Source = None,
    models: Models = None,
    recompute: Annotated[bool, typer.Option("--recompute", help="Have all models fitted again.")] = False,
    claim_test: Annotated[bool, typer.Option("--claim-test", help="Have the test rows forecast, too.")] = False,
    as_json: Json = False,
) -> None:
    """Process the rows, store them, and tell the trainers; then end. What runs elsewhere does the rest."""
    from flts.cli.board import print_json
    from flts.runner.claim import begin, claim_rows, prepare
    from flts.runner.services.host import TOPICS
    from flts.runner.services.trace import TracedBus, span
    from flts.wiring import open_raw, shared_context

    chosen = logged()
    loaded = loaded_spec(file, sets, source, models)
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
