"""What is known of a scope: which promotion answers, with which model, and why it is not the newest one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from flts.contracts.records.log import LogEntry
from flts.promotion.log import Head
from flts.serve.follow import Champion

T = TypeVar("T")


@dataclass(frozen=True)
class Served:
    """What a scope is served with. since and stale_since: seconds since 1970.

    entry_sha256: digest of the log entry as it is stored, which tells two promotions apart; self_test_seconds: how long
    the self-test took; stale_since: since when a newer promotion cannot be served, or the log not be read, so that this
    one goes on answering; reason: why.
    """

    scope: str
    champion: Champion
    since: float
    entry_sha256: str
    self_test_seconds: float = 0.0
    stale_since: float | None = None
    reason: str | None = None

    def once(self, make: Callable[[Served], T]) -> T:
        """What `make` makes of this, made once: some of it is written with every answer."""
        made: T | None = self._made.get(make)
        if made is None:
            made = self._made[make] = make(self)
        return made

    @cached_property
    def _made(self) -> dict[Callable[[Served], Any], Any]:
        return {}


@dataclass(frozen=True)
class Staleness:
    """Why the newest promotion of a scope is not served.

    since: seconds since 1970 when that began; head: the newest entry; code, reason: of the error; failed: how often in
    a row; due: when it is tried again, by the monotonic clock.
    """

    since: float
    head: Head
    code: str
    reason: str
    failed: int
    due: float


@dataclass(frozen=True)
class Standing:
    """A promotion that answers, or did until its model was put out of memory; since when: seconds since 1970."""

    entry: LogEntry
    sha256: str
    since: float


@dataclass(frozen=True)
class ScopeState:
    """A scope with a promotion, to be shown. served: None where its model is not in memory."""

    scope: str
    newest: int
    standing: Standing | None
    served: Served | None
    stale: Staleness | None
