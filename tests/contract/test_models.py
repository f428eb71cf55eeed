"""What every family promises: a model of the zoo is one that passes this class."""

from __future__ import annotations

import json
import os
import pickletools
import subprocess
import sys
import zipfile
from dataclasses import replace
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from tests.support import ROOT
from tests.support.families import FAMILIES, experiment, fingerprints, installed, subject_on
from tests.support.series import hourly

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.canonical import canonical_json
from flts.contracts.errors import DamagedObject, MissingExtra, NotApplicable
from flts.forecasting.bundle import MANIFEST, load_bundle, write_bundle
from flts.forecasting.histories import Histories
from flts.models.registry import CANDIDATES, REFEREES, require
from flts.preprocess.rows import Rows
from flts.spec.fields import DEFAULT_MODELS, Models
from flts.train.determinism import thread_variables

every_family = pytest.mark.parametrize("name", installed())
every_candidate = pytest.mark.parametrize("name", installed(CANDIDATES))


def changed(rows: Rows, row: int, by: float) -> Rows:
    """The rows with every value of one of them moved."""
    values = rows.values.copy()
    values[row] += by
    return replace(rows, values=values)


@cache
def in_a_fresh_process(hash_seed: str) -> subprocess.CompletedProcess[str]:
    """The fingerprints of all families, made by another interpreter."""
    code = "import json; from tests.support.families import fingerprints; print(json.dumps(fingerprints()))"
    environment = {**os.environ, **thread_variables(1), "PYTHONHASHSEED": hash_seed}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )


