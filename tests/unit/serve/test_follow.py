"""The champion is the bundle that the promotion log names, served only after its self-test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs
from tests.support.experiments import small_experiment, small_spec
from tests.support.raising import raises
from tests.support.series import hourly, table
from tests.support.stored import Watched, chain, copy, fit, promoted, put_log

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.canonical import digest
from flts.contracts.errors import DamagedObject, NoChampion, UsageError
from flts.contracts.ports import Store
from flts.contracts.records.log import LogEntry, Promoted
from flts.forecasting.bundle import MANIFEST, load_bundle, read_bundle, write_bundle
from flts.promotion.log import next_entry
from flts.serve.answer import answer
from flts.serve.follow import Follower, champion_of


def store_with(*bundles: str, store: Store, kind: Any = "promote") -> list[LogEntry]:
    """Promote these bundles one after the other."""
    entries: list[LogEntry] = []
    for bundle in bundles:
        champion: Promoted = promoted("ridge", bundle_sha256=bundle)
        entries.append(
            next_entry(chain(entries), "global", kind, champion, digest("d"), "tests", "2026-01-02T03:04:05")
        )
    put_log(store, entries)
    return entries


def two_bundles() -> tuple[Store, str, str]:
    store = memory_store()
    names = []
    for length in (12, 18):
        experiment, fresh = small_experiment(small_spec(task={"input_length": length}))
        names.append(fit(fresh, experiment).bundle_sha256)
        copy(fresh, store)
    return store, names[0], names[1]


def test_a_scope_without_a_champion_is_named() -> None:
    store, first, _ = two_bundles()
    store_with(first, store=store)
    with raises(UsageError, code="no-champion", scope="north", store="memory:///"):
        champion_of(store, "north")


def test_the_champion_is_the_newest_entry_of_the_log_whatever_a_pointer_says() -> None:
    store, first, second = two_bundles()
    entries = store_with(first, second, store=store)
    store.create(layout.scope_pointer("global"), b'{"promotion": 1}')
    champion = champion_of(store, "global")
    assert champion.entry == entries[1]
    assert champion.bundle.sha256 == second
    entries = store_with(first, second, first, store=store)
    assert champion_of(store, "global").bundle.sha256 == first


def test_the_champions_forecast_is_its_bundles_answer_as_a_table() -> None:
    store, first, _ = two_bundles()
    store_with(first, store=store)
    champion = champion_of(store, "global")
    expected = answer(load_bundle(store, first), table(hourly(290)), 0.95)
    assert champion.forecast(table(hourly(290)), level=0.95).equals(expected.frame())
    assert champion.answer(table(hourly(290)), 0.95).mean.tolist() == expected.mean.tolist()
    assert champion.forecast(table(hourly(290))).equals(answer(champion.bundle, table(hourly(290)), 0.8).frame())


@pytest.mark.parametrize("file", [MANIFEST, "coefficients.safetensors"])
def test_a_changed_bundle_is_not_served(file: str) -> None:
    store, first, _ = two_bundles()
    store_with(first, store=store)
    key = layout.bundle(first, file)
    store.replace(key, (store.get(key) or b"") + b" ")
    with pytest.raises(DamagedObject, match=key):
        champion_of(store, "global")


@pytest.mark.parametrize(("off", "served"), [(0.5e-6, True), (2e-6, False), (1.0, False)])
def test_a_bundle_that_fails_its_self_test_is_not_served(off: float, served: bool) -> None:
    store, first, _ = two_bundles()
    manifest, files = read_bundle(store, first)
    target = next(column for column in manifest.fitted.columns if column.name == "load")
    mean = [list(row) for row in manifest.self_test.mean]
    mean[1][0] += off * (target.maximum - target.minimum)
    vector = manifest.self_test.model_copy(update={"mean": mean})
    store_with(write_bundle(store, manifest.model_copy(update={"self_test": vector}), files), store=store)
    if served:
        assert np.isfinite(champion_of(store, "global").answer(table(hourly(290))).mean).all()
    else:
        with raises(DamagedObject, code="self-test-failed"):
            champion_of(store, "global")


def test_a_follower_goes_on_to_the_newest_entry_and_keeps_a_bundle_that_is_the_same() -> None:
    store, first, second = two_bundles()
    store_with(first, store=store)
    follower = Follower(store)
    one = follower.champion("global")
    assert follower.champion("global") is one
    entries = store_with(first, second, store=store)
    assert (follower.champion("global").entry, follower.champion("global").bundle.sha256) == (entries[1], second)
    entries = store_with(first, second, second, store=store)
    kept = follower.champion("global").bundle
    assert follower.champion("global").entry == entries[2]
    assert follower.champion("global").bundle is kept


def test_a_follower_goes_back_with_a_log_that_was_shortened() -> None:
    store, first, second = two_bundles()
    entries = store_with(first, second, store=store)
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
    store_with(second, store=store)
    assert follower.champion("global").bundle.sha256 == second


def test_a_follower_notices_an_entry_that_was_replaced_under_its_number() -> None:
    store, first, second = two_bundles()
    store_with(first, store=store)
    follower = Follower(store)
    assert follower.champion("global").bundle.sha256 == first
    other = memory_store()
    (entry,) = store_with(second, store=other)
    store.replace(layout.log_entry("global", 1), entry.to_bytes())
    assert follower.champion("global").bundle.sha256 == second


def test_a_slow_thread_does_not_put_an_older_champion_back() -> None:
    store, first, second = two_bundles()
    store_with(first, store=store)
    overtaken: list[str] = []

    class Slow(Watched):
        """Between the reading of the log and of its bundle another thread serves a longer log."""

        def get(self, key: str) -> bytes | None:
            if key.startswith("bundles/") and not overtaken:
                overtaken.append(key)
                store_with(first, second, store=store)
                assert follower.champion("global").bundle.sha256 == second
            return super().get(key)

    follower = Follower(Slow(store))
    assert follower.champion("global").bundle.sha256 == second
    assert follower.champion("global").bundle.sha256 == second
    assert overtaken


def test_a_damaged_log_is_not_followed() -> None:
    store, first, second = two_bundles()
    store_with(first, second, store=store)
    store.replace(layout.log_entry("global", 1), b"{}")
    with pytest.raises(DamagedObject, match=layout.log_entry("global", 1)):
        champion_of(store, "global")
