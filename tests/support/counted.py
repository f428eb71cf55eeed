"""Counts what a store is asked for, as S3 would: each list in requests of a thousand keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from math import ceil
from typing import Any

import pytest

from flts.backends import folder
from flts.backends.store import ObjectStoreAdapter

ANSWER = 1000
"""Keys in one answer of S3."""


@contextmanager
def requests(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """The requests to every store while the block runs, by method."""
    counted: Counter[str] = Counter()

    def answers(found: Sized) -> int:
        return max(1, ceil(len(found) / ANSWER))

    def count(name: str, cost: Callable[[Any], int]) -> None:
        asked = getattr(ObjectStoreAdapter, name)

        def counting(store: ObjectStoreAdapter, *arguments: Any, **options: Any) -> Any:
            found = asked(store, *arguments, **options)
            counted[name] += cost(found)
            return found

        patched.setattr(ObjectStoreAdapter, name, counting)

    with monkeypatch.context() as patched:
        for name in ("get", "exists", "create", "replace", "erase"):
            count(name, lambda _: 1)
        for name in ("list", "first", "folders"):
            count(name, answers)
        listed = folder.dated

        def dated(*arguments: Any) -> Any:
            found = list(listed(*arguments))
            counted["dated"] += answers(found)  # fewer than S3 would need: it lists the other keys, too
            return iter(found)

        patched.setattr(folder, "dated", dated)
        yield counted
