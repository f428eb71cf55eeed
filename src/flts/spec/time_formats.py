"""The names of the ways to write times, and the directives of their patterns."""

from __future__ import annotations

import re

INFER, ISO = "infer", "iso"
EPOCHS = {"epoch s": 10**9, "epoch ms": 10**6, "epoch us": 10**3, "epoch ns": 1}
"""Counts since 1970-01-01 in UTC, and the nanoseconds of one."""
DIRECTIVES = "YymdbqHIMSp"
"""What a pattern may hold: directives of strptime, and %q for the number of a quarter."""


def fault_of(time_format: str) -> str | None:
    """What is wrong with a format that a person names, None where it can be used."""
    if time_format in {INFER, ISO, *EPOCHS}:
        return None
    used = re.findall("%(.?)", time_format)
    if not used:
        return f"use 'iso', {', '.join(map(repr, EPOCHS))}, or a pattern such as '%d.%m.%Y %H:%M'"
    unknown = next((directive for directive in used if directive not in DIRECTIVES or not directive), None)
    if unknown is not None:
        return f"%{unknown} is none of its directives, {' '.join(f'%{name}' for name in DIRECTIVES)}"
    if ("Y" in used) + ("y" in used) != 1 or len(set(used)) < len(used):
        return "a pattern holds the year, and each directive once"
    return None
