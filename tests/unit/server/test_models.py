"""Every scope is served with the newest promotion that works, and says so when that is not the newest one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs
from tests.support.promotions import off_by, promote, two_bundles
from tests.support.raising import raises
from tests.support.series import hourly, table
from tests.support.services import wait_until
from tests.support.stored import Watched, golden_store

from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import BackendUnavailable, NoChampion, StageFailed
from flts.contracts.ports import Store
from flts.forecasting.bundle import MANIFEST, Bundle, load_bundle
from flts.models.ridge import Ridge
from flts.preprocess.source import RawTable
from flts.serve.answer import answer
from flts.server import trial
from flts.server.models import LONGEST_PAUSE, UNLOADED, Capacity, ServedModels
from flts.server.served import Served
from flts.server.service import ForecastService
from flts.server.wanted import Wanted
from flts.web.problem import Problem

HISTORY = table(hourly(290))
AT_ONCE = Capacity(pause=1e-9)
"""What failed is tried again with every poll."""


class Moody(Watched):
    """A store that raises what a test sets, for the keys that it chooses."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.error: BaseException | None = None
        self.part = ""

    def _raise(self, key: str) -> None:
        if self.error is not None and self.part in key:
            raise self.error

    def get(self, key: str) -> bytes | None:
        self._raise(key)
        return super().get(key)

    def exists(self, key: str) -> bool:
        self._raise(key)
        return super().exists(key)

    def list(self, prefix: str) -> Any:
        self._raise(prefix)
        return super().list(prefix)


def find(models: ServedModels, identifier: str = "") -> Served:
    return asyncio.run(models.find(identifier))


def following(store: Store, *bundles: str, capacity: Capacity = AT_ONCE) -> ServedModels:
    """Models that serve scope `global` with these bundles, promoted in turn."""
    promote(*bundles, store=store)
    models = ServedModels(store, (), capacity)
    models.catch_up()
    return models


def of(events: list[Any], *names: str) -> list[str]:
    return [event["event"] for event in events if event["event"] in names]


def test_the_newest_promotion_is_served_and_a_new_one_takes_its_place() -> None:
    store, first, second = two_bundles()
    models = following(store, first)
    before = find(models)
    assert (before.scope, before.champion.entry.number, before.champion.bundle.sha256) == ("global", 1, first)
    assert before.stale_since is None
    with capture_logs() as events:
        entries = promote(first, second, store=store)
        models.catch_up()
    after = models.served["global"]
    assert (after.champion.entry, after.champion.bundle.sha256) == (entries[1], second)
    assert entries[1].previous_sha256 == before.entry_sha256 != after.entry_sha256
    assert of(events, "model_loaded", "model_swap", "model_stale") == ["model_loaded", "model_swap"]
    assert {event["service"] for event in events} == {"serve"}


def test_a_promotion_of_the_same_bundle_is_served_without_loading_it_again() -> None:
    store, first, _ = two_bundles()
    models = following(store, first)
    before = models.served["global"]
    promote(first, first, store=store)
    models.catch_up()
    after = models.served["global"]
    assert after.champion.entry.number == 2
    assert after.champion.bundle is before.champion.bundle
    assert models.self_tests == {"passed": 1, "failed": 0, "hung": 0}


def test_a_poll_without_news_costs_two_small_requests_a_scope() -> None:
    store, first, second = two_bundles()
    promote(first, second, store=store, scope="north")
    promote(second, store=store, scope="south")
    watched = Watched(store)
    models = ServedModels(watched, ("north", "south"))
    models.catch_up()
    watched.read.clear()
    watched.listed.clear()
    models.poll()
    assert watched.read == [layout.log_entry("north", 2), layout.log_entry("south", 1)]
    assert watched.listed == []


# whatever goes wrong, the older model goes on answering

Harm = Callable[[Store, str, pytest.MonkeyPatch], Any]


def changed(name: str) -> Harm:
    def harm(store: Store, bundle: str, _: pytest.MonkeyPatch) -> str:
        key = layout.bundle(bundle, name)
        store.replace(key, (store.get(key) or b"") + b" ")
        return bundle

    return harm


def absent(store: Store, bundle: str, _: pytest.MonkeyPatch) -> str:
    store.erase(layout.bundle(bundle, "coefficients.safetensors"))
    return bundle


def failing_self_test(store: Store, bundle: str, _: pytest.MonkeyPatch) -> str:
    return off_by(store, bundle, 1.0)


def loading(error: BaseException) -> Harm:
    def harm(_: Store, bundle: str, patch: pytest.MonkeyPatch) -> str:
        def load(*_: Any) -> Any:
            raise error

        patch.setattr(Ridge, "load", load)
        return bundle

    return harm


