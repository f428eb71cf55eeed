"""Which scope a person means who names none: that of the experiment in this folder, else the only one there is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from flts.contracts.errors import UsageError, without_credentials
from flts.contracts.ports import Store
from flts.promotion.log import scopes
from flts.spec.fields import Dataset
from flts.spec.sources import written_scope

EXPERIMENT = Path("flts.toml")
"""The experiment of the working directory."""


class ChosenScope(NamedTuple):
    """A scope that nobody named."""

    name: str
    why: str
    """Where it comes from, in words."""


def unnamed_scope(store: Store, among: Sequence[str] | None = None) -> ChosenScope:
    """The scope of flts.toml in the working directory or of the environment, else the only one of the store.

    among: the scopes that can be meant, by default those with a promotion. Where there is none at all it is that of
    an experiment without an identifier. Raises UsageError that lists them where there are several, and SpecError for
    a flts.toml that cannot be read.
    """
    written = written_scope(EXPERIMENT if EXPERIMENT.exists() else None, os.environ)
    if written is not None:
        name, origin = written
        return ChosenScope(name, f"of {origin}")
    valid = scopes(store) if among is None else sorted(among)
    if len(valid) > 1:
        raise UsageError(
            f"{without_credentials(store.url)} has several scopes, and there is no {EXPERIMENT} here; name one of them"
            f" with --scope: {', '.join(valid)}",
            code="scope-missing",
            store=store.url,
            valid=valid,
        )
    return ChosenScope(valid[0], "the only one") if valid else ChosenScope(Dataset().scope, "the default")
