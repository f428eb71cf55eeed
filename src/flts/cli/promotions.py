"""`flts promotions`: the champions of a scope, and the two ways to change the champion by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flts.cli.options import Home, Json, Scope, Wide, chosen_scope, existing_store, next_page, settings
from flts.contracts.errors import visible

if TYPE_CHECKING:
    from flts.contracts.records.log import LogEntry

Actor = Annotated[str | None, typer.Option(help="Who does it, for the log. [the user of this process]")]
Reason = Annotated[str | None, typer.Option(help="Why, in words for the log.")]

SHOWN = 50
"""Promotions that `list` shows by default."""

app = typer.Typer(help="List, show and change promotions.", no_args_is_help=True)


@app.command("list")
def list_promotions(
    scope: Scope = None,
    limit: Annotated[int, typer.Option(min=1, help="List so many promotions at most.")] = SHOWN,
    before: Annotated[
        int | None, typer.Option(min=1, metavar="NUMBER", help="Only promotions with a lower number than this.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """The promotion log of a scope, newest first, page by page."""
    from flts.cli import board
    from flts.promotion.log import none_in
    from flts.promotion.log_page import newest_entries

    store, named = existing_store(home), scope
    scope = chosen_scope(store, scope)
    entries = newest_entries(store, scope, limit, before)
    if entries and entries[-1].number > 1:
        options = {"--scope": named, "--limit": limit if limit != SHOWN else None}
        typer.echo(next_page("flts promotions list", options, entries[-1].number), err=True)
    if as_json:
        board.print_json(entries)
        return
    if not entries and before is None:
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
    from flts.promotion.log import decision_of, none_in
    from flts.promotion.log_page import entry_at, newest_number

    store = existing_store(home)
    scope = chosen_scope(store, scope)
    wanted = newest_number(store, scope) if number is None else number
    entry = entry_at(store, scope, wanted) if wanted > 0 else None
    if entry is None:
        newest = newest_number(store, scope)
        raise UsageError(
            f"scope '{scope}' has no promotion {number}; it has {newest}" if newest else none_in(store, scope),
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
        scope = chosen_scope(store, None, lambda: judged_scopes(store, resolve(store, config)))
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
