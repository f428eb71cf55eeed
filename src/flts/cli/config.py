"""`flts config`: the values of an experiment, where each came from, and how two experiments differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from flts.cli.options import Home, Json, Sets, Source, SpecFile, existing_store, loaded_spec

if TYPE_CHECKING:
    from pydantic import JsonValue

    from flts.spec.fields import Spec

app = typer.Typer(help="Show, describe, compare and upgrade experiments.", no_args_is_help=True)

ABSENT = "—"


class Value(NamedTuple):
    """One value of an experiment."""

    key: str
    value: JsonValue
    origin: str
    """Where it was set; "default" where it was not."""
    moves: Sequence[str]
    """The hashes that change with it."""
    resolved: JsonValue
    """The value that the rows make of it, which is the one that is hashed; None where the rows are not here."""


class InTwoForms(NamedTuple):
    """An experiment as it is written, and as its rows resolve it; None where they are not here."""

    written: Spec
    resolved: Spec | None
    stored: bool = False
    """A run stored it: without the places of its rows, which are in no hash."""


@app.command()
def show(
    file: SpecFile = None,
    sets: Sets = None,
    source: Source = None,
    as_json: Json = False,
) -> None:
    """Every value, where it came from, and the hashes that change with it."""
    from flts.cli import board
    from flts.cli.rows import in_words, on_rows
    from flts.spec.lineage import moves

    loaded = loaded_spec(file, sets, source)
    moved, found = moves(loaded.spec), on_rows(loaded)
    resolved = {} if isinstance(found, str) else dict(_leaves(found.spec))
    rows = [
        Value(path, value, loaded.origins.get(path, "default"), moved.get(path, ()), resolved.get(path))
        for path, value in _leaves(loaded.spec)
    ]
    if as_json:
        board.print_json([row._asdict() for row in rows])
        return
    board.print_table(
        ["key", "value", "from", "moves"],
        [[row.key, _text(row.value), row.origin, _hashes(row.moves)] for row in rows],
    )
    if isinstance(found, str):
        typer.echo(f"not resolved from the rows: {found}")
        return
    typer.echo("resolved from the rows, and hashed so:")
    for name, text in in_words(found):
        typer.echo(f"  {name:<9} {text}")


@app.command()
def schema() -> None:
    """JSON Schema of flts.toml."""
    from flts.cli import board
    from flts.spec.sources import json_schema

    board.print_json(json_schema())


@app.command()
def diff(
    a: Annotated[str, typer.Argument(help="A flts.toml, or the start of a config_hash.")],
    b: Annotated[str, typer.Argument(help="Another one.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Each value in which two experiments differ, and the hashes it changes. Exits with 1 when they differ.

    They are compared as their rows resolve them, or as they are written where the rows of one are not here.
    """
    from flts.cli import board
    from flts.spec.lineage import explain, moves

    forms = _spec(a, home), _spec(b, home)
    first, second = _alike(*forms)
    moved = {**moves(first), **moves(second)}
    only_hashed = any(form.stored for form in forms)
    differences = explain(*(dict(_leaves(spec, only_hashed=only_hashed)) for spec in (first, second)))
    if as_json:
        board.print_json(
            [{"key": d.path, "a": _json(d.a), "b": _json(d.b), "moves": moved.get(d.path, ())} for d in differences]
        )
    elif differences:
        table = [[d.path, _text(d.a), _text(d.b), _hashes(moved.get(d.path, ()))] for d in differences]
        board.print_table(["key", a, b, "moves"], table)
    else:
        typer.echo("no difference")
    if differences:
        raise typer.Exit(1)


@app.command()
def upgrade(file: SpecFile = None) -> None:
    """Bring a flts.toml of an older version to this one, and say what it means now. Comments and order stay."""
    from flts.spec.sources import VERSION, read_text
    from flts.spec.upgrade import upgrade_text
    from flts.spec.written import write_text

    path = file or Path("flts.toml")
    upgraded = upgrade_text(read_text(path), str(path))
    if not upgraded.notes:
        typer.echo(f"{path}: has version {VERSION} already")
        return
    write_text(path, upgraded.text, replace=True)
    typer.echo(f"{path}: has version {VERSION} now")
    for note in upgraded.notes:
        typer.echo(f"  {note}")


def _leaves(spec: Spec, *, only_hashed: bool = False) -> list[tuple[str, Any]]:
    """Path and value of every leaf, in the order of the file; tables of absent models are left out.

    only_hashed: also leave out the locators, which say where the rows are and how they are written.
    """

    def below(value: Any, path: str) -> list[tuple[str, Any]]:
        if isinstance(value, dict):
            return [leaf for key, item in value.items() for leaf in below(item, f"{path}.{key}" if path else key)]
        return [(path, value)]

    return below(spec.identity() if only_hashed else spec.model_dump(mode="json", exclude_none=True), "")


def _alike(a: InTwoForms, b: InTwoForms) -> tuple[Spec, Spec]:
    if a.resolved is None or b.resolved is None:
        return a.written, b.written
    return a.resolved, b.resolved


def _spec(name: str, home: Path | None) -> InTwoForms:
    from flts.cli.rows import on_rows
    from flts.contracts import layout
    from flts.contracts.errors import DamagedObject, SpecError
    from flts.contracts.records.base import require_object
    from flts.report.evidence import resolve
    from flts.spec.sources import VERSION, load_spec, validate_as_stored

    if Path(name).exists() or name.endswith(".toml"):
        loaded = load_spec(Path(name))
        resolved = on_rows(loaded, home)
        return InTwoForms(loaded.spec, None if isinstance(resolved, str) else resolved.spec)
    store = existing_store(home)
    key = layout.spec(resolve(store, name))
    try:
        found = require_object(store, key)
        stored = validate_as_stored(found)
    except SpecError as fault:
        raise DamagedObject(
            f"{key} in {store.url} is damaged: {fault}; {layout.mend(key)}",
            code="record-damaged",
            key=key,
            fields=fault.data["key"],
        ) from None
    resolved_then = found.get("v") == VERSION  # version 1 was stored as it was written
    return InTwoForms(stored, stored if resolved_then else None, stored=True)


def _hashes(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "nothing"


def _json(value: Any) -> Any:
    from flts.spec.lineage import ABSENT as MISSING

    return None if value is MISSING else value


def _text(value: Any) -> str:
    from flts.spec.lineage import ABSENT as MISSING

    return ABSENT if value is MISSING else json.dumps(value, ensure_ascii=False)
