"""Canonical JSON and its digest, from which every hash and every stored object is made."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any


def canonical_json(value: Any) -> bytes:
    """The canonical bytes of a JSON value: keys sorted, no spaces, UTF-8, -0.0 as 0.0.

    Raises ValueError for NaN and infinity, TypeError for a key that is not a string.
    """
    return json.dumps(
        _plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def _plain(value: Any) -> Any:
    """JSON types only; json.dumps alone would turn the key 1 into "1" and write -0.0 unlike 0.0."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"a key of canonical JSON must be a string, found {key!r}")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value + 0.0
    return value


def sha256(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def is_digest(text: str) -> bool:
    """Whether a text is a SHA-256 in hexadecimal."""
    return re.fullmatch("[0-9a-f]{64}", text) is not None


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value."""
    return sha256(canonical_json(value))
