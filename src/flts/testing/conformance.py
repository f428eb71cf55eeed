"""The promises of a model family, as test classes to derive from."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import pickletools
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from io import BytesIO
from typing import Any, ClassVar

import numpy as np
import pytest

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.canonical import canonical_json, sha256
from flts.contracts.errors import DamagedObject, MissingExtra, MissingPackage, NotApplicable
from flts.contracts.ports import Silent
from flts.forecasting.bundle import MANIFEST, load_bundle, write_bundle
from flts.forecasting.histories import Histories
from flts.forecasting.model import Model
from flts.models.base import Family, Recipe, Refits, TargetsAlone
from flts.models.registry import BUILT_IN, CANDIDATES
from flts.preprocess.known import Known
from flts.preprocess.rows import Rows, Values
from flts.spec.installed import installed_families
from flts.spec.table import Table
from flts.testing.fitted import FittedFamily, blocks, fit_family, task_on
from flts.testing.series import hourly
from flts.train.determinism import made_on, thread_variables
from flts.train.fitting import whole_block

COLUMNS = ("load", "wind", "sun")
TARGETS = ("wind", "load")
"""Not in the order of the columns, so that a mix-up is found."""


class FamilyConformance:
    """The promises that candidates and baselines share. Derive from it and set `family`."""

    family: ClassVar[Family[Any]]
    small: ClassVar[Mapping[str, Any]] = {}
    """Parameters for a fit that takes a fraction of a second; others keep their defaults."""
    thorough: ClassVar[Mapping[str, Any]] = {}
    """Parameters, besides `small`, with which it learns two straight lines."""
    watched_row: ClassVar[int] = 1
    """The row in which a change must change the forecast, counted from the end of a history; 1 is the last row."""

    @pytest.fixture(autouse=True)
    def _skip_without_libraries(self) -> None:
        absent = [name for name in self.family.libraries if importlib.util.find_spec(name) is None]
        if absent:
            pytest.skip(f"needs {', '.join(absent)}")

    @classmethod
    @cache
    def fitted_family(cls, targets: tuple[str, ...] = TARGETS) -> FittedFamily:
        """The fitted family; the same object for every test of a process."""
        return fit_family(cls.family, cls.parameters(**cls.small), hourly(312, columns=COLUMNS), targets)

    @classmethod
    def parameters(cls, **values: Any) -> Table:
        """The parameters of the family, with these values."""
        parameters: Table = cls.family.parameters.model_validate(values)
        return parameters

    @classmethod
    def fingerprint(cls) -> dict[str, Any]:
        """Digests of the files and the forecasts, which another process must repeat."""
        fitted = cls.fitted_family()
        files = {file: sha256(data) for file, data in fitted.result.files.items()}
        return {"files": files, "forecasts": fitted.model.forecast_all(fitted.histories()).mean.tolist()}

    def test_it_is_a_family_with_a_version_and_parameters_that_have_defaults(self) -> None:
        assert isinstance(self.family, Family)
        assert issubclass(self.family.parameters, Table)
        assert self.family.parameters() == self.parameters()
        assert self.family.version >= 1
        assert made_on(self.family.libraries)

    def test_history_needs_at_least_one_row_and_uses_at_least_what_it_needs(self) -> None:
        history = self.fitted_family().model.history
        assert 1 <= history.minimum <= history.wanted

    @pytest.mark.parametrize("targets", [("load",), ("wind", "load")])
    def test_a_fitted_model_forecasts_every_window_step_and_target(self, targets: tuple[str, ...]) -> None:
        fitted = self.fitted_family(targets)
        forecasts = fitted.model.forecast_all(fitted.histories(4)).mean
        assert forecasts.shape == (4, fitted.task.horizon, len(targets))
        assert forecasts.dtype == np.float64
        assert np.isfinite(forecasts).all()

    def test_each_target_is_forecast_in_its_own_column(self) -> None:
        rows = hourly(312, columns=("rises", "falls"))
        rows.values[:, 0] += 5.0 * np.arange(312)
        rows.values[:, 1] -= 5.0 * np.arange(312)
        parameters = self.parameters(**{**self.small, **self.thorough})
        fitted = fit_family(self.family, parameters, rows, ("falls", "rises"), patience=40)
        forecasts = fitted.model.forecast_all(fitted.histories(3)).mean
        falls, rises = np.moveaxis(fitted.task.fitted.scale_targets(forecasts), -1, 0)
        assert (falls < 0.3).all()
        assert (rises > 0.7).all()

    def test_a_batch_is_forecast_as_its_windows_one_by_one(self) -> None:
        fitted = self.fitted_family()
        histories = fitted.histories(6)
        together = fitted.model.forecast_all(histories).mean
        alone = [fitted.model.forecast_all(Histories(histories.context, histories.ends[[i]])).mean for i in range(6)]
        _, width = fitted.task.fitted.target_range
        assert np.abs((together - np.concatenate(alone)) / width).max() <= 1e-6

    def test_a_row_before_the_history_changes_nothing(self) -> None:
        fitted = self.fitted_family()
        histories = fitted.histories(1)
        row = int(histories.ends[0]) - fitted.model.history_rows - 1
        other = Histories(_changed(histories.context, row, 25.0), histories.ends)
        np.testing.assert_array_equal(
            fitted.model.forecast_all(histories).mean, fitted.model.forecast_all(other).mean, strict=True
        )

    def test_the_last_row_matters_exactly_when_the_history_is_used(self) -> None:
        fitted = self.fitted_family()
        histories = fitted.histories(1)
        row = int(histories.ends[0]) - self.watched_row
        other = Histories(_changed(histories.context, row, 5.0), histories.ends)
        forecast, after = fitted.model.forecast_all(histories).mean, fitted.model.forecast_all(other).mean
        assert np.array_equal(forecast, after) is not fitted.model.history.used

    def test_it_sees_nothing_of_the_rows_to_forecast_but_what_is_known_ahead(self) -> None:
        ahead = self.family.parameters.looks_ahead
        rows = hourly(312, columns=COLUMNS)
        rows.values[:, 0] += 3.0 * rows.values[:, 2]  # a column that is worth to know
        known = Known((COLUMNS[2],)) if ahead else Known()
        fitted = fit_family(self.family, self.parameters(**self.small), rows, ("load",), known=known)
        histories, horizon = fitted.histories(1), fitted.task.horizon
        origin, context = int(histories.ends[0]), histories.context
        values = context.values.copy()
        values[origin:] = np.nan
        values[origin : origin + horizon, 2] = context.values[origin : origin + horizon, 2] if ahead else 1e6

        def forecast(values: Values) -> Values:
            changed = Histories(replace(context, values=values), histories.ends)
            return fitted.model.forecast_all(changed).mean

        np.testing.assert_array_equal(forecast(values), forecast(context.values), strict=True)
        low, high = (values.copy() for _ in range(2))
        low[origin : origin + horizon, 2], high[origin : origin + horizon, 2] = context.values[:, 2].min(), 90.0
        assert np.array_equal(forecast(low), forecast(high)) is not ahead

    def test_what_looks_at_the_targets_alone_forecasts_the_same_without_covariates(self) -> None:
        fitted = self.fitted_family()
        histories, predictor = fitted.histories(1), fitted.model.predictor
        rows = histories.context
        values = np.where(np.isin(rows.columns, fitted.task.fitted.targets), rows.values, np.nan)
        without = Histories(Rows(rows.times, values, rows.columns), histories.ends)
        forecast, after = fitted.model.forecast_all(histories).mean, fitted.model.forecast_all(without).mean
        says_so = isinstance(predictor, TargetsAlone) and predictor.targets_alone
        assert np.array_equal(forecast, after) or not says_so

    def test_loading_the_files_again_gives_the_same_predictor(self) -> None:
        fitted = self.fitted_family()
        first, second = (model.forecast_all(fitted.histories()).mean for model in (fitted.model, fitted.load()))
        np.testing.assert_array_equal(first, second, strict=True)

    def test_rows_older_than_its_history_are_ignored(self) -> None:
        fitted = self.fitted_family()
        end, wanted = len(fitted.train), fitted.model.history_rows
        values = fitted.train.values.copy()
        values[end - wanted] = np.nan  # an empty cell, which an older row could fill
        times = fitted.train.times[None]
        extra = fitted.model.forecast(times[:, -wanted - 9 :], values[None, -wanted - 9 :])
        exact = fitted.model.forecast(times[:, -wanted:], values[None, -wanted:])
        np.testing.assert_array_equal(extra.mean, exact.mean, strict=True)
        np.testing.assert_array_equal(extra.spread, exact.spread, strict=True)

    def test_a_history_of_empty_cells_still_has_a_finite_forecast(self) -> None:
        fitted = self.fitted_family()
        wanted = fitted.model.history_rows
        values = np.full((1, wanted, len(fitted.train.columns)), np.nan)
        assert np.isfinite(fitted.model.forecast(fitted.train.times[None, -wanted:], values).mean).all()

    def test_it_learns_from_a_series_with_empty_cells_and_forecasts_from_one(self) -> None:
        train = with_empty_cells(hourly(312, columns=COLUMNS))
        task = task_on(train, TARGETS)
        block, validation = blocks(train, task)
        recipe = Recipe(self.parameters(**self.small), patience=3, seed=42)
        fit = self.family.fit(block, validation, task, recipe, Silent())
        files = fit.files
        if isinstance(self.family, Refits):
            files = self.family.refit(whole_block(train, task), task, recipe, fit.chosen)
        model = Model(self.family.load(files, task), task, self.family.history(task))
        ends = np.arange(len(train) - 20, len(train) + 1)
        answers = [model.forecast(times, values).mean for _, times, values in Histories(train, ends).batches(10**6)]
        name = self.family.name
        assert all(np.isfinite(mean).all() for mean in answers), f"{name} forecasts NaN: targets of a block can be NaN"
        assert json.loads(canonical_json(fit.chosen)) == fit.chosen, f"{name} chose NaN: targets of a block can be NaN"

    def test_its_minimum_of_rows_is_enough_and_with_one_row_less_it_is_not_applicable(self) -> None:
        fitted = self.fitted_family()
        minimum = fitted.model.history.minimum
        enough, short = (Histories(fitted.train, np.array([rows], dtype=np.int64)) for rows in (minimum, minimum - 1))
        assert np.isfinite(fitted.model.forecast_all(enough).mean).all()
        with pytest.raises(NotApplicable):
            fitted.model.forecast_all(short)

    def test_a_fresh_process_with_another_hash_seed_repeats_files_and_forecasts(self) -> None:
        first, second = (self._fingerprint_of_a_fresh_process(seed) for seed in ("1", "2"))
        assert first == second

    def test_this_process_makes_the_forecasts_of_a_fresh_one(self) -> None:
        # numpy may have more threads here, so the last digits may differ
        fresh = self._fingerprint_of_a_fresh_process("1")
        np.testing.assert_allclose(self.fingerprint()["forecasts"], fresh["forecasts"], rtol=1e-6)

    def test_a_fit_and_a_forecast_print_nothing(self) -> None:
        ended = in_a_fresh_process(type(self).__module__, "1")
        assert ended.stderr == ""
        assert len(ended.stdout.splitlines()) == 1, "only the fingerprints"

    def test_no_file_is_a_pickle_or_an_archive_of_pickles(self) -> None:
        for data in self.fitted_family().result.files.values():
            assert not zipfile.is_zipfile(BytesIO(data))
            with pytest.raises(ValueError, match=r"opcode|pickle|read|decode|escape|newline|exhausted"):
                list(pickletools.genops(data))

    def test_what_it_chose_is_plain_json(self) -> None:
        chosen = self.fitted_family().result.fit.chosen
        assert json.loads(canonical_json(chosen)) == chosen

    def test_its_interval_offsets_are_finite_and_grow_with_the_level(self) -> None:
        offsets = self.fitted_family().result.manifest.intervals.offsets
        assert offsets is not None
        stacked = np.array([offsets[level] for level in ("0.5", "0.8", "0.9", "0.95")])
        assert np.isfinite(stacked).all()
        assert (np.diff(stacked, axis=0) >= 0.0).all()
        assert (stacked >= 0.0).all()

    def _fingerprint_of_a_fresh_process(self, hash_seed: str) -> dict[str, Any]:
        by_class: dict[str, Any] = json.loads(in_a_fresh_process(type(self).__module__, hash_seed).stdout)
        fingerprint: dict[str, Any] = by_class[type(self).__qualname__]
        return fingerprint


class ModelConformance(FamilyConformance):
    """The promises of a candidate: those above, and its bundle. Its entry point must be installed."""

    def test_it_is_registered_under_its_name(self) -> None:
        name = self.family.name
        assert name in CANDIDATES, f"no entry point '{name}' of the group flts.models is installed; pip install -e ."
        assert type(CANDIDATES[name]) is type(self.family)
        assert (name in BUILT_IN) is not (name in installed_families())

    def test_its_bundle_is_loaded_and_passes_its_self_test(self) -> None:
        fitted, store = self.fitted_family(), memory_store()
        bundle = load_bundle(store, write_bundle(store, fitted.result.manifest, fitted.result.files))
        bundle.self_test()
        rows = fitted.train[-bundle.manifest.history_rows :]
        served = bundle.forecast(Histories(rows, np.array([len(rows)])))
        np.testing.assert_array_equal(served.mean, fitted.model.forecast(rows.times[None], rows.values[None]).mean)

    def test_the_manifest_names_what_a_request_must_bring(self) -> None:
        fitted = self.fitted_family()
        manifest, history = fitted.result.manifest, fitted.model.history
        assert manifest.min_history_rows == history.minimum
        assert manifest.history_rows == max(history.wanted, fitted.task.input_length)
        assert manifest.uses_history == history.used
        assert manifest.columns == list(fitted.train.columns)
        assert manifest.targets == list(fitted.task.fitted.targets)
        assert manifest.trained_until == fitted.train.times[-1]

    def test_one_damaged_byte_in_any_file_of_its_bundle_is_refused(self) -> None:
        fitted = self.fitted_family()
        for file in (*fitted.result.files, MANIFEST):
            store = memory_store()
            bundle_sha256 = write_bundle(store, fitted.result.manifest, fitted.result.files)
            key = layout.bundle(bundle_sha256, file)
            data = bytearray(store.get(key) or b"")
            data[len(data) // 2] ^= 1
            store.replace(key, bytes(data))
            with pytest.raises(DamagedObject):
                load_bundle(store, bundle_sha256)

    def test_loading_a_bundle_without_its_library_names_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        if not self.family.libraries:
            pytest.skip("needs no library of its own")
        fitted, store = self.fitted_family(), memory_store()
        bundle_sha256 = write_bundle(store, fitted.result.manifest, fitted.result.files)
        for module in [*sys.modules]:
            if module.partition(".")[0] in {*self.family.libraries}:
                monkeypatch.setitem(sys.modules, module, None)
        command = f"flts[{self.family.extra}]" if self.family.extra else "pip install"
        with pytest.raises((MissingExtra, MissingPackage)) as caught:
            load_bundle(store, bundle_sha256)
        assert command in str(caught.value)


def with_empty_cells(rows: Rows) -> Rows:
    """The rows without some of their cells, two rows near the start, and all cells of the last three."""
    values = rows.values.copy()
    values[np.random.default_rng(3).random(values.shape) < 0.05] = np.nan
    values[[100, 101]] = values[-3:] = np.nan
    return replace(rows, values=values)


def _changed(rows: Rows, row: int, by: float) -> Rows:
    """The rows, with `by` added to every value of one row."""
    values = rows.values.copy()
    values[row] += by
    return replace(rows, values=values)


@cache
def in_a_fresh_process(module: str, hash_seed: str) -> subprocess.CompletedProcess[str]:
    """Print the fingerprints of all conformance classes of a test module in another interpreter."""
    code = f"import {__name__} as conformance; conformance.print_fingerprints({module!r})"
    paths_and_seed = {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": hash_seed}
    environment = {**os.environ, **thread_variables(1), **paths_and_seed}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)


def print_fingerprints(module: str) -> None:
    """Print one line of JSON: class name → fingerprint, for each class whose family has its libraries here."""
    members = vars(importlib.import_module(module)).values()
    classes = [kind for kind in members if isinstance(kind, type) and issubclass(kind, FamilyConformance)]
    families = {kind.__qualname__: kind for kind in classes if hasattr(kind, "family")}
    installed = {
        name: kind
        for name, kind in families.items()
        if all(importlib.util.find_spec(library) for library in kind.family.libraries)
    }
    print(json.dumps({name: kind.fingerprint() for name, kind in installed.items()}))
