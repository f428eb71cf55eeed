"""Options that several commands share, and how they become Settings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from flts.contracts.ports import Store
    from flts.settings import Settings

Home = Annotated[Path | None, typer.Option("--home", help="Folder of everything a run leaves behind. [.flts]")]
Scope = Annotated[str, typer.Option("--scope", help="Scope of the promotion, dataset.identifier of the Spec.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, nothing else.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Set one value of the Spec: sample.train_rows=50.")]
Source = Annotated[str | None, typer.Option("--source", help="Folder of the data, or file:// or s3:// URL.")]


def settings(**flags: object) -> Settings:
    """Settings with these flags on top."""
    from flts.settings import load_settings

    return load_settings(**flags)


def log_events(chosen: Settings, terminal: Literal["text", "off"] = "off") -> None:
    """Send events to stderr as the settings say; `terminal`: what auto means where a person looks on."""
    from flts.contracts import events

    unattended = not sys.stderr.isatty()
    events.configure(chosen.log_format if chosen.log_format != "auto" else "json" if unattended else terminal)


def existing_store(home: Path | None) -> Store:
    """The store of a .flts that must be there already."""
    from flts.contracts.errors import UsageError
    from flts.home import check_home
    from flts.wiring import open_store

    chosen = settings(home=home)
    if not chosen.store:
        if not (chosen.home / "VERSION").exists():
            raise UsageError(f"there is no {chosen.home} here yet; `flts run` makes one, --home names another")
        check_home(chosen.home)
    return open_store(chosen.store_url)
