"""Does a deployment run the experiment of this machine? A value that drifts is named with the hashes it moves.

The first system ran 30 test rows in its cluster under a report of 50: nothing compared the two files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from flts.contracts.errors import UsageError
from flts.contracts.records.data import ProcessedMeta
from flts.deploy.values import experiment, read_values
from flts.spec.lineage import ABSENT, explain, moves
from flts.spec.resolved import resolve
from flts.spec.sources import parse_toml, read_text, validate, validate_as_stored

if TYPE_CHECKING:
    from flts.spec.fields import Spec

FILE, MANIFEST = "flts.toml", "manifest"


class Drift(NamedTuple):
    """One value in which a deployment differs."""

    against: str
    """What it was compared with: FILE or MANIFEST."""
    key: str
    deployed: Any
    """In the values of the chart; None where it is absent."""
    other: Any
    moves: Sequence[str]
    """The hashes that change with it."""


def deployed(values: Sequence[Path], chart: Path | None) -> Spec:
    """The experiment that the chart mounts for these files of values. chart: its folder, for its own defaults.

    Raises UsageError, SpecError.
    """
    files = [*([chart / "values.yaml"] if chart else []), *values]
    text = experiment(read_values(files))
    origins = dict.fromkeys(_keys(parse_toml(text, "values")), ", ".join(map(str, files)))
    return validate(parse_toml(text, "values"), origins)


def against_file(spec: Spec, other: Spec) -> list[Drift]:
    """The values in which a deployed experiment differs from that of a file, as both are written."""
    return list(_drifts(FILE, spec, other))


def against_manifest(spec: Spec, manifest: Path) -> list[Drift]:
    """The values in which it differs from a run: the JSON of `flts runs show --json`. Rows resolve both alike.

    Raises UsageError for a file that is none, or that lacks the experiment or the rows.
    """
    stored, meta = _parts(manifest)
    return list(_drifts(MANIFEST, resolve(spec, meta), stored))


def _drifts(against: str, spec: Spec, other: Spec) -> Iterator[Drift]:
    moved = {**moves(other), **moves(spec)}
    located = {} if against == MANIFEST else {"name": None, "identifier": None}  # no manifest holds a locator
    for found in explain(_compared(spec, located), _compared(other, located)):
        yield Drift(against, found.path, _plain(found.a), _plain(found.b), moved.get(found.path, ()))


def _compared(spec: Spec, located: Mapping[str, None]) -> dict[str, Any]:
    """The hashed values, and those locators that say which rows and which scope, wherever the rows are."""
    fields = json.loads(json.dumps(spec.identity()))
    fields["dataset"] |= {name: getattr(spec.dataset, name) for name in located}
    whole: dict[str, Any] = fields
    return whole


def _plain(value: Any) -> Any:
    return None if value is ABSENT else value


def _parts(manifest: Path) -> tuple[Spec, ProcessedMeta]:
    try:
        record = json.loads(
            read_text(manifest, "--manifest names what `flts runs show CONFIG --json` wrote", f"{MANIFEST}.json")
        )
        spec, meta = record["spec"], record["data"]
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            f"{manifest}: is no manifest; write one with `flts runs show CONFIG --json > {manifest.name}`",
            code="not-a-manifest",
            file=str(manifest),
        ) from None
    if not isinstance(spec, dict) or meta is None:
        raise UsageError(
            f"{manifest}: the run's experiment or rows are no longer in its store, so nothing can be compared",
            code="manifest-incomplete",
            file=str(manifest),
        )
    try:
        return validate_as_stored(spec), ProcessedMeta.model_validate(meta)
    except ValidationError as error:
        raise UsageError(
            f"{manifest}: its `data` cannot be read: {error.errors()[0]['msg']}",
            code="not-a-manifest",
            file=str(manifest),
        ) from None


def _keys(table: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key, value in table.items():
        below = f"{path}.{key}" if path else key
        yield below
        if isinstance(value, Mapping):
            yield from _keys(value, below)
