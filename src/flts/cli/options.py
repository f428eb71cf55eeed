"""Options that several commands share, and how they become settings and a Spec."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flts.contracts.errors import visible

if TYPE_CHECKING:
    from flts.contracts.ports import DatedStore, Store
    from flts.settings import Settings
    from flts.spec.sources import LoadedSpec

SpecFile = Annotated[Path | None, typer.Argument(help="The experiment. [flts.toml, if it is here]")]
Models = Annotated[str | None, typer.Option("--models", help="Only these models, separated by commas.")]
Home = Annotated[Path | None, typer.Option("--home", help="Folder of everything a run leaves behind. [.flts]")]
Scope = Annotated[
    str | None, typer.Option("--scope", help="Scope of the promotion. [that of flts.toml here, else the only one]")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, nothing else.")]
Wide = Annotated[
    bool, typer.Option("--wide", help="Every column, and no line wrapped, however narrow the terminal is.")
]
LogFormat = Annotated[
    Literal["auto", "json", "text", "off"] | None,
    typer.Option(help="Events on stderr; auto: none, of a service text at a terminal, else JSON. [auto]"),
]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Set one value of the Spec: sample.train_rows=50.")]
Source = Annotated[str | None, typer.Option("--source", help="Folder of the data, or file:// or s3:// URL.")]


Separator = Annotated[str | None, typer.Option(help="Character between two cells: ';', tab, … [found]")]
Decimal = Annotated[str | None, typer.Option(help="Decimal mark of numbers, '.' or ','. [found]")]
Thousands = Annotated[str | None, typer.Option(help="What sets thousands apart; empty for nothing. [found]")]
TimeFormat = Annotated[str | None, typer.Option(help="How times are written: iso, 'epoch ms', '%d.%m.%Y'. [found]")]
ClockColumn = Annotated[str | None, typer.Option(help="Column of the time of day beside that of the date. [found]")]
Encoding = Annotated[str | None, typer.Option(help="Encoding of a CSV file, such as latin-1. [found]")]


def settings(**flags: object) -> Settings:
    """Settings, overridden by these flags."""
    from flts.settings import load_settings

    return load_settings(**flags)


def logged(*, service: bool = False, **flags: object) -> Settings:
    """Settings, overridden by flags; also starts logging.

    service: its events are all that it says, so `auto` shows them; a command for people has lines of its own.
    """
    from flts.contracts import events

    chosen = settings(**flags)
    auto: events.Format = "off" if not service else "text" if sys.stderr.isatty() else "json"
    events.configure(auto if chosen.log_format == "auto" else chosen.log_format)
    return chosen


def reading(**named: str | None) -> dict[str, str]:
    """How a file is written, as far as options say."""
    return {key: value for key, value in named.items() if value is not None}


def spec_file(file: Path | None) -> Path | None:
    """The file of the experiment: the named one, else flts.toml if it exists."""
    return Path("flts.toml") if file is None and Path("flts.toml").exists() else file


def loaded_spec(
    file: Path | None, sets: list[str] | None, source: str | None = None, models: str | None = None
) -> LoadedSpec:
    """The experiment of a file, overridden by the environment and by options. Raises SpecError."""
    from flts.spec.sources import load_spec

    only = split_names(models) if models is not None else None
    return load_spec(spec_file(file), environ=os.environ, overrides=sets or (), source=source, models=only)


def required_spec(
    file: Path | None, sets: list[str] | None, source: str | None = None, models: str | None = None
) -> LoadedSpec:
    """As `loaded_spec`, of a command that needs rows. Raises SpecError where nothing names them."""
    from flts.contracts.errors import SpecError

    loaded = loaded_spec(file, sets, source, models)
    if spec_file(file) is None and not loaded.spec.dataset.targets:
        raise SpecError("there is no flts.toml here; `flts init FILE` writes one for a file of rows", code="no-spec")
    return loaded


def split_names(text: str) -> list[str]:
    """The names in a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def chosen_scope(store: Store, named: str | None, among: Callable[[], Sequence[str]] | None = None) -> str:
    """The scope that is named, else the one that is meant, which is said on stderr. among: as of `unnamed_scope`."""
    if named is not None:
        return named
    from flts.runner.scope import unnamed_scope

    name, why = unnamed_scope(store, among)
    typer.echo(f"scope: '{name}', {visible(why)}", err=True)
    return name


def next_page(command: str, options: Mapping[str, object], last: object) -> str:
    """The line that names the command for what is older than the last row. options: those that are given, by name."""
    words = [command, *(f"{name} {value}" for name, value in options.items() if value is not None), f"--before {last}"]
    return f"older ones: `{' '.join(words)}`"


def existing_store(home: Path | None) -> DatedStore:
    """The store of an existing `.flts` folder. Raises UsageError when there is none."""
    from flts import wiring

    return wiring.existing_store(settings(home=home))
