"""A warning about rows: a sentence for people, and for programs its code and the place it is about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Notice:
    """What a reader of a forecast should know about the rows behind it.

    code: a stable word in kebab-case; column and row: where, if it is about one; rows count from 1.
    """

    code: str
    text: str
    column: str | None = None
    row: int | None = None

    def __str__(self) -> str:
        return self.text
