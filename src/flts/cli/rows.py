"""What the rows of an experiment decide, for commands that describe it: only where they lie on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from flts.cli.options import settings

if TYPE_CHECKING:
    from pathlib import Path

    from flts.contracts.records.data import ProcessedMeta
    from flts.preprocess.source import RawInput
    from flts.spec.fields import Spec
    from flts.spec.sources import LoadedSpec


class OnRows(NamedTuple):
    """An experiment on its rows."""

    spec: Spec
    """Resolved, as it is hashed."""
    meta: ProcessedMeta


def on_rows(loaded: LoadedSpec, home: Path | None = None) -> OnRows | str:
    """The experiment on its rows, or why there is none. Rows are read unless the store of this folder knows them."""
    from flts.contracts.errors import FltsError
    from flts.spec.resolved import resolve

    try:
        meta = _meta(loaded, home)
    except FltsError as error:  # an experiment can be described where its rows are elsewhere, or cannot be used
        return str(error)
    return OnRows(resolve(loaded.spec, meta), meta) if meta else "they are not on this machine"


def _meta(loaded: LoadedSpec, home: Path | None) -> ProcessedMeta | None:
    from flts import wiring
    from flts.preprocess import CODE_VERSION
    from flts.preprocess.stage import known, preprocess

    spec = loaded.spec
    if urlsplit(spec.dataset.source).scheme not in {"", "file"}:
        return None
    chosen, prepared = settings(home=home), None
    raw: RawInput = wiring.open_raw(spec.dataset, loaded.folder, chosen)
    if urlsplit(chosen.store_url).scheme == "file" and (chosen.home / "VERSION").exists():
        prepared = known(spec, raw, wiring.existing_store(chosen), CODE_VERSION)
    return (prepared or preprocess(spec, raw, wiring.open_store("memory:///"), CODE_VERSION)).meta


def in_words(found: OnRows) -> list[tuple[str, str]]:
    """What the rows decided, by name."""
    from flts.preprocess.grid import Grid
    from flts.spec.resolved import possible_origins

    spec, meta = found
    cycles = dict.fromkeys(name.rpartition("_")[0].replace("_", " ") for name in meta.fitted.calendar)
    origins, asked = possible_origins(spec, meta), spec.evaluate.windows
    return [
        ("rows", f"{meta.train.rows:,} for train, {meta.test.rows:,} for test"),
        ("step", str(Grid.of(meta.fitted.grid))),
        ("seasons", f"{', '.join(map(str, spec.task.seasons))} steps" if spec.task.seasons else "none"),
        ("calendar", ", ".join(cycles) or "none"),
        ("windows", f"{asked:,} of {origins:,} test origins" if asked else f"all {origins:,} test origins"),
    ]
