"""One thing that a person should know about the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["stops", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing to know. stops: `flts run` refuses the rows; warning: figures may mislead; note: good to know."""

    severity: Severity
    kind: str
    columns: tuple[str, ...]
    message: str
    action: str


def counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
