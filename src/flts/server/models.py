"""Which model each scope is served with: a poll follows the promotion logs, and no request waits for it.

A poll of the logs is cheap and never waits for a model. What was promoted is loaded in a thread of its own beside the
model that answers, and takes its place in one assignment once it has passed its self-test. Whatever goes wrong on the
way, the model that answers goes on, and says since when and why it is not the newest.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from http import HTTPStatus

from flts.contracts import events, layout
from flts.contracts.errors import DamagedObject, FltsError, NoChampion, Transient
from flts.contracts.machine import machine_fault
from flts.contracts.ports import Store
from flts.contracts.records.log import LogEntry
from flts.promotion import log
from flts.promotion.champion import named_if_damaged
from flts.promotion.log import EMPTY, NOTHING, Chain, Head
from flts.serve.follow import Champion, announce_loaded, announce_replaced, announce_swap
from flts.server.live import Lives
from flts.server.served import ScopeState, Served, Staleness, Standing
from flts.server.trial import Tested, Trials
from flts.web.problem import RETRY_SECONDS, Problem

GLOBAL = "global"
"""The scope that is meant where a request names none."""
LONGEST_PAUSE = 300.0
"""Seconds, at most, before a promotion that could not be served is tried again."""
LOADERS = 4
"""Models that are loaded at once; one that hangs holds its place until the time limit."""
SHARE = 1 / 30
"""Share of the time that finding new scopes may take: it lists the whole promotion folder."""
UNLOADED = "no-model-loaded"
SHOWN = 20
"""Most scopes that a message names."""


@dataclass
class _Followed:
    """What is known of a scope. head: the newest entry that a poll saw; chain: the log as it was last read."""

    scope: str
    head: Head = NOTHING
    chain: Chain = EMPTY
    standing: Standing | None = None
    stale: Staleness | None = None
    loading: Future[Served] | None = None
    unasked: bool = False
    """No room was left for it when it was found: the first request loads it."""


@dataclass(frozen=True)
class Capacity:
    """What following may take. models: in memory at once; self_test: seconds; pause: seconds after a first failure."""

    models: int = 16
    self_test: float = 30.0
    pause: float = 5.0


CAPACITY = Capacity()


class ServedModels:
    """The loaded champions. Polls run in one thread, loads in others; requests read what these left."""

    def __init__(self, store: Store, wanted: Sequence[str] = (), capacity: Capacity = CAPACITY) -> None:
        """wanted: the scopes to serve; empty for every scope that has a promotion."""
        self.store, self._wanted, self._capacity = store, tuple(wanted), capacity
        self._trials = Trials(store, capacity.self_test)
        self.lives = Lives(store)
        """What the forecasts of each scope were worth, read again from time to time."""
        self.asked = threading.Event()
        """Set when a poll should come at once."""
        self.polled_at = 0.0
        """When every log was last read without an error, in seconds since 1970; 0.0 before."""
        self._served: Mapping[str, Served] = {}
        self._followed: dict[str, _Followed] = {}
        self._default = GLOBAL
        self._used: dict[str, float] = {}
        self._found: Sequence[str] = ()
        self._find_again = 0.0
        self._lock = threading.RLock()
        self._slots = threading.Semaphore(LOADERS)

    @property
    def served(self) -> Mapping[str, Served]:
        """The models in memory, by scope. The mapping is replaced, never changed."""
        return self._served

    @property
    def polled(self) -> bool:
        """Whether the logs were read at least once."""
        return self.polled_at > 0.0

    @property
    def self_tests(self) -> Mapping[str, int]:
        """How many self-tests passed, failed and hung."""
        return dict(self._trials.results)

    def states(self) -> list[ScopeState]:
        """Every scope with a promotion, sorted, whether its model is in memory or not."""
        with self._lock:
            return [self._state(followed) for _, followed in sorted(self._followed.items())]

    def _state(self, one: _Followed) -> ScopeState:
        return ScopeState(one.scope, one.head.number, one.standing, self._served.get(one.scope), one.stale)

    def check_ready(self) -> None:
        """Raise NoChampion unless the scopes that were named can answer, else `global` if it has a promotion, else any.

        A scope that no longer has room in memory can.
        """
        with self._lock:
            usable = {name for name, one in self._followed.items() if one.standing or one.unasked}
            needed = self._wanted or ([GLOBAL] if GLOBAL in self._followed else [])
            missing = [name for name in needed if name not in usable]
        if missing or not usable:
            which = f" of {', '.join(missing[:SHOWN])}" if missing else ""
            raise NoChampion(f"no model{which} is loaded yet", code=UNLOADED, scopes=missing)

    # requests

    async def find(self, identifier: str | None = None, until: float = math.inf) -> Served:
        """What a scope is served with; its model is loaded first where it was put out of memory.

        identifier: None or empty means `global`, or the only scope there is; until: by the monotonic clock. Raises
        Problem 404 for a scope that is not served, NoChampion before its first model is loaded, and Problem 504 where
        it is not loaded in time.
        """
        found = self.loaded(identifier)
        if found is None:
            found = await self._awaited(scope := identifier or self._default, until)
            self._used[scope] = time.monotonic()
        return found

    def loaded(self, identifier: str | None = None) -> Served | None:
        """What a scope is served with, where its model is in memory."""
        scope = identifier or self._default
        found = self._served.get(scope)
        if found is not None:
            self._used[scope] = time.monotonic()
        return found

    async def _awaited(self, scope: str, until: float) -> Served:
        # shielded: others wait for the same load, whoever of them leaves
        loading = asyncio.shield(asyncio.wrap_future(self._demand(scope)))
        left = None if until == math.inf else until - time.monotonic()
        try:
            return await asyncio.wait_for(loading, left)
        except TimeoutError:
            raise Problem(
                HTTPStatus.GATEWAY_TIMEOUT,
                f"the model of scope '{scope}' is being loaded again, and was not ready in time; ask again",
                {"Retry-After": str(RETRY_SECONDS)},
                code="deadline-passed",
            ) from None

    def known(self, identifier: str | None = None) -> tuple[ScopeState, Standing]:
        """The state of one scope whose model was loaded once. Raises as `find` does; loads nothing."""
        scope = identifier or self._default
        with self._lock:
            followed = self._entry(scope)
            if followed.standing is None:
                raise _unloaded(followed)
            return self._state(followed), followed.standing

    def _demand(self, scope: str) -> Future[Served]:
        with self._lock:
            followed = self._entry(scope)
            if followed.loading is not None:
                return followed.loading
            if scope in self._served:  # loaded since the caller looked
                there: Future[Served] = Future()
                there.set_result(self._served[scope])
                return there
            stale = followed.stale
            if followed.standing is None and stale is not None and time.monotonic() < stale.due:
                raise _unloaded(followed)
            return self._begin(followed)

    def _entry(self, scope: str) -> _Followed:
        followed = self._followed.get(scope)
        if followed is not None:
            return followed
        if not self.polled:
            raise NoChampion("no model is loaded yet", code=UNLOADED, scope=scope)
        names = sorted(self._followed)
        shown = ", ".join(names[:SHOWN]) or "none"
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        raise Problem(
            HTTPStatus.NOT_FOUND,
            f"no model is served for scope '{scope[:100]}'; scopes with one: {shown}{more}",
            code="scope-unknown",
        )

    # following

    def hurry(self) -> None:
        """Poll at once, and try again what failed, whenever its next attempt was due."""
        with self._lock:
            for followed in self._followed.values():
                if followed.stale is not None:
                    followed.stale = replace(followed.stale, due=0.0)
            self._find_again = 0.0
        self.asked.set()

    def catch_up(self) -> None:
        """Poll, and wait until everything that was promoted is loaded or has failed."""
        self.poll()
        with self._lock:
            loading = [one.loading for one in self._followed.values() if one.loading is not None]
        wait(loading)

    def poll(self) -> None:
        """Read the end of every log, and begin to load what is new there. Raises nothing."""
        try:
            wanted = self._wanted or self._scopes()
        except BaseException as error:  # noqa: BLE001 - whatever a store raises, the loaded models go on
            for followed in list(self._followed.values()):
                self._fail(followed, followed.head, error)
            return
        failed = [scope for scope in dict.fromkeys((*wanted, *self._followed)) if not self._poll_one(scope)]
        with self._lock:
            # an outage is not an empty store: before the first complete poll, an unknown scope may still turn up
            if not failed:
                self.polled_at = time.time()
            names = list(self._followed)
            self._default = names[0] if len(names) == 1 else GLOBAL
        self.lives.refresh(names)

    def _scopes(self) -> Sequence[str]:
        """Every scope with a promotion log, asked for so seldom that it takes a small share of the time."""
        now = time.monotonic()
        if now >= self._find_again:
            self._found = log.scopes(self.store)
            self._find_again = now + (time.monotonic() - now) / SHARE
        return self._found

    def _poll_one(self, scope: str) -> bool:
        """Read the end of one log; whether it could be read."""
        followed = self._followed.get(scope) or _Followed(scope)
        try:
            newest = log.head(self.store, scope, followed.head)
        except BaseException as error:  # noqa: BLE001 - as above
            if scope in self._followed:
                self._fail(followed, followed.head, error)
            return False
        with self._lock:
            if newest == NOTHING and followed.standing is None and followed.loading is None:
                self._followed.pop(scope, None)
                return True
            self._followed[scope] = followed
            followed.head = newest
            if newest == NOTHING:
                self._fail(followed, newest, _emptied(scope))
            elif followed.loading is None:
                self._follow(followed)
        return True

    def _follow(self, followed: _Followed) -> None:
        """Load what is new, unless nobody asked for it and there is no room."""
        newest, standing, stale = followed.head, followed.standing, followed.stale
        if followed.scope in self._served:
            assert standing is not None
            if standing.sha256 == newest.sha256:
                self._recover(followed)
                return
        elif self._loaded_or_loading() >= self._capacity.models:
            followed.unasked = standing is None and stale is None
            return
        if stale is None or stale.head != newest or time.monotonic() >= stale.due:
            self._begin(followed)

    def _loaded_or_loading(self) -> int:
        loading = {name for name, one in self._followed.items() if one.loading is not None}
        return len(loading | set(self._served))

    # loading

    def _begin(self, followed: _Followed) -> Future[Served]:
        """Start to load the newest promotion of a scope; the future holds what it is served with then."""
        future: Future[Served] = Future()
        followed.loading = future
        threading.Thread(target=self._load, args=(followed, future), name=f"load-{followed.scope}", daemon=True).start()
        return future

    def _load(self, followed: _Followed, future: Future[Served]) -> None:
        aim = followed.head
        error: BaseException | None = None
        with self._slots:
            try:
                found = self._newest(followed)
            except BaseException as raised:  # noqa: BLE001 - as above
                error, found = raised, None
                try:
                    found = self._older(followed)
                except BaseException as second:  # noqa: BLE001 - the first error says what is wrong with the newest
                    error.add_note(f"the model before it cannot be loaded either: {second}")
        with self._lock:
            followed.loading, followed.unasked = None, False
            if found is not None:
                self._take(followed, found)
            if error is not None:
                self._fail(followed, aim, error, tried=True)
            else:
                self._recover(followed)
            result = self._served.get(followed.scope)
        if result is not None:
            future.set_result(result)
        else:
            future.set_exception(_unloaded(followed))

    def _newest(self, followed: _Followed) -> Served:
        """The champion that the log names now. Raises FltsError for one that cannot be served."""
        scope, standing = followed.scope, followed.standing
        chain = log.served(self.store, scope, followed.chain)
        if not chain.entries:
            raise _emptied(scope)
        followed.chain = chain
        entry, digest = chain.entries[-1], chain.digest(len(chain.entries))
        tested = self._tested(entry)
        if standing is not None:
            announce_replaced(scope, chain, standing.entry.number, standing.sha256, service="serve")
        return _serving(entry, digest, tested)

    def _older(self, followed: _Followed) -> Served | None:
        """The promotion that answered before, where its model has left the memory; None where it has not."""
        standing = followed.standing
        if standing is None or followed.scope in self._served:
            return None
        return replace(_serving(standing.entry, standing.sha256, self._tested(standing.entry)), since=standing.since)

    def _tested(self, entry: LogEntry) -> Tested:
        """The tested bundle of a promotion: one that is in memory, for whichever scope, else from the store."""
        wanted = entry.champion.bundle_sha256
        for other in self._served.values():
            if other.champion.bundle.sha256 == wanted:
                return Tested(other.champion.bundle, other.self_test_seconds)
        with named_if_damaged(entry.champion):
            tested = self._trials.load(wanted)
        announce_loaded(entry)
        return tested

    def _take(self, followed: _Followed, found: Served) -> None:
        """Serve a scope with this from now on."""
        before = followed.standing
        again = before is not None and before.sha256 == found.entry_sha256
        if before is not None and again:
            found = replace(found, since=before.since)
        followed.standing = Standing(found.champion.entry, found.entry_sha256, found.since)
        self._used.setdefault(found.scope, time.monotonic())
        self._served = {**self._served, found.scope: found}
        if before is not None and not again:
            announce_swap(found.champion.entry, service="serve")
        for scope in self._too_many(found.scope):
            left = self._served[scope].champion.entry.number
            self._served = {name: one for name, one in self._served.items() if name != scope}
            events.emit(events.ModelPutOut(scope=scope, promotion=left))

    def _too_many(self, but: str) -> Iterator[str]:
        """The scopes that were used longest ago, as far as there are more models than room for them."""
        by_use = sorted((scope for scope in self._served if scope != but), key=lambda scope: self._used.get(scope, 0.0))
        yield from by_use[: max(0, len(self._served) - self._capacity.models)]

    # what is wrong

    def _fail(self, followed: _Followed, newest: Head, error: BaseException, *, tried: bool = False) -> None:
        """Go on with the older model, and say so once. tried: the newest promotion was read, or its bundle."""
        code, reason = _described(error)
        with self._lock:
            before = followed.stale
            again = before is not None and (before.head, before.code) == (newest, code)
            since = before.since if before is not None else time.time()
            failed, due = (before.failed, before.due) if before is not None and before.head == newest else (0, 0.0)
            if tried:
                failed += not isinstance(error, Transient)  # an outage ends by itself, and says nothing of the model
                due = time.monotonic() + min(self._capacity.pause * 2.0 ** min(max(failed - 1, 0), 20), LONGEST_PAUSE)
            followed.stale = Staleness(since, newest, code, reason, failed, due)
            self._mark(followed.scope, since, reason)
            standing = followed.standing
        if not again:
            promotion = None if standing is None else standing.entry.number
            events.emit(
                events.ModelStale(
                    scope=followed.scope, promotion=promotion, newest=newest.number, code=code, reason=reason
                )
            )

    def _recover(self, followed: _Followed) -> None:
        """The newest promotion answers."""
        stale, standing = followed.stale, followed.standing
        if stale is None or standing is None:
            return
        followed.stale = None
        self._mark(followed.scope, None, None)
        events.emit(
            events.ModelCurrent(
                scope=followed.scope, promotion=standing.entry.number, stale_s=round(time.time() - stale.since, 3)
            )
        )

    def _mark(self, scope: str, since: float | None, reason: str | None) -> None:
        found = self._served.get(scope)
        if found is not None:
            self._served = {**self._served, scope: replace(found, stale_since=since, reason=reason)}


def _serving(entry: LogEntry, digest: str, tested: Tested) -> Served:
    return Served(entry.scope, Champion(entry, tested.bundle), time.time(), digest, tested.seconds)


def _unloaded(followed: _Followed) -> NoChampion:
    """Why a scope has no model in memory, and none that could be loaded."""
    why = "" if followed.stale is None else f": {followed.stale.reason}"
    scope = followed.scope
    return NoChampion(f"no model of scope '{scope}' is loaded yet{why}", code=UNLOADED, scope=scope)


def _emptied(scope: str) -> FltsError:
    key = layout.log(scope)
    return DamagedObject(
        f"the promotion log of '{scope}' is empty, and a promotion of it was served; {layout.restore(key)}",
        code="log-emptied",
        key=key,
    )


def _described(error: BaseException) -> tuple[str, str]:
    """Code and reason of an error. What a library raised is named by its class: its text may hold data."""
    known = error if isinstance(error, FltsError) else machine_fault(error)
    if known is not None:
        return known.code, str(known)
    return "unexpected", f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
