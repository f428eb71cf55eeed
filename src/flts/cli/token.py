"""`flts token`: bearer tokens for the gateway and the forecast service."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Annotated

import typer

from flts.cli.options import split_names
from flts.contracts.errors import UsageError, nearest

app = typer.Typer(help="Bearer tokens for the gateway and the forecast service.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `new` a command of its own."""


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Who will use it; stands in logs and metrics.")],
    rights: Annotated[
        list[str] | None, typer.Option(help="predict, read and admin, separated by commas. [predict,read]")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="Until when, such as 2030-01-31T00:00:00Z; without it, for ever.")
    ] = None,
) -> None:
    """Make a token. It is printed once, on stderr; its entry for tokens_file goes to stdout."""
    import re

    from flts.web.tokens import NAME, RIGHTS, Entry, digest_of, moment

    if not re.fullmatch(NAME, name):
        raise UsageError(
            "a name takes 1 to 64 letters, digits, '.', '_' and '-', a letter or digit first", code="name-invalid"
        )
    wanted = list(dict.fromkeys(split_names(",".join(rights or ["predict,read"])))) or [""]
    for right in wanted:
        if right not in RIGHTS:
            raise UsageError(f"unknown right '{right[:40]}'; {nearest(right, RIGHTS)}", code="right-unknown")
    try:
        until = None if expires is None else moment(expires)
    except ValueError as error:
        raise UsageError(f"--expires is '{expires}'; {error}", code="time-invalid") from None
    if until is not None and until <= datetime.now(UTC):
        raise UsageError(f"--expires is '{expires}', which has passed; it takes a time to come", code="time-passed")
    token = f"flts_{secrets.token_urlsafe(32)}"
    sha256 = digest_of(token.encode()).hex()
    entry = Entry.model_validate({"name": name, "rights": wanted, "sha256": sha256, "expires": until})
    typer.echo(f"the token, which is shown only now: {token}", err=True)
    typer.echo(f"\n{entry.toml()}")
