"""`flts promotions`: the champions of a scope, and the two ways to change the champion by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flts.cli.options import Home, Json, Scope, Wide, chosen_scope, existing_store, settings
from flts.contracts.errors import visible

if TYPE_CHECKING:
    from flts.contracts.records.log import LogEntry

Actor = Annotated[str | None, typer.Option(help="Who does it, for the log. [the user of this process]")]
Reason = Annotated[str | None, typer.Option(help="Why, in words for the log.")]

app = typer.Typer(help="List, show and change promotions.", no_args_is_help=True)


@app.command("list")
def list_promotions(scope: Scope = None, home: Home = None, as_json: Json = False, wide: Wide = False) -> None:
    """The promotion log of a scope, newest first."""
    from flts.cli import board
    from flts.promotion.log import listed, none_in

    store = existing_store(home)
    scope = chosen_scope(store, scope)
    entries = listed(store, scope)[::-1]
    if as_json:
        board.print_json(entries)
        return
    if not entries:
        typer.echo(none_in(store, scope))
        return
    board.print_table(
        ["number", "kind", "model", "score", "config", "time (UTC)", "by"],
        [
            [
                str(entry.number),
                entry.kind + (f" of {entry.restores}" if entry.restores else ""),
                entry.champion.model,
                "" if entry.champion.score is None else f"{entry.champion.score:.4f}",
                entry.champion.config_hash[:12],
                entry.time[:19].replace("T", " "),
                entry.actor,
            ]
            for entry in entries
        ],
        optional=["time (UTC)", "config", "score", "by"],
        wide=wide,
    )


@app.command()
def show(
    number: Annotated[int | None, typer.Argument(help="Number of the entry. [the newest]")] = None,
    scope: Scope = None,
    home: Home = None,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """One entry of the log with the decision behind it."""
    from flts.cli import board
    from flts.contracts.errors import UsageError
    from flts.promotion.log import decision_of, none_in, read_log

    store = existing_store(home)
    scope = chosen_scope(store, scope)
    entries = read_log(store, scope)
    entry = next((e for e in entries if e.number == (number or len(entries))), None)
    if entry is None:
        raise UsageError(
            f"scope '{scope}' has no promotion {number}; it has {len(entries)}" if entries else none_in(store, scope),
            code="promotion-unknown",
            scope=scope,
            promotion=number or 1,
        )
    decision = decision_of(store, entry)
    if as_json:
        board.print_json({"entry": entry, "decision": decision})
        return
    champion, what = entry.champion, f"promotion {entry.number} of '{scope}'"
    typer.echo(visible(f"{what}: {champion.model}, {entry.kind}, {entry.time}, by {entry.actor}"))
    if entry.reason:
        typer.echo(visible(f"reason: {entry.reason}"))
    typer.echo(visible(f"bundle {champion.bundle_sha256}\nuri {champion.model_uri}"))
    board.print_decision(decision, wide=wide)


@app.command()
def promote(
    config: Annotated[str, typer.Argument(help="The start of the config_hash that judged the model.")],
    model: Annotated[str, typer.Argument(help="Name of the model on its scoreboard.")],
    scope: Scope = None,
    actor: Actor = None,
    reason: Reason = None,
    home: Home = None,
) -> None:
    """Promote a judged model by hand, whatever the gates decided."""
    from flts import api
    from flts.report.evidence import resolve
    from flts.runner.by_hand import judged_scopes

    if scope is None:
        store = existing_store(home)
        scope = chosen_scope(store, None, judged_scopes(store, resolve(store, config)))
    entry = api.promote(config, model, scope, settings=settings(home=home, actor=actor), reason=reason)
    _say(entry, f"{model} is already the champion of '{scope}'")


@app.command()
def rollback(
    scope: Scope = None,
    home: Home = None,
    saw: Annotated[
        int | None, typer.Option(help="Number of the promotion to undo; refused when it is not the newest.")
    ] = None,
    actor: Actor = None,
    reason: Reason = None,
) -> None:
    """Restore the champion before the current one; each further rollback goes one back."""
    from flts import api

    if scope is None:
        scope = chosen_scope(existing_store(home), None)
    _say(api.rollback(scope, saw=saw, settings=settings(home=home, actor=actor), reason=reason), "")


def _say(entry: LogEntry | None, otherwise: str) -> None:
    if entry is None:
        typer.echo(otherwise)
        return
    champion = entry.champion
    typer.echo(f"promotion {entry.number} ({entry.kind}): {champion.model} is champion of '{entry.scope}'")
