"""Which model each scope is served with: a poll follows the promotion logs, and no request waits for it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flts.contracts.errors import FltsError
from flts.contracts.ports import Store
from flts.promotion.log import scopes
from flts.serve.follow import Champion, Follower


@dataclass(frozen=True)
class Served:
    """What a scope is served with. since and stale_since: seconds since 1970.

    stale_since: since when the newest promotion cannot be served, and this older one answers; reason: why.
    """

    scope: str
    champion: Champion
    since: float
    stale_since: float | None = None
    reason: str | None = None


class Models:
    """The loaded champions. `poll` runs in one thread; everything else reads what the last poll left."""

    def __init__(self, store: Store, wanted: Sequence[str] = ()) -> None:
        """wanted: the scopes to serve; empty for every scope that has a promotion log."""
        self._store, self._wanted = store, tuple(wanted)
        self._follower = Follower(store)
        self._served: Mapping[str, Served] = {}
        self._polled = False

    @property
    def served(self) -> Mapping[str, Served]:
        """What is served now, by scope. The mapping is replaced, never changed."""
        return self._served

    @property
    def polled(self) -> bool:
        """Whether the logs were read at least once."""
        return self._polled

    def poll(self) -> None:
        """Read the logs and load what was promoted. A failure leaves the loaded model in place."""
        now, before = time.time(), self._served
        names = self._wanted or scopes(self._store)
        self._served = {scope: served for scope in names if (served := self._next(scope, before.get(scope), now))}
        self._polled = True

    def _next(self, scope: str, before: Served | None, now: float) -> Served | None:
        try:
            champion = self._follower.champion(scope)
        except FltsError as error:
            if before is None:
                return None
            return replace(before, stale_since=before.stale_since or now, reason=str(error))
        if before is not None and before.champion is champion:
            return replace(before, stale_since=None, reason=None)
        return Served(scope, champion, now)