@every_family
class TestEveryFamily:
    def test_history_asks_for_at_least_one_row_and_wants_no_less_than_it_needs(self, name: str) -> None:
        history = experiment(name).model.history
        assert 1 <= history.minimum <= history.wanted

    @pytest.mark.parametrize("targets", [("load",), ("wind", "load")])
    def test_a_fitted_model_forecasts_every_window_step_and_target(self, name: str, targets: tuple[str, ...]) -> None:
        fitted = experiment(name, targets)
        forecasts = fitted.model.forecast_all(fitted.histories(4)).mean
        assert forecasts.shape == (4, fitted.task.horizon, len(targets))
        assert forecasts.dtype == np.float64
        assert np.isfinite(forecasts).all()

    def test_each_target_is_forecast_in_its_own_place(self, name: str) -> None:
        rows = hourly(312, columns=("rises", "falls"))
        rows.values[:, 0] += 5.0 * np.arange(312)
        rows.values[:, 1] -= 5.0 * np.arange(312)
        learned: dict[str, Any] = {}
        if name in {"gru", "lstm"}:
            learned = {"epochs": 40, "learning_rate": 0.02, "patience": 40}
        fitted = subject_on(name, rows, ("falls", "rises"), **learned)
        forecasts = fitted.model.forecast_all(fitted.histories(3)).mean
        falls, rises = np.moveaxis(fitted.task.fitted.scale_targets(forecasts), -1, 0)
        assert (falls < 0.3).all()
        assert (rises > 0.7).all()

    def test_a_batch_is_forecast_as_its_windows_one_by_one(self, name: str) -> None:
        fitted = experiment(name)
        histories = fitted.histories(6)
        together = fitted.model.forecast_all(histories).mean
        alone = [fitted.model.forecast_all(Histories(histories.context, histories.ends[[i]])).mean for i in range(6)]
        _, width = fitted.task.fitted.target_range
        assert np.abs((together - np.concatenate(alone)) / width).max() <= 1e-6

    def test_a_row_before_the_window_changes_nothing(self, name: str) -> None:
        fitted = experiment(name)
        histories = fitted.histories(1)
        before = int(histories.ends[0]) - fitted.model.history_rows - 1
        other = Histories(changed(histories.context, before, 25.0), histories.ends)
        np.testing.assert_array_equal(
            fitted.model.forecast_all(histories).mean, fitted.model.forecast_all(other).mean, strict=True
        )

    def test_the_last_row_matters_exactly_when_the_history_is_used(self, name: str) -> None:
        fitted = experiment(name)
        histories = fitted.histories(1)
        last = int(histories.ends[0]) - 1
        season = fitted.task.seasons[0]
        # seasonal naive repeats the row one season before the first step, which is not the last one
        row = last + 1 - season if name == "seasonal_naive" else last
        other = Histories(changed(histories.context, row, 5.0), histories.ends)
        forecast, after = fitted.model.forecast_all(histories).mean, fitted.model.forecast_all(other).mean
        assert np.array_equal(forecast, after) is not fitted.model.history.used

    def test_loading_the_files_again_gives_the_same_predictor(self, name: str) -> None:
        fitted = experiment(name)
        first, second = (model.forecast_all(fitted.histories()).mean for model in (fitted.model, fitted.load()))
        np.testing.assert_array_equal(first, second, strict=True)

    def test_rows_beyond_those_it_wants_are_not_looked_at(self, name: str) -> None:
        fitted = experiment(name)
        end, wanted = len(fitted.train), fitted.model.history_rows
        values = fitted.train.values.copy()
        values[end - wanted] = np.nan  # an empty cell that an extra row before it could fill
        times = fitted.train.times[None]
        extra = fitted.model.forecast(times[:, -wanted - 9 :], values[None, -wanted - 9 :])
        exact = fitted.model.forecast(times[:, -wanted:], values[None, -wanted:])
        np.testing.assert_array_equal(extra.mean, exact.mean, strict=True)
        np.testing.assert_array_equal(extra.spread, exact.spread, strict=True)

    def test_empty_cells_of_a_history_do_not_empty_the_forecast(self, name: str) -> None:
        fitted = experiment(name)
        wanted = fitted.model.history_rows
        values = np.full((1, wanted, len(fitted.train.columns)), np.nan)
        assert np.isfinite(fitted.model.forecast(fitted.train.times[None, -wanted:], values).mean).all()

    def test_its_minimum_of_rows_is_enough_and_one_less_is_not_applicable(self, name: str) -> None:
        fitted = experiment(name)
        minimum = fitted.model.history.minimum
        enough, short = (Histories(fitted.train, np.array([rows], dtype=np.int64)) for rows in (minimum, minimum - 1))
        assert np.isfinite(fitted.model.forecast_all(enough).mean).all()
        with pytest.raises(NotApplicable, match=f"needs {minimum} rows, has {minimum - 1}"):
            fitted.model.forecast_all(short)

    @pytest.mark.slow
    def test_a_fresh_process_with_another_hash_seed_repeats_files_and_forecasts(self, name: str) -> None:
        first, second = (json.loads(in_a_fresh_process(seed).stdout)[name] for seed in ("1", "2"))
        assert first == second

    def test_no_file_is_a_pickle_or_an_archive_of_pickles(self, name: str) -> None:
        for data in experiment(name).fitted.files.values():
            assert not zipfile.is_zipfile(BytesIO(data))
            with pytest.raises(ValueError, match=r"opcode|pickle|read|decode|escape|newline|exhausted"):
                list(pickletools.genops(data))

    def test_what_it_chose_is_plain_json(self, name: str) -> None:
        chosen = experiment(name).fitted.fit.chosen
        assert json.loads(canonical_json(chosen)) == chosen

    def test_its_interval_offsets_are_finite_and_grow_with_the_level(self, name: str) -> None:
        offsets = experiment(name).fitted.manifest.intervals.offsets
        assert offsets is not None
        stacked = np.array([offsets[level] for level in ("0.5", "0.8", "0.9", "0.95")])
        assert np.isfinite(stacked).all()
        assert (np.diff(stacked, axis=0) >= 0.0).all()
        assert (stacked >= 0.0).all()


