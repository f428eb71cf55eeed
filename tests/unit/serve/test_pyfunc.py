"""A bundle in a folder as an MLflow model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.support.distributions import site  # noqa: F401 - a fixture
from tests.support.ensembles import made, repeating, with_members  # noqa: F401
from tests.support.experiments import small_experiment, small_spec
from tests.support.raising import raises
from tests.support.series import hourly, table
from tests.support.stored import fit

from flts.contracts import layout
from flts.contracts.errors import DamagedObject, DataError, UsageError
from flts.forecasting.bundle import MANIFEST, Bundle, load_bundle, read_bundle
from flts.serve.answer import answer
from flts.serve.pyfunc import _load_pyfunc

HISTORY = table(hourly(290)).to_pandas()


@pytest.fixture
def folder(tmp_path: Path) -> tuple[Path, Bundle]:
    """A bundle's files, and the bundle."""
    experiment, store = small_experiment(small_spec(dataset={"targets": ["load", "wind"]}))
    sha256 = fit(store, experiment).bundle_sha256
    manifest, files = read_bundle(store, sha256)
    for name, data in {MANIFEST: manifest.to_bytes(), **files}.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path, load_bundle(store, sha256)


@pytest.mark.parametrize("level", [None, 0.5, 0.95])
def test_predict_returns_the_rows_of_the_answer(folder: tuple[Path, Bundle], level: float | None) -> None:
    path, bundle = folder
    model = _load_pyfunc(str(path))
    predicted = model.predict(HISTORY) if level is None else model.predict(HISTORY, {"level": level})
    expected = answer(bundle, HISTORY, level or 0.8)
    assert list(predicted.columns) == ["time", "target", "mean", "lower", "upper"]
    assert predicted["time"].astype("int64").tolist() == np.repeat(expected.times, 2).tolist()
    assert predicted["target"].tolist() == ["load", "wind"] * 3
    for name in ("mean", "lower", "upper"):
        assert predicted[name].tolist() == getattr(expected, name).ravel().tolist()


def test_times_are_local_where_train_was_and_what_the_history_lacks_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    experiment, store = small_experiment(small_spec(dataset={"timezone": "America/New_York"}))
    manifest, files = read_bundle(store, fit(store, experiment).bundle_sha256)
    for name, data in {MANIFEST: manifest.to_bytes(), **files}.items():
        (tmp_path / name).write_bytes(data)
    history = HISTORY.assign(load=HISTORY["load"].where(HISTORY.index < 288))
    predicted = _load_pyfunc(str(tmp_path)).predict(history)
    assert str(predicted["time"].dtype) == "datetime64[ns, America/New_York]"
    assert predicted["time"][0] == HISTORY["time"].iloc[-1].tz_localize("America/New_York") + pd.Timedelta("1h")
    assert "load is empty in the last 2 rows" in caplog.text


def test_the_loaded_bundle_has_its_stored_name(folder: tuple[Path, Bundle]) -> None:
    path, bundle = folder
    assert _load_pyfunc(str(path)).bundle.sha256 == bundle.sha256


def test_times_in_another_time_zone_give_the_same_forecasts(folder: tuple[Path, Bundle]) -> None:
    model = _load_pyfunc(str(folder[0]))
    zoned = HISTORY.assign(time=HISTORY["time"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"))
    pd.testing.assert_frame_equal(model.predict(zoned), model.predict(HISTORY))


def test_a_changed_file_is_refused(folder: tuple[Path, Bundle]) -> None:
    path, bundle = folder
    file = path / "coefficients.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
    with raises(DamagedObject, code="digest-differs", key=layout.bundle(bundle.sha256, file.name), file=str(file)):
        _load_pyfunc(str(path))


def test_a_manifest_whose_file_lies_outside_the_folder_is_refused(folder: tuple[Path, Bundle]) -> None:
    path, bundle = folder
    outside = {"../secret": next(iter(bundle.manifest.files.values()))}
    (path / MANIFEST).write_bytes(bundle.manifest.model_copy(update={"files": outside}).to_bytes())
    with pytest.raises(DamagedObject, match=r"\.\./secret"):
        _load_pyfunc(str(path))


def test_a_bundle_that_fails_its_self_test_is_not_loaded(folder: tuple[Path, Bundle]) -> None:
    path, bundle = folder
    vector = bundle.manifest.self_test
    wrong = vector.model_copy(update={"mean": (np.array(vector.mean) + 1.0).tolist()})
    (path / MANIFEST).write_bytes(bundle.manifest.model_copy(update={"self_test": wrong}).to_bytes())
    with raises(DamagedObject, code="self-test-failed"):
        _load_pyfunc(str(path))


def test_invalid_histories_and_levels_are_refused(folder: tuple[Path, Bundle]) -> None:
    model = _load_pyfunc(str(folder[0]))
    with raises(DataError, code="columns-missing", columns=["wind"]):
        model.predict(HISTORY.drop(columns="wind"))
    with raises(UsageError, code="unknown-level", found=0.7):
        model.predict(HISTORY, {"level": 0.7})


@pytest.mark.usefixtures("repeating")
def test_a_copy_of_an_ensemble_holds_the_files_of_its_members(tmp_path: Path) -> None:
    experiment, store = with_members()
    sha256 = made(store, experiment).bundle_sha256
    manifest, files = read_bundle(store, sha256)
    for name, data in {MANIFEST: manifest.to_bytes(), **files}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    served = answer(load_bundle(store, sha256), HISTORY)
    predicted = _load_pyfunc(str(tmp_path)).predict(HISTORY)
    for name in ("mean", "lower", "upper"):
        assert predicted[name].tolist() == getattr(served, name).ravel().tolist()
    (tmp_path / "ridge" / MANIFEST).write_bytes(b"{}")
    ridge = (manifest.members or {})["ridge"].bundle_sha256
    with raises(DamagedObject, code="digest-differs", key=layout.bundle(ridge, MANIFEST)):
        _load_pyfunc(str(tmp_path))