class Panic(BaseException):
    """As a compiled library raises it."""


def self_testing(error: BaseException) -> Harm:
    def harm(_: Store, bundle: str, patch: pytest.MonkeyPatch) -> str:
        def self_test(_: Bundle) -> None:
            raise error

        patch.setattr(Bundle, "self_test", self_test)
        return bundle

    return harm


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (changed(MANIFEST), "digest-differs"),
        (changed("coefficients.safetensors"), "digest-differs"),
        (absent, "object-missing"),
        (failing_self_test, "self-test-failed"),
        (loading(ModuleNotFoundError("no ridge", name="ridge")), "missing-package"),
        (loading(ValueError("odd file")), "model-unreadable"),
        (loading(MemoryError()), "no-memory"),
        (self_testing(RuntimeError("kernel")), "self-test-raised"),
        (self_testing(Panic("index out of bounds")), "self-test-raised"),
        (self_testing(StageFailed("no", code="of-a-kind")), "of-a-kind"),
    ],
)
def test_a_promotion_that_cannot_be_served_leaves_the_older_one(
    harm: Harm, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, first, second = two_bundles()
    models = following(store, first)
    served = models.served["global"]
    with monkeypatch.context() as patch, capture_logs() as events:
        promote(first, harm(store, second, patch), store=store)
        for _ in range(3):
            models.catch_up()
    stale = find(models)
    assert stale.champion is served.champion
    assert stale.since == served.since
    assert stale.stale_since is not None
    assert stale.reason
    models.check_ready()
    state, _ = models.known()
    assert state.stale is not None
    assert (state.newest, state.stale.head.number, state.stale.code) == (2, 2, code)
    assert [(event["event"], event["promotion"], event["newest"], event["code"]) for event in events] == [
        ("model_stale", 1, 2, code)
    ]
    assert models.self_tests["passed"] == 1

    third = promote(first, first, first, store=two_bundles()[0], kind="manual")[2]
    store.create(layout.log_entry("global", 3), relinked(store, third))
    with capture_logs() as events:
        models.catch_up()
    assert of(events, "model_swap", "model_current") == ["model_swap", "model_current"]
    now = models.served["global"]
    assert (now.champion.entry.number, now.stale_since, now.reason) == (3, None, None)


def relinked(store: Store, entry: Any) -> bytes:
    """An entry that names the one before it in this store."""
    before = store.get(layout.log_entry(entry.scope, entry.number - 1)) or b""
    return bytes(entry.model_copy(update={"previous_sha256": sha256(before)}).to_bytes())


@pytest.mark.parametrize("part", ["model-promotion/", "model-promotion/global/log/", "bundles/"])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BackendUnavailable("s3 does not answer", code="no-answer"), "no-answer"),
        (StageFailed("cannot read", code="store-failed"), "store-failed"),
        (OSError("odd"), "unexpected"),
        (Panic("in a library"), "unexpected"),
    ],
)
def test_a_store_that_is_away_leaves_the_older_promotion_and_is_followed_when_it_is_back(
    part: str, error: BaseException, code: str
) -> None:
    store, first, second = two_bundles()
    moody = Moody(store)
    models = following(moody, first)
    promote(first, second, store=store)
    moody.part, moody.error = part, error
    with capture_logs() as events:
        for _ in range(3):
            models.hurry()
            models.catch_up()
    stale = find(models)
    assert (stale.champion.bundle.sha256, stale.stale_since is not None) == (first, True)
    models.check_ready()
    assert [(event["event"], event["code"]) for event in events] == [("model_stale", code)]
    moody.error = None
    models.catch_up()
    now = models.served["global"]
    assert (now.champion.bundle.sha256, now.stale_since) == (second, None)


def test_an_outage_does_not_put_off_what_comes_after_it() -> None:
    store, first, second = two_bundles()
    moody = Moody(store)
    models = following(moody, first, capacity=Capacity(pause=LONGEST_PAUSE))
    moody.error = BackendUnavailable("away")
    for _ in range(20):
        models.poll()
    promote(first, second, store=store)
    moody.error = None
    models.catch_up()
    assert models.served["global"].champion.bundle.sha256 == second


def test_a_damaged_log_leaves_the_older_promotion() -> None:
    store, first, second = two_bundles()
    models = following(store, first)
    store.create(layout.log_entry("global", 2), b"{}")
    models.catch_up()
    assert models.served["global"].champion.entry.number == 1
    assert models.served["global"].stale_since is not None
    store.erase(layout.log_entry("global", 2))
    models.catch_up()
    assert models.served["global"].stale_since is None
    promote(first, second, store=store)
    models.catch_up()
    assert models.served["global"].champion.entry.number == 2


