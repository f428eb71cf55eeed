"""Targets by pattern: `P*` stands for every column whose name begins with P."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

ANY = "*"
"""Stands for any characters in a pattern, also for none."""


def targets_among(patterns: Sequence[str], columns: Iterable[str]) -> list[str]:
    """The columns that are meant, each once: those of a pattern in the order of the columns.

    A name that a column has is no pattern. A pattern without a column stays, for the error about an unknown name.
    """
    names = list(dict.fromkeys(columns))
    found: list[str] = []
    for pattern in patterns:
        if pattern in names or ANY not in pattern:
            found.append(pattern)
            continue
        wanted = re.sub(r"[\[?]", r"[\g<0>]", pattern)  # nothing else is special
        found += [name for name in names if fnmatchcase(name, wanted)] or [pattern]
    return list(dict.fromkeys(found))
