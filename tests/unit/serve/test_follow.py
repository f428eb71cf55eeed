"""The champion is the bundle that the promotion log names, served only after its self-test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.support.experiments import small_experiment, small_spec
from tests.support.raising import raises
from tests.support.series import hourly, table
from tests.support.stored import chain, copy, fit, promoted, put_log

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.canonical import digest
from flts.contracts.errors import DamagedObject, UsageError
from flts.contracts.ports import Store
from flts.contracts.records.log import LogEntry, Promoted
from flts.forecasting.bundle import MANIFEST, load_bundle, read_bundle, write_bundle
from flts.promotion.log import next_entry
from flts.serve.answer import answer
from flts.serve.follow import champion_of


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


def test_a_damaged_log_is_not_followed() -> None:
    store, first, second = two_bundles()
    store_with(first, second, store=store)
    store.replace(layout.log_entry("global", 1), b"{}")
    with pytest.raises(DamagedObject, match=layout.log_entry("global", 1)):
        champion_of(store, "global")
