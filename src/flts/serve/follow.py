"""The champion of a scope: the bundle that the promotion log names, served only after its self-test."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flts.contracts import events
from flts.contracts.errors import NoChampion, UsageError
from flts.contracts.ports import Store
from flts.contracts.records.log import LogEntry
from flts.forecasting.bundle import Bundle, load_bundle
from flts.promotion.champion import named_if_damaged
from flts.promotion.log import Chain, none_in, scopes, served, stands_last
from flts.serve.answer import Answer, answer

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Champion:
    """A promoted model that passed its self-test, and the log entry that promoted it."""

    entry: LogEntry
    bundle: Bundle

    def forecast(self, history: Any, level: float = 0.8, horizon: int | None = None) -> pl.DataFrame:
        """Forecasts from the end of a history, in original units.

        history: polars, pandas or Arrow table, or a mapping of columns, with the time and the manifest's columns in
        original units, newest row last; or a raw file. horizon: steps, by default all that the model was trained for.
        Returns columns time (local time of the train rows), target, mean, lower, upper; bounds are null where the model
        has none. `answer` also says what is wrong with the history. Raises DataError and UsageError.
        """
        return self.answer(history, level, horizon).frame()

    def answer(self, history: Any, level: float = 0.8, horizon: int | None = None) -> Answer:
        """The same as arrays, with the warnings about the history."""
        return answer(self.bundle, history, level, horizon)


def champion_of(store: Store, scope: str) -> Champion:
    """Load the champion. Raises UsageError when the scope has none, DamagedObject when its bundle was changed."""
    entries = served(store, scope).entries
    if not entries:
        raise UsageError(none_in(store, scope), code="no-champion", scope=scope, store=store.url, scopes=scopes(store))
    return _load(store, entries[-1])


@dataclass(frozen=True)
class _Serving:
    champion: Champion
    entry_sha256: str


class Follower:
    """Keeps the champion of each requested scope loaded, and loads the next one when the log has changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._serving: dict[str, _Serving] = {}
        self._lock = threading.Lock()

    def champion(self, scope: str) -> Champion:
        """The current champion. Raises NoChampion, and DamagedObject when its bundle was changed."""
        while True:
            serving = self._serving.get(scope)
            if serving is not None and stands_last(
                self._store, scope, serving.champion.entry.number, serving.entry_sha256
            ):
                return serving.champion
            log = served(self._store, scope)
            fresh = self._next(log, serving)
            with self._lock:
                if self._serving.get(scope) is not serving:
                    continue  # another thread was faster: see whether its champion is the newest
                if fresh is None:
                    self._serving.pop(scope, None)
                else:
                    self._serving[scope] = fresh
            if serving is not None:
                _announce(scope, serving, fresh, log)
            if fresh is None:
                raise NoChampion(
                    f"scope '{scope}' of {self._store.url} has no champion yet", scope=scope, store=self._store.url
                )
            return fresh.champion

    def _next(self, log: Chain, serving: _Serving | None) -> _Serving | None:
        """The champion of a log, with the loaded bundle where that is the same; None for an empty log."""
        if not log.entries:
            return None
        newest = log.entries[-1]
        if serving is not None and serving.champion.bundle.sha256 == newest.champion.bundle_sha256:
            champion = Champion(newest, serving.champion.bundle)
        else:
            champion = _load(self._store, newest)
        return _Serving(champion, log.digest(newest.number))


def _announce(scope: str, before: _Serving, now: _Serving | None, log: Chain) -> None:
    was = before.champion.entry.number
    announce_replaced(scope, log, was, before.entry_sha256, service="forecast")
    if now is not None:
        announce_swap(now.champion.entry, service="forecast")


def announce_replaced(scope: str, log: Chain, was: int, entry_sha256: str, *, service: str) -> None:
    """Say that the promotion that was served is no longer in the log, if that is so."""
    if not log.holds(was, entry_sha256):
        events.emit(events.PromotionLogReplaced(service=service, scope=scope, was=was, promotion=len(log.entries)))


def announce_swap(entry: LogEntry, *, service: str) -> None:
    """Say that another promotion makes the forecasts from now on."""
    events.emit(
        events.ModelSwap(
            service=service,
            scope=entry.scope,
            config_hash=entry.champion.config_hash,
            model_type=entry.champion.model_type,
            promotion=entry.number,
        )
    )


def announce_loaded(entry: LogEntry) -> None:
    """Say that the bundle of a promotion was loaded and passed its self-test."""
    events.emit(
        events.ModelLoaded(
            config_hash=entry.champion.config_hash,
            model_type=entry.champion.model_type,
            promotion=entry.number,
            bundle_sha256=entry.champion.bundle_sha256,
        )
    )


def _load(store: Store, entry: LogEntry) -> Champion:
    with named_if_damaged(entry.champion):
        bundle = load_bundle(store, entry.champion.bundle_sha256)
    bundle.self_test()
    announce_loaded(entry)
    return Champion(entry, bundle)
