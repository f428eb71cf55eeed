"""Decisions compared by what they decide, not by how they say it.

A decision stores numbers and, beside them, sentences for people. A code version stands for the numbers: a sentence may
be reworded at any time without another version or another hash, and a store keeps the sentences it was written with.
So a test that compares whole decisions of two versions leaves the sentences out, here and nowhere else. Whether a
sentence is there, and how many there are, is still compared.
"""

from __future__ import annotations

import json
from typing import Any

from flts.contracts.canonical import canonical_json

SENTENCES = ("reasons", "sure", "why_not", "warnings", "reason", "no_intervals", "no_mase", "not_comparable")
"""Keys of a decision whose text is for people."""
BLANK = "…"


def without_sentences(value: Any) -> Any:
    """The JSON value of a decision, or of a part of it, with every sentence blank."""
    if isinstance(value, dict):
        return {key: _blank(part) if key in SENTENCES else without_sentences(part) for key, part in value.items()}
    return [without_sentences(part) for part in value] if isinstance(value, list) else value


def numbers_of(decision: bytes) -> bytes:
    """The canonical JSON of a stored decision with every sentence blank."""
    return canonical_json(without_sentences(json.loads(decision)))


def _blank(value: Any) -> Any:
    if isinstance(value, str):
        return BLANK
    return [_blank(part) for part in value] if isinstance(value, list) else without_sentences(value)
