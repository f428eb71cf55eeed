"""A flts.toml of an older version, brought to the current one: comments and order stay, and what moves is said."""

from __future__ import annotations

from dataclasses import dataclass

import tomlkit

from flts.spec.fields import Spec
from flts.spec.sources import VERSION, parse_toml, validate_as_stored
from flts.spec.steps import HOUR, Step

MOVED = (
    "rows lie on a grid, where an absent row counts as empty cells: windows, seasons and lags count its steps",
    "test windows are one from each of equal parts of test, and a calendar feature is used where train teaches it",
    "every hash and nearly every number moves, so `flts run` fits all models again",
)
"""What a file of version 1 that stays as it is now gives."""


@dataclass(frozen=True)
class Upgraded:
    """The text of the file, and in sentences what is different now; none where the file was of this version already."""

    text: str
    notes: tuple[str, ...]


def upgrade_text(text: str, file: str) -> Upgraded:
    """Bring the text of a flts.toml to the current version; one without `v` is of it.

    file: what messages call it. Raises SpecError for text that is no experiment, or that a newer flts wrote.
    """
    values = parse_toml(text, file)
    spec = validate_as_stored(values, dict.fromkeys(values, file))
    if values.get("v", VERSION) == VERSION:
        return Upgraded(text, ())
    document = tomlkit.parse(text)
    document["v"] = VERSION
    return Upgraded(tomlkit.dumps(document), (*_notes(spec), *MOVED))


def _notes(spec: Spec) -> list[str]:
    """What single values mean now; each of them stays as it is written."""
    written, rule = spec.dataset.step, spec.preprocess.resample
    step = None if written == "infer" else Step.parse(written)
    notes = []
    if step is not None and not step.fixed:
        notes.append(
            f'dataset.step = "{written}" was a fixed duration and is a step of the calendar now: a day has 23 or 25'
            f' hours when the clock of dataset.timezone changes; "{step.nanoseconds // HOUR}h" is the fixed duration'
        )
    if rule != "off":
        notes.append(
            f'preprocess.resample = "{rule}" stays; it is needed where several rows share a step, and no longer for'
            " absent rows. Its steps start at full hours, days and months in dataset.timezone instead of UTC"
        )
    return notes
