"""`flts worker`: one stage as a service on the bus, with a command for each service of the registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from flts.cli.options import LogFormat, logged
from flts.runner.services import registry

if TYPE_CHECKING:
    from flts.runner.services.registry import Declared

Models = Annotated[str, typer.Option("--model", help="Fit these models, separated by commas.")]
Jobs = Annotated[int | None, typer.Option(help="Fits that run at once. [cores]")]
ProbePort = Annotated[int | None, typer.Option(help="Port of /healthz, /readyz and /metrics; 0: a free one. [9090]")]


def make_app() -> typer.Typer:
    """A command for every service of the registry."""
    app = typer.Typer(help="Run one stage as a service on the bus.", no_args_is_help=True)
    for service in registry.SERVICES:
        app.command(service.name, help=service.about)(_command(service))
    return app


def _command(service: Declared) -> Callable[..., None]:
    """The function behind `flts worker NAME`."""

    def of_models(model: Models, jobs: Jobs = None, probe_port: ProbePort = None, log_format: LogFormat = None) -> None:
        from flts.contracts.errors import UsageError
        from flts.models.registry import require
        from flts.spec.models import ENSEMBLE

        names = [name.strip() for name in model.split(",") if name.strip()]
        if ENSEMBLE in names:
            raise UsageError(
                f"the model '{ENSEMBLE}' has no trainer: whoever judges a run makes it of the other models",
                code="model-not-trained",
                model=ENSEMBLE,
            )
        require(names)
        _serve(service, names, jobs=jobs, probe_port=probe_port, log_format=log_format)

    def alone(probe_port: ProbePort = None, log_format: LogFormat = None) -> None:
        _serve(service, [], probe_port=probe_port, log_format=log_format)

    return of_models if service.per_model else alone


def _serve(service: Declared, models: list[str], **flags: object) -> None:
    """Run a service until SIGTERM or SIGINT, which end it cleanly."""
    from flts.runner.services.host import Conditions, serve, stop_on_signals
    from flts.runner.services.trace import TracedBus
    from flts.wiring import shared_context

    chosen = logged(service=True, **flags)
    stop = stop_on_signals()
    probes = (chosen.probe_host, chosen.probe_port)
    conditions = Conditions(chosen.patience, chosen.grace, probes, chosen.max_ended, chosen.worker_idle)
    with shared_context(chosen) as context:
        context.bus = TracedBus(context.bus)
        serve(service.name, context, service.load().staff(context, chosen, models), conditions, stop)


app = make_app()
