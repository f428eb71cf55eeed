"""`flts serve`: forecasts of the promoted models over HTTP."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flts.cli.door import auth_of, server_of
from flts.cli.options import Home, LogFormat, logged

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from flts.contracts.ports import Store
    from flts.settings import Settings
    from flts.web.probe import HealthChecks, Probes


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one. [8000]")] = None,
    probe_port: Annotated[
        int | None, typer.Option(help="Port of /healthz, /readyz and /metrics without a token; 0: a free one. [9090]")
    ] = None,
    token_file: Annotated[Path | None, typer.Option(help="File with the bearer token on one line.")] = None,
    log_format: LogFormat = None,
    home: Home = None,
) -> None:
    """Answer forecasts of the promoted models over HTTP until SIGTERM or Ctrl-C."""
    import importlib.util

    from flts.contracts.errors import MissingExtra

    if any(importlib.util.find_spec(name) is None for name in ("fastapi", "httptools", "uvicorn", "prometheus_client")):
        raise MissingExtra("flts serve", "serve")
    flags = {"home": home, "host": host, "serve_port": port, "probe_port": probe_port, "token_file": token_file}
    _serve(logged(service=True, log_format=log_format, **flags))


def _serve(chosen: Settings) -> None:
    """Serve until asked to stop. Raises UsageError for settings that do not fit, and where nothing was promoted."""
    from flts.contracts import events
    from flts.server.app import SERVICE, create_app
    from flts.server.following import Following, Hints
    from flts.server.models import Capacity, ServedModels
    from flts.server.prediction_log import keeping
    from flts.server.service import ForecastService, model_turns
    from flts.version import __version__
    from flts.web import running
    from flts.web.background import Background
    from flts.web.probe import HealthChecks
    from flts.web.proxies import Proxies
    from flts.web.session import Sessions
    from flts.wiring import existing_store, open_bus

    auth = auth_of(chosen, SERVICE)
    sessions = Sessions(auth, chosen.session_key(), Proxies.of(chosen.trusted_proxies))
    store = existing_store(chosen)
    _refuse_nothing(chosen, store)
    capacity = Capacity(chosen.serve_models, chosen.self_test_seconds, chosen.poll_seconds)
    models = ServedModels(store, chosen.serve_scopes, capacity)
    with (
        ExitStack() as at_last,
        ExitStack() as ended,
        running.listen(chosen.host, chosen.serve_port) as listening,
    ):
        written = ended.enter_context(closing(Background(SERVICE)))
        written.start()
        kept = keeping(store, chosen.prediction_log, chosen.spool_folder, chosen.spool_bytes, chosen.grace)
        turns = ended.enter_context(closing(model_turns(chosen.queue_limit)))
        service = ForecastService(
            models, ended.enter_context(kept), turns, chosen.request_timeout, chosen.max_body_bytes
        )
        app = create_app(service, auth=auth, sessions=sessions, emit=written)
        server = server_of(app, chosen, SERVICE)
        app.state.metrics.lag = server.lag
        ready = {"loop": server.pulse.check, "open": server.check_open, "models": models.check_ready}
        health = HealthChecks({"loop": server.pulse.check}, ready)
        probes = ended.enter_context(closing(_probes(chosen, health, app.state.metrics.registry)))
        started = events.ServerStarted(
            service=SERVICE,
            version=__version__,
            address=running.url(listening, server.tls),
            token_needed=auth.needed,
            probes=probes.address,
        )
        at_last.enter_context(running.announced(started))  # it has stopped when all lines of its requests are written
        ended.enter_context(closing(Following(models, chosen.poll_seconds))).start()
        if not chosen.bus.startswith("memory:"):
            bus = ended.enter_context(closing(open_bus(chosen)))
            ended.enter_context(closing(Hints(models, bus))).start()
        running.serve(server, listening, SERVICE)


def _refuse_nothing(chosen: Settings, store: Store) -> None:
    """Raise UsageError where the folder of this machine has no promotion; a shared store may get one at any time."""
    from flts.contracts.errors import UsageError
    from flts.promotion.log import scopes

    if not chosen.store and not scopes(store):
        raise UsageError(
            f"nothing was promoted in {chosen.home} yet; `flts run` can promote a model",
            code="no-champion",
            store=store.url,
        )


def _probes(chosen: Settings, health: HealthChecks, registry: CollectorRegistry) -> Probes:
    """The server of the probes. Where nobody chose its port and another program has it, it takes a free one."""
    from flts.contracts.errors import UsageError
    from flts.web.probe import Probes

    try:
        return Probes(chosen.probe_host, chosen.probe_port, health, registry)
    except UsageError:
        if "probe_port" in chosen.model_fields_set:
            raise
        return Probes(chosen.probe_host, 0, health, registry)
