"""The champion is the bundle that the promotion log names, served only after its self-test."""

from __future__ import annotations

import numpy as np
import pytest
from structlog.testing import capture_logs
from tests.support.promotions import off_by, promote, two_bundles
from tests.support.raising import raises
from tests.support.series import hourly, table
from tests.support.stored import Watched

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.errors import DamagedObject, NoChampion, UsageError
from flts.forecasting.bundle import MANIFEST, load_bundle
from flts.serve.answer import answer
from flts.serve.follow import Follower, champion_of


def test_a_scope_without_a_champion_is_named() -> None:
    store, first, _ = two_bundles()
    promote(first, store=store)
    with raises(UsageError, code="no-champion", scope="north", store="memory:///"):
        champion_of(store, "north")


def test_the_champion_is_the_newest_entry_of_the_log_whatever_a_pointer_says() -> None:
    store, first, second = two_bundles()
    entries = promote(first, second, store=store)
    store.create(layout.scope_pointer("global"), b'{"promotion": 1}')
    champion = champion_of(store, "global")
    assert champion.entry == entries[1]
    assert champion.bundle.sha256 == second
    entries = promote(first, second, first, store=store)
    assert champion_of(store, "global").bundle.sha256 == first


def test_the_champions_forecast_is_its_bundles_answer_as_a_table() -> None:
    store, first, _ = two_bundles()
    promote(first, store=store)
    champion = champion_of(store, "global")
    expected = answer(load_bundle(store, first), table(hourly(290)), 0.95)
    assert champion.forecast(table(hourly(290)), level=0.95).equals(expected.frame())
    assert champion.answer(table(hourly(290)), 0.95).mean.tolist() == expected.mean.tolist()
    assert champion.forecast(table(hourly(290))).equals(answer(champion.bundle, table(hourly(290)), 0.8).frame())


@pytest.mark.parametrize("file", [MANIFEST, "coefficients.safetensors"])
def test_a_changed_bundle_is_not_served(file: str) -> None:
    store, first, _ = two_bundles()
    promote(first, store=store)
    key = layout.bundle(first, file)
    store.replace(key, (store.get(key) or b"") + b" ")
    with pytest.raises(DamagedObject, match=key):
        champion_of(store, "global")


@pytest.mark.parametrize(("off", "served"), [(0.5e-6, True), (2e-6, False), (1.0, False)])
def test_a_bundle_that_fails_its_self_test_is_not_served(off: float, served: bool) -> None:
    store, first, _ = two_bundles()
    promote(off_by(store, first, off), store=store)
    if served:
        assert np.isfinite(champion_of(store, "global").answer(table(hourly(290))).mean).all()
    else:
        with raises(DamagedObject, code="self-test-failed"):
            champion_of(store, "global")


def test_a_follower_goes_on_to_the_newest_entry_and_keeps_a_bundle_that_is_the_same() -> None:
    store, first, second = two_bundles()
    promote(first, store=store)
    follower = Follower(store)
    one = follower.champion("global")
    assert follower.champion("global") is one
    entries = promote(first, second, store=store)
    assert (follower.champion("global").entry, follower.champion("global").bundle.sha256) == (entries[1], second)
    entries = promote(first, second, second, store=store)
    kept = follower.champion("global").bundle
    assert follower.champion("global").entry == entries[2]
    assert follower.champion("global").bundle is kept


def test_a_follower_goes_back_with_a_log_that_was_shortened() -> None:
    store, first, second = two_bundles()
    entries = promote(first, second, store=store)
    follower = Follower(store)
    assert follower.champion("global").bundle.sha256 == second
    store.erase(layout.log_entry("global", 2))
    with capture_logs() as events:
        champion = follower.champion("global")
    assert (champion.entry, champion.bundle.sha256) == (entries[0], first)
    assert [event["event"] for event in events] == ["model_loaded", "promotion_log_replaced", "model_swap"]
    assert (events[1]["was"], events[1]["promotion"]) == (2, 1)
    store.erase(layout.log_entry("global", 1))
    with pytest.raises(NoChampion):
        follower.champion("global")
    promote(second, store=store)
    assert follower.champion("global").bundle.sha256 == second


def test_a_follower_notices_an_entry_that_was_replaced_under_its_number() -> None:
    store, first, second = two_bundles()
    promote(first, store=store)
    follower = Follower(store)
    assert follower.champion("global").bundle.sha256 == first
    other = memory_store()
    (entry,) = promote(second, store=other)
    store.replace(layout.log_entry("global", 1), entry.to_bytes())
    assert follower.champion("global").bundle.sha256 == second


def test_a_slow_thread_does_not_put_an_older_champion_back() -> None:
    store, first, second = two_bundles()
    promote(first, store=store)
    overtaken: list[str] = []

    class Slow(Watched):
        """Between the reading of the log and of its bundle another thread serves a longer log."""

        def get(self, key: str) -> bytes | None:
            if key.startswith("bundles/") and not overtaken:
                overtaken.append(key)
                promote(first, second, store=store)
                assert follower.champion("global").bundle.sha256 == second
            return super().get(key)

    follower = Follower(Slow(store))
    assert follower.champion("global").bundle.sha256 == second
    assert follower.champion("global").bundle.sha256 == second
    assert overtaken


def test_a_damaged_log_is_not_followed() -> None:
    store, first, second = two_bundles()
    promote(first, second, store=store)
    store.replace(layout.log_entry("global", 1), b"{}")
    with pytest.raises(DamagedObject, match=layout.log_entry("global", 1)):
        champion_of(store, "global")
