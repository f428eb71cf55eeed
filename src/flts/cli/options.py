"""Options that several commands share, and how they become Settings."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from flts.contracts.ports import Store
    from flts.settings import Settings
    from flts.spec.sources import LoadedSpec

SpecFile = Annotated[Path | None, typer.Argument(help="The experiment. [flts.toml, if it is here]")]
Models = Annotated[str | None, typer.Option("--models", help="Only these models, separated by commas.")]
Home = Annotated[Path | None, typer.Option("--home", help="Folder of everything a run leaves behind. [.flts]")]
Scope = Annotated[str, typer.Option("--scope", help="Scope of the promotion, dataset.identifier of the Spec.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, nothing else.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Set one value of the Spec: sample.train_rows=50.")]
Source = Annotated[str | None, typer.Option("--source", help="Folder of the data, or file:// or s3:// URL.")]


def settings(**flags: object) -> Settings:
    """Settings with these flags on top."""
    from flts.settings import load_settings

    return load_settings(**flags)


def logged(*, terminal: Literal["text", "off"] = "off", **flags: object) -> Settings:
    """Settings of a command that logs events from here on; `terminal`: what auto means where a person looks on."""
    from flts.contracts import events

    chosen = settings(**flags)
    unattended = not sys.stderr.isatty()
    events.configure(chosen.log_format if chosen.log_format != "auto" else "json" if unattended else terminal)
    return chosen


def spec_file(file: Path | None) -> Path | None:
    """The file of the experiment: the one that is named, or flts.toml where there is one."""
    return Path("flts.toml") if file is None and Path("flts.toml").exists() else file


def loaded_spec(
    file: Path | None, sets: list[str] | None, source: str | None = None, models: str | None = None
) -> LoadedSpec:
    """The experiment of a file with the environment and the options of a command on top. Raises SpecError."""
    from flts.spec.sources import load_spec

    only = split_names(models) if models is not None else None
    return load_spec(spec_file(file), environ=os.environ, overrides=sets or (), source=source, models=only)


def split_names(written: str) -> list[str]:
    """The names in a list with commas."""
    return [name.strip() for name in written.split(",") if name.strip()]


def existing_store(home: Path | None) -> Store:
    """The store of a .flts that must be there already."""
    from flts import wiring

    return wiring.existing_store(settings(home=home))