def test_a_log_that_vanished_leaves_the_older_promotion() -> None:
    store, first, _ = two_bundles()
    models = following(store, first)
    store.erase(layout.log_entry("global", 1))
    with capture_logs() as events:
        models.hurry()
        models.catch_up()
        models.catch_up()
    assert [(event["event"], event["code"], event["newest"]) for event in events] == [("model_stale", "log-emptied", 0)]
    assert find(models).champion.entry.number == 1
    models.check_ready()


def test_a_shortened_log_and_a_replaced_entry_are_new_truths() -> None:
    store, first, second = two_bundles()
    models = following(store, first, second)
    assert models.served["global"].champion.bundle.sha256 == second
    store.erase(layout.log_entry("global", 2))
    with capture_logs() as events:
        models.catch_up()
    shorter = models.served["global"]
    assert (shorter.champion.entry.number, shorter.champion.bundle.sha256, shorter.stale_since) == (1, first, None)
    assert of(events, "promotion_log_replaced", "model_swap") == ["promotion_log_replaced", "model_swap"]
    other = two_bundles()[0]
    (entry,) = promote(second, store=other)
    store.replace(layout.log_entry("global", 1), entry.to_bytes())
    models.catch_up()
    replaced = models.served["global"]
    assert (replaced.champion.entry.number, replaced.champion.bundle.sha256) == (1, second)
    assert replaced.entry_sha256 != shorter.entry_sha256


def test_a_rollback_is_followed_like_any_promotion() -> None:
    store, first, second = two_bundles()
    models = following(store, first, second)
    entry = promote(first, second, first, store=two_bundles()[0], kind="rollback")[2]
    store.create(layout.log_entry("global", 3), relinked(store, entry))
    models.catch_up()
    now = models.served["global"].champion
    assert (now.entry.kind, now.bundle.sha256) == ("rollback", first)


def test_what_fails_is_tried_again_after_a_pause_that_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("flts.server.models.time.monotonic", lambda: clock[0])
    store, first, second = two_bundles()
    models = following(store, first, capacity=Capacity(pause=5.0))
    changed(MANIFEST)(store, second, monkeypatch)
    watched = Watched(store)
    models.store = models._trials._store = watched
    promote(first, second, store=store)
    tries: list[float] = []
    for _ in range(400):
        models.catch_up()
        if layout.bundle(second, MANIFEST) in watched.read:
            tries.append(clock[0] - 1000.0)
        watched.read.clear()
        clock[0] += 5.0
    pauses = np.diff(tries)
    assert tries[0] == 0.0
    assert pauses[:6].tolist() == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0]
    assert set(pauses[6:]) == {LONGEST_PAUSE}
    models.hurry()
    models.catch_up()
    assert layout.bundle(second, MANIFEST) in watched.read


# a self-test that does not end


