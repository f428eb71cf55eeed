"""What the forecasts of each scope were worth, as it was computed last: read beside the polls, shown as metrics."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from flts.contracts.errors import FltsError
from flts.contracts.ports import Store
from flts.contracts.records.live import Live
from flts.serve.live import live

PAUSE = 60.0
"""Seconds between two readings: somebody computes it every few minutes at most."""


class Lives:
    """The live error of every scope."""

    def __init__(self, store: Store) -> None:
        self._store, self._due = store, 0.0
        self.found: Mapping[str, Live] = {}
        """By scope. The mapping is replaced, never changed."""

    def refresh(self, scopes: Iterable[str]) -> None:
        """Read it again, where that is due. Where it cannot be read there is none, rather than an old one."""
        if time.monotonic() < self._due:
            return
        read = {scope: self._read(scope) for scope in scopes}
        self.found = {scope: record for scope, record in read.items() if record is not None}
        self._due = time.monotonic() + PAUSE

    def _read(self, scope: str) -> Live | None:
        try:
            return live(self._store, scope)
        except FltsError:
            return None
