"""Bundles: named by their content, manifest written last, digests checked when read, self-test."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.support.families import fitted_family
from tests.support.raising import raises

from flts.backends.store import ObjectStoreAdapter, memory_store
from flts.contracts import layout
from flts.contracts.canonical import canonical_json, sha256
from flts.contracts.errors import DamagedObject
from flts.contracts.records.model import IntervalOffsets, Manifest
from flts.forecasting.answers import StoredIntervals
from flts.forecasting.bundle import (
    MANIFEST,
    SCORES,
    TOLERANCE,
    assemble,
    load_bundle,
    read_bundle,
    read_scores,
    write_bundle,
)
from flts.forecasting.histories import Histories
from flts.forecasting.intervals import conformal_offsets

FILE = "coefficients.safetensors"


def manifest_of(**changes: Any) -> Manifest:
    return fitted_family("ridge").result.manifest.model_copy(update=changes)


def written(manifest: Manifest | None = None) -> tuple[ObjectStoreAdapter, str]:
    store = memory_store()
    return store, write_bundle(store, manifest or manifest_of(), fitted_family("ridge").result.files)


def store_with_manifest(**changes: Any) -> tuple[ObjectStoreAdapter, str]:
    """Store a manifest with fields that this version would not write."""
    store, data = memory_store(), canonical_json({**json.loads(manifest_of().to_bytes()), **changes})
    name = sha256(data)
    store.create(layout.bundle(name, MANIFEST), data)
    return store, name


class Ordered(ObjectStoreAdapter):
    """Remembers the keys in the order they were created."""

    def __init__(self) -> None:
        inner = memory_store()
        super().__init__(inner.url, inner._store)
        self.created: list[str] = []

    def create(self, key: str, data: bytes) -> bool:
        self.created.append(key)
        return super().create(key, data)


def test_the_name_of_a_bundle_is_the_digest_of_its_manifest() -> None:
    store, name = written()
    data = store.get(layout.bundle(name, MANIFEST))
    assert data is not None
    assert name == hashlib.sha256(data).hexdigest()


def test_the_manifest_names_the_digest_and_the_size_of_every_other_file() -> None:
    store, name = written()
    listed = json.loads(store.get(layout.bundle(name, MANIFEST)) or b"")["files"]
    others = [key.removeprefix(layout.bundle(name, "")) for key in store.list(layout.bundle(name, ""))]
    assert sorted(others) == sorted([MANIFEST, *listed])
    for file, entry in listed.items():
        data = store.get(layout.bundle(name, file))
        assert data is not None
        assert entry == {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def test_the_manifest_is_written_last() -> None:
    store = Ordered()
    name = write_bundle(
        store, manifest_of(), {**fitted_family("ridge").result.files, "zzz.bin": b"later in the alphabet"}
    )
    assert store.created[-1] == layout.bundle(name, MANIFEST)
    assert len(store.created) == 4


def test_a_change_in_the_manifest_gives_the_bundle_another_name() -> None:
    assert written(manifest_of(trained_until=manifest_of().trained_until + 1))[1] != written()[1]


def test_writing_a_bundle_again_changes_nothing() -> None:
    store, name = written()
    before = {key: store.get(key) for key in store.list("bundles/")}
    assert write_bundle(store, manifest_of(), fitted_family("ridge").result.files) == name
    assert {key: store.get(key) for key in store.list("bundles/")} == before


@pytest.mark.parametrize("file", [FILE, MANIFEST])
def test_a_missing_file_is_reported_by_its_key(file: str) -> None:
    store, name = written()
    partial = memory_store()
    for key in store.list("bundles/"):
        if not key.endswith(file):
            partial.create(key, store.get(key) or b"")
    with raises(DamagedObject, code="object-missing", key=layout.bundle(name, file)):
        load_bundle(partial, name)


@pytest.mark.parametrize("position", [0, -1])
@pytest.mark.parametrize("file", [FILE, MANIFEST])
def test_a_changed_byte_is_reported_by_the_key_of_its_file(file: str, position: int) -> None:
    store, name = written()
    key = layout.bundle(name, file)
    data = bytearray(store.get(key) or b"")
    data[position] ^= 0x20
    store.replace(key, bytes(data))
    with raises(DamagedObject, code="digest-differs", key=key):
        read_bundle(store, name)


@pytest.mark.parametrize(
    ("change", "code", "data"),
    [
        ({"v": 3}, "record-newer", {"version": 3}),
        ({"v": 0}, "record-damaged", {"fields": ("v",)}),
        ({"horizon": "3"}, "record-damaged", {"fields": ("horizon",)}),
        ({"more": 1}, "record-damaged", {"fields": ("more",)}),
    ],
    ids=["newer version", "invalid version", "wrong type", "unknown field"],
)
def test_a_manifest_that_cannot_be_read_is_reported_by_its_key_and_field(
    change: dict[str, Any], code: str, data: dict[str, Any]
) -> None:
    store, name = store_with_manifest(**change)
    with raises(DamagedObject, code=code, key=layout.bundle(name, MANIFEST), **data) as raised:
        load_bundle(store, name)
    assert "delete" not in str(raised.value)


@pytest.mark.parametrize("model", ["naive", "hal9000"], ids=["a baseline", "an unknown name"])
def test_a_bundle_of_a_family_that_is_not_a_candidate_is_refused(model: str) -> None:
    store, name = store_with_manifest(model=model)
    with raises(DamagedObject, code="family-unknown", key=layout.bundle(name, MANIFEST), model=model) as raised:
        load_bundle(store, name)
    assert "ridge" in str(raised.value)
    assert "delete" not in str(raised.value)


@pytest.mark.parametrize(
    "file", ["../x", "../../x", "/etc/passwd", "a/b", "..", ".", "", "a\\b", ".x", "x\n", MANIFEST]
)
def test_a_file_name_that_leaves_the_bundle_is_refused(file: str) -> None:
    store, name = store_with_manifest(files={file: {"sha256": "0" * 64, "size": 1}})
    with raises(DamagedObject, code="record-damaged", key=layout.bundle(name, MANIFEST)):
        read_bundle(store, name)


@pytest.mark.parametrize(("share", "passes"), [(0.0, True), (0.5, True), (-0.5, True), (2.0, False), (-2.0, False)])
def test_the_self_test_allows_a_millionth_of_the_range_of_each_target(share: float, passes: bool) -> None:
    widths = fitted_family("ridge").task.fitted.target_range[1]
    for target, width in enumerate(widths):
        vector = manifest_of().self_test
        mean = [list(row) for row in vector.mean]
        mean[1][target] += share * TOLERANCE * width
        store, name = written(manifest_of(self_test=vector.model_copy(update={"mean": mean})))
        bundle = load_bundle(store, name)
        if passes:
            bundle.self_test()
        else:
            with raises(DamagedObject, code="self-test-failed", key=layout.bundle(name, MANIFEST), allowed=TOLERANCE):
                bundle.self_test()


def test_a_forecast_of_nan_fails_the_self_test() -> None:
    class Broken:
        def predict(self, window: Any) -> Any:
            return np.full((len(window.times), 3, 2), np.nan)

    store, name = written()
    bundle = load_bundle(store, name)
    with raises(DamagedObject, code="self-test-failed"):
        replace(bundle, model=replace(bundle.model, predictor=Broken())).self_test()


def test_the_self_test_stores_the_end_of_train_and_the_forecast_of_the_model() -> None:
    fitted = fitted_family("ridge")
    vector = manifest_of().self_test
    rows = fitted.train[-fitted.model.history_rows :]
    assert vector.times == rows.times.tolist()
    assert vector.values == rows.values.tolist()
    expected = fitted.model.forecast(rows.times[None], rows.values[None]).mean[0]
    np.testing.assert_array_equal(vector.mean, expected)


def test_a_loaded_bundle_has_the_task_it_was_fitted_for() -> None:
    store, name = written()
    loaded, fitted = load_bundle(store, name), fitted_family("ridge")
    assert loaded.model.task == fitted.task
    assert loaded.sha256 == name
    assert loaded.manifest == fitted.result.manifest


def history() -> Histories:
    rows = fitted_family("ridge").train[-20:]
    return Histories(rows, np.array([len(rows)], dtype=np.int64))


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_a_forecast_has_the_bounds_of_the_requested_level(level: float) -> None:
    store, name = written()
    answers = load_bundle(store, name).forecast(history())
    offsets = fitted_family("ridge").result.manifest.intervals.offsets
    assert offsets is not None
    half = np.array(offsets[f"{level:g}"]) * answers.spread[:, None, :]
    np.testing.assert_array_equal(answers.interval(level), (answers.mean - half, answers.mean + half))
    assert answers.kinds() == ["static"]


def test_a_bundle_without_offsets_has_empty_bounds() -> None:
    none = IntervalOffsets(offsets=None, reason="fewer than 20 validation windows", scale="constant", scores=None)
    answers = assemble("0" * 64, manifest_of(intervals=none), fitted_family("ridge").result.files).forecast(history())
    assert np.isnan(answers.interval(0.8)).all()
    assert answers.kinds() == ["none"]
    assert "half_width_90" not in answers.columns()


def test_mean_and_bounds_stay_within_the_bounds_of_the_manifest() -> None:
    free = load_bundle(*written()).forecast(history())
    high, low = float(free.mean[..., 0].min()), float(free.mean[..., 1].max())
    limits = [[None, high], [low, None]]
    found = load_bundle(*written(manifest_of(bounds=limits))).forecast(history())
    np.testing.assert_array_equal(found.mean[..., 0], np.minimum(free.mean[..., 0], high))
    np.testing.assert_array_equal(found.mean[..., 1], np.maximum(free.mean[..., 1], low))
    lower, upper = found.interval(0.8)
    assert (upper[..., 0] == high).all()
    assert (lower[..., 1] == low).all()
    half = free.half_width["0.8"]
    np.testing.assert_array_equal(lower[..., 0], found.mean[..., 0] - half[..., 0])
    np.testing.assert_array_equal(upper[..., 1], found.mean[..., 1] + half[..., 1])


def test_the_scores_are_a_file_of_the_bundle_and_give_the_offsets_of_the_manifest() -> None:
    result = fitted_family("ridge").result
    scores = read_scores(result.files[SCORES])
    assert result.manifest.intervals.scores == SCORES in result.manifest.files
    assert conformal_offsets(scores) == result.manifest.intervals.offsets
    np.testing.assert_array_equal(load_bundle(*written()).scores, scores)


def test_a_table_of_forecasts_gives_the_intervals_of_every_level_and_the_static_ones() -> None:
    fitted, bundle = fitted_family("ridge"), load_bundle(*written())
    answers = bundle.forecast(fitted.histories(12))
    assert answers.adaptive.tolist() == [False] + [True] * 11
    values = {name: np.asarray(column, dtype=float) for name, column in answers.columns().items()}
    stored = StoredIntervals.of(values, bundle.manifest)
    static = replace(bundle, scores=None).forecast(fitted.histories(12))
    assert stored.adaptive == 11
    for level in ("0.5", "0.8", "0.9", "0.95"):
        np.testing.assert_allclose(stored.by_level[level], answers.interval(float(level)), rtol=1e-12)
        np.testing.assert_allclose(stored.static[level], static.interval(float(level)), rtol=1e-12)
    assert (np.array(stored.by_level["0.8"]) != np.array(stored.static["0.8"])).any()


def test_a_table_of_version_1_holds_static_intervals() -> None:
    bundle = replace(load_bundle(*written()), scores=None)
    answers = bundle.forecast(fitted_family("ridge").histories(4))
    lower, upper = answers.interval(0.8)
    stored = StoredIntervals.of({"y_hat": answers.mean, "lower": lower, "upper": upper}, bundle.manifest)
    assert stored.adaptive == 0
    for level, (low, high) in stored.by_level.items():
        np.testing.assert_allclose((low, high), answers.interval(float(level)))


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff" * 8 + b"{", (2**40).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"{}"],
    ids=["empty", "a header of 2^64 bytes", "a header of 2^40 bytes", "no tensors"],
)
def test_a_file_that_its_library_cannot_load_is_a_damaged_bundle(data: bytes) -> None:
    files = {**fitted_family("ridge").result.files, FILE: data}
    with raises(DamagedObject, code="model-unreadable", model="ridge"):
        assemble("0" * 64, manifest_of(), files)
