"""The champion of a scope: the bundle that the promotion log names, served only after its self-test."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flts.contracts import events, layout
from flts.contracts.errors import NoChampion, UsageError
from flts.contracts.ports import Store
from flts.contracts.records.log import LogEntry
from flts.forecasting.bundle import Bundle, load_bundle
from flts.promotion.log import read_log, scopes
from flts.serve.answer import Answer, answer

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Champion:
    """A promoted model that passed its self-test, and the log entry that promoted it."""

    entry: LogEntry
    bundle: Bundle

    def forecast(self, history: Any, level: float = 0.8) -> pl.DataFrame:
        """Forecasts from the end of a history, in original units.

        history: polars, pandas or Arrow table, or a mapping of columns, with the time and the manifest's columns in
        original units, newest row last; or a raw file. Returns columns time (local time of the train rows), target,
        mean, lower, upper; bounds are null where the model has none. `answer` also says what is wrong with the
        history. Raises DataError and UsageError.
        """
        return self.answer(history, level).frame()

    def answer(self, history: Any, level: float = 0.8) -> Answer:
        """The same as arrays, with the warnings about the history."""
        return answer(self.bundle, history, level)


def champion_of(store: Store, scope: str) -> Champion:
    """Load the champion. Raises UsageError when the scope has none, DamagedObject when its bundle was changed."""
    entries = read_log(store, scope)
    if not entries:
        others = scopes(store)
        hint = f"scopes with one: {', '.join(others)}" if others else "`flts run` can promote one"
        raise UsageError(
            f"scope '{scope}' of {store.url} has no champion; {hint}",
            code="no-champion",
            scope=scope,
            store=store.url,
            scopes=others,
        )
    return _load(store, entries[-1])


class Follower:
    """Keeps the champion of each requested scope loaded, and loads the next one when the log has grown."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._serving: dict[str, Champion] = {}
        self._lock = threading.Lock()

    def champion(self, scope: str) -> Champion:
        """The current champion. Raises NoChampion, and DamagedObject when its bundle was changed."""
        serving = self._serving.get(scope)
        number = serving.entry.number if serving else 0
        if serving is not None and not self._store.exists(layout.log_entry(scope, number + 1)):
            return serving
        entries = read_log(self._store, scope)
        if not entries:
            raise NoChampion(
                f"scope '{scope}' of {self._store.url} has no champion yet", scope=scope, store=self._store.url
            )
        newest = entries[-1]
        if serving is not None and serving.bundle.sha256 == newest.champion.bundle_sha256:
            champion = Champion(newest, serving.bundle)
        else:
            champion = _load(self._store, newest)
        with self._lock:
            current = self._serving.get(scope)
            if current is not None and current.entry.number >= newest.number:
                return current  # another thread has read as much of the log, or more: never go back to an older one
            self._serving[scope] = champion
        if serving is not None:
            events.emit(
                events.ModelSwap(
                    scope=scope,
                    config_hash=newest.champion.config_hash,
                    model_type=newest.champion.model_type,
                    promotion=newest.number,
                )
            )
        return champion


def _load(store: Store, entry: LogEntry) -> Champion:
    bundle = load_bundle(store, entry.champion.bundle_sha256)
    bundle.self_test()
    events.emit(
        events.ModelLoaded(
            config_hash=entry.champion.config_hash,
            model_type=entry.champion.model_type,
            promotion=entry.number,
            bundle_sha256=bundle.sha256,
        )
    )
    return Champion(entry, bundle)
