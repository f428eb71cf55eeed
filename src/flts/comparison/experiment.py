"""In which values the experiments of several runs differ, and which hashes each value changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flts.comparison.result import SpecDifference
from flts.contracts.errors import SpecError
from flts.contracts.records.base import JsonObject
from flts.spec.fields import Spec
from flts.spec.lineage import ABSENT, explain, moves
from flts.spec.sources import validate_as_stored


def readable(stored: JsonObject | None) -> Spec | None:
    """The experiment of a run; None where it is absent or no experiment of any version."""
    try:
        return None if stored is None else validate_as_stored(stored)
    except SpecError:
        return None


def differences(specs: Sequence[Spec]) -> list[SpecDifference]:
    """Every value in which one of them differs from the first, sorted by key."""
    identities = [spec.identity() for spec in specs]
    keys = sorted({found.path for other in identities[1:] for found in explain(identities[0], other)})
    moved = {key: hashes for spec in reversed(specs) for key, hashes in moves(spec).items()}
    return [
        SpecDifference(key=key, values=[_value(fields, key) for fields in identities], moves=_moved(moved, key))
        for key in keys
    ]


def _value(fields: Mapping[str, Any], key: str) -> Any:
    value: Any = fields
    for name in key.split("."):
        value = value.get(name, ABSENT) if isinstance(value, Mapping) else ABSENT
    return None if value is ABSENT else value


def _moved(moved: Mapping[str, Sequence[str]], key: str) -> list[str]:
    """The hashes of this key, or of every key in it: a table that one of the experiments does not have."""
    hashes = [name for path, names in moved.items() if path == key or path.startswith(f"{key}.") for name in names]
    return list(dict.fromkeys(hashes))
