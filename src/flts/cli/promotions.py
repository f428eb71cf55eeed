"""`flts promotions`: who is and was champion, and the two ways a person may change it."""

from __future__ import annotations

import getpass
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flts.cli.options import Home, Json, Scope, existing_store, settings

if TYPE_CHECKING:
    from flts.contracts.records.log import LogEntry
    from flts.wiring import RunContext

app = typer.Typer(help="List, show and change promotions.", no_args_is_help=True)


@app.command("list")
def list_promotions(scope: Scope = "global", home: Home = None, as_json: Json = False) -> None:
    """The promotion log of a scope, newest first."""
    from flts.cli import board
    from flts.promotion.log import read_log

    entries = read_log(existing_store(home), scope)[::-1]
    if as_json:
        board.print_json(entries)
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
    )


@app.command()
def show(
    number: Annotated[int | None, typer.Argument(help="Number of the entry. [the newest]")] = None,
    scope: Scope = "global",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """One entry of the log with the decision behind it."""
    from flts.cli import board
    from flts.contracts import layout
    from flts.contracts.errors import UsageError
    from flts.contracts.records.base import require_record
    from flts.contracts.records.decision import DecisionRecord
    from flts.promotion.log import read_log

    store = existing_store(home)
    entries = read_log(store, scope)
    found = next((e for e in entries if e.number == (number or len(entries))), None)
    if found is None:
        raise UsageError(f"scope '{scope}' has {len(entries)} promotions, and no number {number or 1}")
    decision = require_record(store, layout.decision(scope, found.decision_id), DecisionRecord)
    if as_json:
        board.print_json({"entry": found, "decision": decision})
        return
    typer.echo(
        f"promotion {found.number} of '{scope}': {found.champion.model}, {found.kind}, {found.time}, by {found.actor}"
    )
    typer.echo(f"bundle {found.champion.bundle_sha256}\nuri {found.champion.model_uri}")
    board.print_decision(decision)


@app.command()
def promote(
    config: Annotated[str, typer.Argument(help="The start of the config_hash that judged the model.")],
    model: Annotated[str, typer.Argument(help="Name of the model on its scoreboard.")],
    scope: Scope = "global",
    home: Home = None,
) -> None:
    """Make a judged model the champion by hand, whatever the gate said."""
    from flts.contracts import layout, runs
    from flts.contracts.errors import UsageError
    from flts.contracts.records.base import require_record
    from flts.contracts.records.decision import DecisionRecord
    from flts.contracts.records.run import JudgePart, RunClaim
    from flts.promotion.stage import promote_by_hand, promoted_of
    from flts.report.evidence import resolve

    with _opened(home) as context:
        store, config_hash = context.store, resolve(context.store, config)
        judged = (part for part in runs.parts(store, config_hash, "judge", JudgePart) if part.scope == scope)
        judge = next(judged, None)
        if judge is None:
            raise UsageError(f"configuration {config_hash[:12]} was never judged in scope '{scope}'")
        claim = require_record(store, layout.run_part(config_hash, judge.run, "claim"), RunClaim)
        decision = require_record(store, layout.decision(scope, judge.decision_id), DecisionRecord)
        champion = promoted_of(decision, model, claim.data_hash, judge.run_ids.get(model))
        entry = promote_by_hand(
            store, context.bus, context.clock, scope, champion, decision.decision_id, getpass.getuser()
        )
        _done(context, entry, f"{model} is champion of '{scope}' already")


@app.command()
def rollback(scope: Scope = "global", home: Home = None) -> None:
    """Bring the champion before this one back; doing it again goes one further back."""
    from flts.promotion.stage import rollback as roll_back

    with _opened(home) as context:
        _done(context, roll_back(context.store, context.bus, context.clock, scope, getpass.getuser()), "")


def _opened(home: Path | None) -> AbstractContextManager[RunContext]:
    """The store under the folder's lock; on the bus of the services where there is one, so that they are told."""
    from flts.wiring import locked_context, shared_context

    chosen = settings(home=home)
    if not chosen.bus.startswith("memory:"):
        return shared_context(chosen)
    existing_store(home)
    return locked_context(chosen)


def _done(context: RunContext, entry: LogEntry | None, otherwise: str) -> None:
    from flts.runner.judgement import point_tracker

    if entry is None:
        typer.echo(otherwise)
        return
    point_tracker(context, entry)
    champion = entry.champion
    typer.echo(f"promotion {entry.number} ({entry.kind}): {champion.model} is champion of '{entry.scope}'")
