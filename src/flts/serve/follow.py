"""The champion of a scope: the bundle that the promotion log names, served only after its self-test."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from flts.contracts import events
from flts.contracts.errors import NoChampion, UsageError
from flts.contracts.ports import Store
from flts.contracts.records.log import LogEntry
from flts.drawing.figure import Picture, named
from flts.forecasting.bundle import Bundle, load_bundle
from flts.forecasting.intervals import STORED_LEVEL
from flts.promotion.champion import named_if_damaged
from flts.promotion.log import Chain, none_in, scopes, served, stands_last
from flts.serve.answer import NEWEST_EMPTY, Answer, answer
from flts.serve.levels import Levels, several
from flts.serve.picture import SHOWN_LEVELS, drawn, named_target
from flts.serve.shown import shown

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Champion:
    """A promoted model that passed its self-test, and the log entry that promoted it."""

    entry: LogEntry
    bundle: Bundle
    store: Store | None = field(default=None, repr=False, compare=False)
    """Where its decision is, for `_repr_html_`; None where nobody looks at it."""

    def forecast(
        self,
        history: Any,
        level: Levels = STORED_LEVEL,
        horizon: int | None = None,
        quantiles: Sequence[float] = (),
        *,
        future: Any = None,
    ) -> pl.DataFrame:
        """Forecasts from the end of a history, in original units.

        history: polars, pandas or Arrow table, or a mapping of columns, with the time and the columns that the model
        uses in original units, newest row last; or a raw file. The time may also be the index, or a column `time` or
        `ds`. level: 0.5, 0.8, 0.9 or 0.95, or several of them. horizon: steps, by default all that the model was
        trained for. quantiles: those at which an interval ends, and 0.5 for the forecast itself. future: a table of the
        rows to forecast with the columns that the model knows ahead (`bundle.given`); without it, the last rows of the
        history that hold no target are taken for them.

        Returns columns time (local time of the train rows), target, mean, lower, upper, with several levels lower_50,
        upper_50 and so on, and q10 for the quantile 0.1; bounds are null where the model has none. `answer` also says
        what is wrong with the history. Warns where the newest rows hold no target: the forecast starts after them.
        Raises DataError and UsageError.
        """
        several_levels = () if isinstance(level, int | float) else several(level)
        answered = self.answer(history, level, horizon, quantiles, future=future)
        for notice in answered.warnings:
            if notice.code == NEWEST_EMPTY:  # the others change no time that is forecast
                warnings.warn(notice.text, stacklevel=2)
        return answered.frame(several_levels, tuple(dict.fromkeys(quantiles)))

    def answer(
        self,
        history: Any,
        level: Levels = STORED_LEVEL,
        horizon: int | None = None,
        quantiles: Sequence[float] = (),
        *,
        future: Any = None,
    ) -> Answer:
        """The same as arrays, with the warnings about the history."""
        return answer(self.bundle, history, level, horizon, quantiles, future)

    def plot(
        self,
        history: Any,
        level: Levels = SHOWN_LEVELS,
        horizon: int | None = None,
        *,
        target: str | None = None,
        future: Any = None,
    ) -> Picture:
        """The end of a history and the forecast after it; a notebook shows it, and its method `save` writes it.

        Arguments and errors as of `forecast`; target: one of those that it forecasts, by default the first. Raises
        MissingExtra without matplotlib.
        """
        named_target(self.bundle.manifest.targets, target)
        return drawn(self.bundle, self.answer(history, level, horizon, future=future), target)

    def __repr__(self) -> str:
        entry, manifest = self.entry, self.bundle.manifest
        return (
            f"<Champion {entry.champion.model} of '{entry.scope}': promotion {entry.number}, {entry.time[:10]};"
            f" {named(manifest.targets)}, {manifest.horizon} steps from {manifest.input_length} rows>"
        )

    def _repr_html_(self) -> str:
        return shown(self.entry, self.bundle, self.store)


def champion_of(store: Store, scope: str) -> Champion:
    """Load the champion. Raises UsageError when the scope has none, DamagedObject when its bundle was changed."""
    entries = served(store, scope).entries
    if not entries:
        raise UsageError(none_in(store, scope), code="no-champion", scope=scope, store=store.url, scopes=scopes(store))
    return replace(_load(store, entries[-1]), store=store)


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
