"""`flts health`: whether the service of this container is well, for a health check without a shell or curl."""

from __future__ import annotations

from typing import Annotated

import typer

PATIENCE = 5.0
"""Seconds to wait for the answer; a probe gives each backend three."""
MOST_BYTES = 4096
"""Bytes of an answer that are read and shown."""


def health(
    ready: Annotated[bool, typer.Option("--ready", help="Ask /readyz: backends answer, a model is loaded.")] = False,
    url: Annotated[
        str | None, typer.Option(help="Ask here, such as the gateway's http://127.0.0.1:8080/healthz. [the probe port]")
    ] = None,
) -> None:
    """Ask the service that runs here whether it is well. Exit codes: 0 it is, 1 it is not or does not answer."""
    from http.client import HTTPConnection, HTTPException
    from urllib.parse import urlsplit

    from flts.contracts.errors import UsageError, visible, without_credentials

    asked = url or f"{_probes()}/{'readyz' if ready else 'healthz'}"
    try:
        address = urlsplit(asked)
        host, port = address.hostname, address.port
    except ValueError:
        host = port = None
    if host is None or address.scheme != "http":
        raise UsageError(f"--url: expected an http:// address, found {without_credentials(asked)}", code="url-invalid")
    connection = HTTPConnection(host, port, timeout=PATIENCE)  # asks no proxy: the service runs on this machine
    try:
        connection.request("GET", address.path or "/")
        answer = connection.getresponse()
        said = answer.read(MOST_BYTES).decode(errors="replace")
    except (OSError, HTTPException) as error:
        said, well = f"no answer: {error}", False
    else:
        well = answer.status == 200
        said = said if well else f"{answer.status} {said}"
    finally:
        connection.close()
    if well:
        typer.echo(visible(said))
        return
    typer.echo(visible(without_credentials(f"error: {asked}: {said}")), err=True)
    raise typer.Exit(1)


def _probes() -> str:
    """Address of the probe server as a process on this machine reaches it."""
    from flts.cli.options import settings

    chosen = settings()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(chosen.probe_host, chosen.probe_host)  # noqa: S104 - asked, not bound
    return f"http://[{host}]:{chosen.probe_port}" if ":" in host else f"http://{host}:{chosen.probe_port}"