@every_candidate
class TestEveryCandidate:
    def test_its_bundle_is_loaded_and_passes_its_self_test(self, name: str) -> None:
        fitted, store = experiment(name), memory_store()
        bundle = load_bundle(store, write_bundle(store, fitted.fitted.manifest, fitted.fitted.files))
        bundle.self_test()
        rows = fitted.train[-bundle.manifest.history_rows :]
        served, _, _ = bundle.forecast(rows.times[None], rows.values[None], 0.8)
        np.testing.assert_array_equal(served.mean, fitted.model.forecast(rows.times[None], rows.values[None]).mean)

    def test_the_manifest_says_what_a_request_must_bring(self, name: str) -> None:
        fitted = experiment(name)
        manifest, history = fitted.fitted.manifest, fitted.model.history
        assert manifest.min_history_rows == history.minimum
        assert manifest.history_rows == max(history.wanted, fitted.task.input_length)
        assert manifest.uses_history == history.used
        assert manifest.columns == list(fitted.train.columns)
        assert manifest.targets == list(fitted.task.fitted.targets)
        assert manifest.trained_until == fitted.train.times[-1]

    def test_one_damaged_byte_in_any_file_of_its_bundle_is_refused(self, name: str) -> None:
        fitted = experiment(name)
        for file in (*fitted.fitted.files, MANIFEST):
            store = memory_store()
            bundle_sha256 = write_bundle(store, fitted.fitted.manifest, fitted.fitted.files)
            key = layout.bundle(bundle_sha256, file)
            data = bytearray(store.get(key) or b"")
            data[len(data) // 2] ^= 1
            store.replace(key, bytes(data))
            with pytest.raises(DamagedObject, match="is damaged"):
                load_bundle(store, bundle_sha256)


@pytest.mark.parametrize("name", installed(name for name, family in CANDIDATES.items() if family.extra))
def test_a_bundle_whose_library_is_missing_names_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family, fitted, store = CANDIDATES[name], experiment(name), memory_store()
    bundle_sha256 = write_bundle(store, fitted.fitted.manifest, fitted.fitted.files)
    for module in [*sys.modules]:
        if module.partition(".")[0] in {*family.libraries}:
            monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"flts\[{family.extra}\]"):
        load_bundle(store, bundle_sha256)


@pytest.mark.slow
@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_a_fit_and_a_forecast_print_nothing_of_their_own(hash_seed: str) -> None:
    made = in_a_fresh_process(hash_seed)
    assert made.stderr == ""
    assert len(made.stdout.splitlines()) == 1


@pytest.mark.slow
def test_this_process_comes_to_the_forecasts_of_a_fresh_one() -> None:
    fresh, here = json.loads(in_a_fresh_process("1").stdout), fingerprints()
    assert {*fresh} == {*here}
    for name, found in here.items():
        # numpy may have more threads here, so the last digits may differ
        np.testing.assert_allclose(found["forecasts"], fresh[name]["forecasts"], rtol=1e-6)


def test_every_model_of_the_spec_has_a_family_of_that_name() -> None:
    assert {*CANDIDATES} == {*Models.model_fields} == {*DEFAULT_MODELS}
    assert all(family.name == name for name, family in FAMILIES.items())


def test_a_referee_is_not_a_candidate() -> None:
    assert not {*CANDIDATES} & {*REFEREES}


def test_requiring_a_model_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    require(["ridge"])
    with pytest.raises(MissingExtra, match=r"'prophet' needs the extra 'prophet'.*flts\[prophet\]"):
        require(["ridge", "prophet"])


def test_the_extras_of_all_missing_models_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        require(["prophet", "lstm", "ridge", "gru"])
    assert caught.value.extra == "prophet,torch"
    assert str(caught.value) == (
        "training the models 'gru', 'lstm', 'prophet' needs the extras 'prophet', 'torch':"
        " pip install 'flts[prophet,torch]'"
    )