@contextmanager
def hanging(bundle: str, patch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The self-test of a bundle that waits for the event."""
    released = threading.Event()
    real = Bundle.self_test

    def self_test(tested: Bundle) -> None:
        if tested.sha256 == bundle:
            released.wait()
        real(tested)

    patch.setattr(Bundle, "self_test", self_test)
    try:
        yield released
    finally:
        released.set()


def test_a_self_test_that_hangs_holds_up_no_other_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    store, first, second = two_bundles()
    promote(first, store=store, scope="a")
    promote(first, store=store, scope="b")
    models = ServedModels(store, (), Capacity(self_test=3600.0, pause=1e-9))
    models.catch_up()
    with hanging(second, monkeypatch):
        promote(first, second, store=store, scope="a")
        models.poll()
        promote(first, first, store=store, scope="b")
        models.poll()
        wait_until(lambda: models.served["b"].champion.entry.number == 2, "the other scope")
        assert models.served["a"].champion.entry.number == 1
    wait_until(lambda: models.served["a"].champion.entry.number == 2, "the scope whose self-test ended at last")


def test_a_self_test_that_hangs_is_left_at_its_limit_and_not_started_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    store, first, second = two_bundles()
    models = following(store, first, capacity=Capacity(self_test=0.05, pause=1e-9))
    promote(first, second, store=store)

    def hung() -> int:
        return sum(thread.name == f"self-test-{second[:12]}" for thread in threading.enumerate())

    with hanging(second, monkeypatch) as released:
        for _ in range(3):
            models.catch_up()
        assert hung() == 1
        assert models.self_tests == {"passed": 1, "failed": 0, "hung": 1}
        state, _ = models.known()
        assert state.stale is not None
        assert state.stale.code == "self-test-hangs"
        assert models.served["global"].champion.entry.number == 1
        released.set()
        wait_until(lambda: hung() == 0, "the end of the thread")
    monkeypatch.setattr(trial.Trials, "_limited", lambda _self, _name, work: work())
    models.catch_up()
    assert models.served["global"].champion.entry.number == 2


# scopes


def test_before_the_first_poll_there_is_no_answer_and_then_an_unknown_scope_is_not_found() -> None:
    store, first, second = two_bundles()
    promote(first, store=store, scope="north")
    models = ServedModels(store)
    with pytest.raises(NoChampion):
        find(models, "south")
    with pytest.raises(NoChampion):
        models.check_ready()
    models.catch_up()
    with pytest.raises(Problem) as caught:
        find(models, "south")
    assert (caught.value.status, caught.value.code) == (404, "scope-unknown")
    assert "north" in caught.value.detail
    promote(second, store=store, scope="south")
    models.hurry()
    models.catch_up()
    assert find(models, "south").champion.bundle.sha256 == second


def test_an_absent_identifier_means_global_or_the_only_scope() -> None:
    store, first, second = two_bundles()
    promote(first, store=store, scope="north")
    models = ServedModels(store, (), AT_ONCE)
    models.catch_up()
    assert find(models).scope == "north"
    promote(second, store=store, scope="south")
    models.hurry()
    models.catch_up()
    with pytest.raises(Problem, match="north, south"):
        find(models)
    promote(second, store=store)
    models.hurry()
    models.catch_up()
    assert find(models).scope == "global"


def test_only_named_scopes_are_served_and_readiness_waits_for_all_of_them() -> None:
    store, first, second = two_bundles()
    promote(first, store=store, scope="north")
    promote(first, store=store, scope="south")
    models = ServedModels(store, ("north", "west"))
    models.catch_up()
    with pytest.raises(Problem):
        find(models, "south")
    with raises(NoChampion, code=UNLOADED, scopes=["west"]):
        models.check_ready()
    promote(second, store=store, scope="west")
    models.catch_up()
    models.check_ready()


def test_global_decides_whether_a_server_of_all_scopes_is_ready() -> None:
    store, first, second = two_bundles()
    promote(first, store=store, scope="north")
    models = ServedModels(store, (), AT_ONCE)
    models.catch_up()
    models.check_ready()
    other = ServedModels(store, (), AT_ONCE)
    promote(off_by(store, second, 1.0), store=store)
    other.catch_up()
    with raises(NoChampion, code=UNLOADED, scopes=["global"]):
        other.check_ready()
    assert find(other, "north").champion.bundle.sha256 == first
    with pytest.raises(NoChampion, match="self-test"):
        find(other, "global")


def test_the_model_that_was_used_longest_ago_leaves_and_comes_back_when_it_is_asked_for() -> None:
    store, first, second = two_bundles()
    for scope, bundle in (("a", first), ("b", second), ("c", first)):
        promote(bundle, store=store, scope=scope)
    models = ServedModels(store, (), Capacity(models=2))
    models.catch_up()
    assert sorted(models.served) == ["a", "b"]
    models.check_ready()
    find(models, "b")
    find(models, "a")
    with capture_logs() as events:
        assert find(models, "c").champion.entry.scope == "c"
    assert [(event["scope"], event["promotion"]) for event in events if event["event"] == "model_put_out"] == [("b", 1)]
    assert sorted(models.served) == ["a", "c"]
    since = models.known("b")[1].since
    models.catch_up()
    assert sorted(models.served) == ["a", "c"]
    promote(second, first, store=store, scope="b")
    models.catch_up()
    assert sorted(models.served) == ["a", "c"]
    again = find(models, "b")
    assert (again.champion.entry.number, again.champion.bundle.sha256) == (2, first)
    assert again.since >= since
    assert sorted(models.served) == ["b", "c"]


def test_a_model_that_left_is_loaded_once_for_all_who_ask_for_it() -> None:
    store, first, second = two_bundles()
    promote(first, store=store, scope="a")
    promote(second, store=store, scope="b")
    moody = Watched(store)
    models = ServedModels(moody, (), Capacity(models=1))
    models.catch_up()

    async def everyone() -> list[Served]:
        waiting = [asyncio.ensure_future(models.find("b")) for _ in range(20)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        return await asyncio.gather(*waiting[1:])

    found = asyncio.run(everyone())
    assert {id(one) for one in found} == {id(found[0])}
    assert Counter(moody.read)[layout.bundle(second, MANIFEST)] == 1


def test_a_model_that_is_loaded_while_a_request_looks_for_it_is_not_loaded_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, first, second = two_bundles()
    promote(first, store=store, scope="a")
    promote(second, store=store, scope="b")
    models = ServedModels(store, (), Capacity(models=1))
    models.catch_up()
    (left,) = {"a", "b"} - {*models.served}
    asyncio.run(models.find(left))
    found = models.served[left]
    with monkeypatch.context() as patch:
        patch.setattr(models, "loaded", lambda identifier: None)  # what a look saw a moment before
        assert asyncio.run(models.find(left)) is found


def test_a_request_waits_no_longer_than_its_deadline_for_a_model_that_left(monkeypatch: pytest.MonkeyPatch) -> None:
    store, first, second = two_bundles()
    promote(first, store=store, scope="a")
    promote(second, store=store, scope="b")
    models = ServedModels(store, (), Capacity(models=1))
    models.catch_up()
    with hanging(second, monkeypatch), pytest.raises(Problem) as caught:
        asyncio.run(models.find("b", time.monotonic() + 0.01))
    assert (caught.value.status, caught.value.code) == (504, "deadline-passed")
    wait_until(lambda: "b" in models.served, "the model that nobody waits for any more")


def test_a_model_that_left_comes_back_as_it_was_when_the_newest_promotion_fails() -> None:
    store, first, second = two_bundles()
    promote(first, store=store, scope="a")
    promote(second, store=store, scope="b")
    models = ServedModels(store, (), Capacity(models=1, pause=3600.0))
    models.catch_up()
    find(models, "b")
    promote(first, off_by(store, second, 1.0), store=store, scope="a")
    models.catch_up()
    stale = find(models, "a")
    assert (stale.champion.entry.number, stale.champion.bundle.sha256) == (1, first)
    assert stale.stale_since is not None


def test_a_bundle_is_in_memory_once_for_all_scopes() -> None:
    store, first, _ = two_bundles()
    promote(first, store=store, scope="a")
    promote(first, store=store, scope="b")
    models = ServedModels(store)
    models.catch_up()
    promote(first, store=store, scope="c")
    models.hurry()
    models.catch_up()
    bundles = {id(served.champion.bundle) for served in models.served.values()}
    assert len(models.served) == 3
    assert len(bundles) < 3


def test_a_store_of_the_version_before_is_served() -> None:
    models = ServedModels(golden_store())
    models.catch_up()
    assert models.served
    assert all(one.stale_since is None for one in models.served.values())


# replicas, and promotions under requests


def test_two_replicas_follow_one_log() -> None:
    store, first, second = two_bundles()
    promote(first, store=store)
    replicas = [ServedModels(store, (), AT_ONCE), ServedModels(store, (), AT_ONCE)]
    for names in ((first,), (first, second), (first, second, first)):
        promote(*names, store=store)
        for replica in replicas:
            replica.catch_up()
        one, other = (replica.served["global"] for replica in replicas)
        assert one.entry_sha256 == other.entry_sha256
        assert one.champion.bundle.sha256 == other.champion.bundle.sha256 == names[-1]


def test_a_hundred_promotions_under_requests_fail_none_and_mix_none() -> None:
    store, first, second = two_bundles()
    order = [first if number % 2 else second for number in range(101)]
    promote(*order[:1], store=store)
    models = ServedModels(store, (), AT_ONCE)
    models.catch_up()
    service, raw = ForecastService(models), RawTable.of("history", HISTORY)
    seen: list[tuple[int, bytes]] = []

    async def clients(stop: threading.Event) -> None:
        async def client() -> None:
            while not stop.is_set():
                answered = await service.forecast(Wanted(raw))
                seen.append((answered.served.champion.entry.number, answered.answer.mean.tobytes()))

        await asyncio.gather(*(client() for _ in range(4)))

    stop, failed = threading.Event(), list[BaseException]()

    def work() -> None:
        try:
            asyncio.run(clients(stop))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread of the test
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for number in range(2, 102):
            promote(*order[:number], store=store)
            models.catch_up()
            reached = len(seen)
            wait_until(lambda reached=reached: bool(failed) or len(seen) > reached, "an answer")  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()
    assert not failed
    expected = {bundle: answer(load_bundle(store, bundle), HISTORY).mean.tobytes() for bundle in (first, second)}
    assert expected[first] != expected[second]
    assert [number for number, mean in seen if mean != expected[order[number - 1]]] == []
    assert len({number for number, _ in seen}) > 50
