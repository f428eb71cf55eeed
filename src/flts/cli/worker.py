"""`flts worker`: one stage as a service on the bus."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from flts.cli.options import logged, split_names

if TYPE_CHECKING:
    from flts.runner.services.loop import Service
    from flts.wiring import RunContext

app = typer.Typer(help="Run one stage as a service on the bus.", no_args_is_help=True)

ProbePort = Annotated[int | None, typer.Option(help="Port of /healthz, /readyz and /metrics; 0: a free one. [9090]")]


@app.command("train")
def train(
    model: Annotated[str, typer.Option(help="Fit these models, separated by commas.")],
    jobs: Annotated[int | None, typer.Option(help="Fits side by side. [cores]")] = None,
    probe_port: ProbePort = None,
) -> None:
    """Fit models of every claim, each in a process of its own."""
    from flts.models.registry import require
    from flts.runner.services.train import Trainer

    names = split_names(model)
    require(names)
    _serve("train", lambda context: [Trainer(context, name) for name in names], jobs=jobs, probe_port=probe_port)


@app.command("evaluate")
def evaluate(probe_port: ProbePort = None) -> None:
    """Judge every run whose models all have a result or a reason."""
    from flts.runner.services.evaluate import Evaluator

    _serve("evaluate", lambda context: [Evaluator(context)], probe_port=probe_port)


@app.command("forecast")
def forecast(probe_port: ProbePort = None) -> None:
    """Answer every claim of rows with forecasts of the champion."""
    from flts.runner.services.forecast import Forecaster

    _serve("forecast", lambda context: [Forecaster(context)], probe_port=probe_port)


def _serve(name: str, make: Callable[[RunContext], Sequence[Service]], **flags: object) -> None:
    """Until SIGTERM or SIGINT, which end it well."""
    from flts.promotion.relay import relay_all
    from flts.runner.services import deadline
    from flts.runner.services.host import Conditions, serve, stop_on_signals
    from flts.runner.services.trace import TracedBus
    from flts.wiring import shared_context

    chosen = logged(terminal="text", **flags)
    stop = stop_on_signals()
    conditions = Conditions(chosen.patience, chosen.grace, (chosen.probe_host, chosen.probe_port))
    with shared_context(chosen) as context:
        context.bus = TracedBus(context.bus)
        beside, first = [], None
        if name == "evaluate":
            first = functools.partial(relay_all, context.store, context.bus)  # what one before it did not come to
        if name == "evaluate" and chosen.decision_deadline:
            beside.append(functools.partial(deadline.watch, context, chosen.decision_deadline))
        serve(name, context, make(context), conditions, stop, beside, first)
