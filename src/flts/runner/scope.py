"""Which scope a person means who names none: that of the experiment in this folder, else the only one there is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from flts.contracts.errors import SpecError, UsageError, without_credentials
from flts.contracts.ports import Store
from flts.preprocess.dialect import OPEN, Dialect
from flts.promotion.log import scopes
from flts.spec.dataset import Dataset
from flts.spec.sources import written_dataset

EXPERIMENT = Path("flts.toml")
"""The experiment of the working directory."""


def written_dialect(scope: str) -> Dialect:
    """How flts.toml in the working directory says that the rows of a scope are written; open where it says nothing."""
    written = None
    with suppress(SpecError):  # a champion answers whatever is wrong with that file
        keys = {"identifier", *Dialect.__dataclass_fields__}
        written = written_dataset(EXPERIMENT if EXPERIMENT.exists() else None, os.environ, keys)
    return Dialect.of(written[0]) if written and written[0].scope == scope else OPEN


class ChosenScope(NamedTuple):
    """A scope that nobody named."""

    name: str
    why: str
    """Where it comes from, in words."""


def unnamed_scope(store: Store, among: Callable[[], Sequence[str]] | None = None) -> ChosenScope:
    """The scope of flts.toml in the working directory or of the environment, else the only one of the store.

    among: finds the scopes that can be meant, by default those with a promotion. Where there is none at all it is that
    of an experiment without an identifier. Raises UsageError that lists them where there are several, and SpecError for
    a flts.toml that cannot be read.
    """
    written = written_dataset(EXPERIMENT if EXPERIMENT.exists() else None, os.environ, {"identifier"})
    if written is not None:
        dataset, origins = written
        return ChosenScope(dataset.scope, f"of {origins.get('dataset.identifier', EXPERIMENT)}")
    valid = scopes(store) if among is None else sorted(among())
    if len(valid) > 1:
        raise UsageError(
            f"{without_credentials(store.url)} has several scopes, and there is no {EXPERIMENT} here; name one of them"
            f" (--scope, in Python scope=): {', '.join(valid)}",
            code="scope-missing",
            store=store.url,
            valid=valid,
        )
    return ChosenScope(valid[0], "the only one") if valid else ChosenScope(Dataset().scope, "the default")
