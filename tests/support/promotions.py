"""Promotions of real bundles, written into a log as a judge writes them."""

from __future__ import annotations

from functools import cache
from typing import Any

from flts.backends.store import memory_store
from flts.contracts.canonical import digest
from flts.contracts.ports import Store
from flts.contracts.records.log import LogEntry, Promoted
from flts.forecasting.bundle import read_bundle, write_bundle
from flts.promotion.log import next_entry
from tests.support.experiments import small_experiment, small_spec
from tests.support.stored import MOMENT, chain, contents, fit, promoted, put_log


def promote(*bundles: str, store: Store, scope: str = "global", kind: Any = "promote") -> list[LogEntry]:
    """A log that promotes these bundles one after the other; entries that are there already stay."""
    entries: list[LogEntry] = []
    for bundle in bundles:
        champion: Promoted = promoted("ridge", bundle_sha256=bundle)
        entries.append(next_entry(chain(entries), scope, kind, champion, digest("d"), "tests", MOMENT))
    put_log(store, entries)
    return entries


def two_bundles() -> tuple[Store, str, str]:
    """A store with two small bundles that forecast differently, and their digests."""
    objects, names = _two_bundles()
    store = memory_store()
    for key, data in objects.items():
        store.create(key, data)
    return store, *names


@cache
def _two_bundles() -> tuple[dict[str, bytes], tuple[str, str]]:
    objects: dict[str, bytes] = {}
    names = []
    for length in (12, 18):
        experiment, fresh = small_experiment(small_spec(task={"input_length": length}))
        names.append(fit(fresh, experiment).bundle_sha256)
        objects |= contents(fresh)
    return objects, (names[0], names[1])


def off_by(store: Store, bundle_sha256: str, share: float) -> str:
    """The same bundle, whose self-test says something else by this share of the target's range; returns its digest."""
    manifest, files = read_bundle(store, bundle_sha256)
    target = next(column for column in manifest.fitted.columns if column.name == "load")
    mean = [list(row) for row in manifest.self_test.mean]
    mean[1][0] += share * (target.maximum - target.minimum)
    vector = manifest.self_test.model_copy(update={"mean": mean})
    return write_bundle(store, manifest.model_copy(update={"self_test": vector}), files)
