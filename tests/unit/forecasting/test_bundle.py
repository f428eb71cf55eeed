"""A bundle's name is its content: written last, read with every digest, and asked for its self-test."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.support.families import experiment

from flts.backends.store import ObjectStoreAdapter, memory_store
from flts.contracts import layout
from flts.contracts.canonical import canonical_json, sha256
from flts.contracts.errors import DamagedObject
from flts.contracts.records.model import IntervalOffsets, Manifest
from flts.forecasting.bundle import MANIFEST, TOLERANCE, assemble, load_bundle, read_bundle, write_bundle
from flts.forecasting.intervals import bounds

FILE = "coefficients.safetensors"


def manifest_of(**changes: Any) -> Manifest:
    return experiment("ridge").fitted.manifest.model_copy(update=changes)


def written(manifest: Manifest | None = None) -> tuple[ObjectStoreAdapter, str]:
    store = memory_store()
    return store, write_bundle(store, manifest or manifest_of(), experiment("ridge").fitted.files)


def written_as(**changes: Any) -> tuple[ObjectStoreAdapter, str]:
    """A bundle whose manifest no writer of this version would write."""
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
    name = write_bundle(store, manifest_of(), {**experiment("ridge").fitted.files, "zzz.bin": b"later in the alphabet"})
    assert store.created[-1] == layout.bundle(name, MANIFEST)
    assert len(store.created) == 3


def test_one_other_value_in_the_manifest_is_another_bundle() -> None:
    assert written(manifest_of(trained_until=manifest_of().trained_until + 1))[1] != written()[1]


def test_writing_a_bundle_again_changes_nothing() -> None:
    store, name = written()
    before = {key: store.get(key) for key in store.list("bundles/")}
    assert write_bundle(store, manifest_of(), experiment("ridge").fitted.files) == name
    assert {key: store.get(key) for key in store.list("bundles/")} == before


@pytest.mark.parametrize("file", [FILE, MANIFEST])
def test_a_file_that_is_absent_is_named(file: str) -> None:
    store, name = written()
    partial = memory_store()
    for key in store.list("bundles/"):
        if not key.endswith(file):
            partial.create(key, store.get(key) or b"")
    with pytest.raises(DamagedObject, match=rf"{file} is absent"):
        load_bundle(partial, name)


@pytest.mark.parametrize("where", [0, -1])
@pytest.mark.parametrize("file", [FILE, MANIFEST])
def test_a_file_with_another_byte_is_named(file: str, where: int) -> None:
    store, name = written()
    key = layout.bundle(name, file)
    data = bytearray(store.get(key) or b"")
    data[where] ^= 0x20
    store.replace(key, bytes(data))
    with pytest.raises(DamagedObject, match=rf"{file} in memory:/// is damaged"):
        read_bundle(store, name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"v": 2}, "was written by a newer flts in version 2 of its format, and this flts reads up to version 1"),
        ({"v": 0}, "v: expected a version number, found 0"),
        ({"model": "naive"}, "the family 'naive', which is not installed; available: automfles, gru"),
        ({"model": "hal9000"}, "the family 'hal9000', which is not installed"),
        ({"horizon": "3"}, "horizon: Input should be a valid integer"),
        ({"more": 1}, "more: Extra inputs are not permitted"),
    ],
    ids=["newer", "older", "referee", "unknown", "type", "field"],
)
def test_another_format_or_family_is_refused_and_named(change: dict[str, Any], said: str) -> None:
    store, name = written_as(**change)
    with pytest.raises(DamagedObject) as raised:
        load_bundle(store, name)
    assert f"bundles/{name}/manifest.json in memory:/// " in str(raised.value)
    assert said in str(raised.value)
    assert "delete" not in str(raised.value)


@pytest.mark.parametrize(
    "file", ["../x", "../../x", "/etc/passwd", "a/b", "..", ".", "", "a\\b", ".x", "x\n", MANIFEST]
)
def test_a_file_name_that_leaves_the_bundle_is_refused(file: str) -> None:
    store, name = written_as(files={file: {"sha256": "0" * 64, "size": 1}})
    with pytest.raises(DamagedObject, match=r"manifest\.json in memory:/// is damaged: files\."):
        read_bundle(store, name)


@pytest.mark.parametrize(("share", "passes"), [(0.0, True), (0.5, True), (-0.5, True), (2.0, False), (-2.0, False)])
def test_the_self_test_allows_a_millionth_of_the_range_of_each_target(share: float, passes: bool) -> None:
    widths = experiment("ridge").task.fitted.target_range[1]
    for target, width in enumerate(widths):
        vector = manifest_of().self_test
        mean = [list(row) for row in vector.mean]
        mean[1][target] += share * TOLERANCE * width
        store, name = written(manifest_of(self_test=vector.model_copy(update={"mean": mean})))
        bundle = load_bundle(store, name)
        if passes:
            bundle.self_test()
        else:
            with pytest.raises(DamagedObject, match=r"fails its self-test: .* 1e-06 is allowed"):
                bundle.self_test()


def test_an_answer_that_is_no_number_fails_the_self_test() -> None:
    class Broken:
        def predict(self, window: Any) -> Any:
            return np.full((len(window.times), 3, 2), np.nan)

    store, name = written()
    bundle = load_bundle(store, name)
    with pytest.raises(DamagedObject, match="fails its self-test"):
        replace(bundle, model=replace(bundle.model, predictor=Broken())).self_test()


def test_the_self_test_vector_is_the_end_of_train_through_the_model_itself() -> None:
    fitted = experiment("ridge")
    vector = manifest_of().self_test
    rows = fitted.train[-fitted.model.history_rows :]
    assert vector.times == rows.times.tolist()
    assert vector.values == rows.values.tolist()
    expected = fitted.model.forecast(rows.times[None], rows.values[None]).mean[0]
    np.testing.assert_array_equal(vector.mean, expected)


def test_a_loaded_bundle_has_the_task_it_was_fitted_for() -> None:
    store, name = written()
    loaded, fitted = load_bundle(store, name), experiment("ridge")
    assert loaded.model.task == fitted.task
    assert loaded.sha256 == name
    assert loaded.manifest == fitted.fitted.manifest


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_a_forecast_carries_the_bounds_of_the_level_asked_for(level: float) -> None:
    store, name = written()
    bundle, fitted = load_bundle(store, name), experiment("ridge")
    rows = fitted.train[-20:]
    forecasts, lower, upper = bundle.forecast(rows.times[None], rows.values[None], level)
    expected = bounds(forecasts.mean, forecasts.spread, fitted.fitted.manifest.intervals.offsets, level)
    np.testing.assert_array_equal((lower, upper), expected)
    assert (lower < forecasts.mean).all()
    assert (forecasts.mean < upper).all()


def test_a_bundle_without_offsets_says_why_its_bounds_are_empty() -> None:
    none = IntervalOffsets(offsets=None, reason="fewer than 20 validation windows")
    bundle = assemble("0" * 64, manifest_of(intervals=none), experiment("ridge").fitted.files)
    rows = experiment("ridge").train[-20:]
    _, lower, upper = bundle.forecast(rows.times[None], rows.values[None], 0.8)
    assert np.isnan(lower).all()
    assert np.isnan(upper).all()
