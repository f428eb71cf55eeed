"""Boosted trees: their columns, the number of trees, and what moves with the level of a history."""

from __future__ import annotations

import builtins
import importlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.support.families import blocks, fitted_family, has_libraries, recipe, task_on, window
from tests.support.raising import raises
from tests.support.series import hourly

from flts.contracts.canonical import sha256
from flts.contracts.errors import DamagedObject, NotApplicable, UsageError
from flts.contracts.ports import Silent
from flts.models import gbm
from flts.models.base import Block, ForecastTask
from flts.models.gbm import Gbm
from flts.models.past import Past
from flts.preprocess.rows import Rows
from flts.preprocess.transform import calendar

pytestmark = pytest.mark.skipif(not has_libraries("gbm"), reason="needs the extra 'gbm'")

TEXT = "trees-1.txt"


def prepared(**preprocess: Any) -> tuple[Rows, ForecastTask, Block, Block]:
    train = hourly(200, columns=("load", "wind", "sun"))
    task = task_on(train, ("wind", "load"), input_length=30, horizon=26, seasons=(12, 24), **preprocess)
    return train, task, *blocks(train, task)


def test_the_columns_are_what_their_names_say() -> None:
    _, task, block, _ = prepared(lags=[40])
    block = replace(block, origins=block.origins[[0, 40]])
    past, last = Past.of_block(block, task), block.features[block.origins - 1]
    future = task.fitted.grid.after(block.times[block.origins - 1], task.horizon)
    rows = gbm._rows(past, last, future, 1, task)
    found = dict(zip(gbm._names(task), rows.columns.reshape(2, task.horizon, -1).transpose(2, 0, 1), strict=True))
    load = block.targets[:, 1]
    for at, origin in enumerate(block.origins):
        recent = load[origin - 30 : origin]
        level, spread = recent[-1], recent.std() + 1e-3
        dated = calendar(future[at], task.fitted)
        for step in range(task.horizon):
            back = {
                f"season_{season}_back_{times}": origin + step - season * (step // season + times)
                for season in (12, 24)
                for times in (1, 2)
            }
            expected = {
                "step": step,
                **{name: (load[row] - level) / spread for name, row in back.items()},
                **{f"phase_of_{s}": task.fitted.grid.positions(future[at, [step]])[0] % s for s in (12, 24)},
                **dict(zip(task.fitted.calendar, dated[step], strict=True)),
                **{f"row_{row}": (load[origin + row] - level) / spread for row in (*range(-24, 0), -41)},
                "spread": spread,
                "mean_of_window": (recent.mean() - level) / spread,
                "mean_of_12": (recent[-12:].mean() - level) / spread,
                "column_0": block.features[origin - 1, 1],
                "column_1": block.features[origin - 1, 2],
            }
            assert found.keys() == expected.keys()
            np.testing.assert_allclose([found[name][at, step] for name in expected], [*expected.values()], atol=1e-9)


def test_rows_before_the_first_one_and_empty_cells_are_unknown_to_the_trees() -> None:
    _, task, block, _ = prepared()
    block.targets[block.origins[0] - 2] = np.nan
    past = Past.of_block(replace(block, origins=block.origins[:1]), task).values
    assert past.shape == (1, 48, 2)
    assert np.flatnonzero(np.isnan(past[0, :, 0])).tolist() == [*range(48 - 30), 46]


def test_a_level_that_train_has_not_seen_moves_the_forecast_by_as_much() -> None:
    fitted = fitted_family("gbm", ("load",))
    history = fitted.train[-60:]
    window_of = [window(replace(history, values=history.values + shift), fitted.task) for shift in (0.0, 1024.0)]
    # the other columns keep their features
    window_of[1].__dict__["features"] = window_of[0].features
    low, high = (fitted.task.fitted.unscale_targets(fitted.model.predictor.predict(w)) for w in window_of)
    np.testing.assert_allclose(high - low, 1024.0, rtol=1e-6)


def test_the_validation_windows_choose_the_trees_and_all_of_train_fits_as_many() -> None:
    _, task, block, validation = prepared()
    fit = Gbm().fit(block, validation, task, recipe("gbm"), Silent())
    refitted = Gbm().refit(validation, task, recipe("gbm"), fit.chosen)
    for files in (fit.files, refitted):
        assert [files[f"trees-{i}.txt"].count(b"\nTree=") for i in (1, 2)] == fit.chosen["trees"]
    assert all(0 < count < 500 for count in fit.chosen["trees"])
    assert fit.files != refitted


def test_a_seed_of_any_size_decides_the_draws() -> None:
    _, task, block, validation = prepared()
    texts = [
        Gbm().fit(block, validation, task, recipe("gbm", seed=seed, rounds=3), Silent()).files[TEXT]
        for seed in (1, 1, 2, 2**63)
    ]
    assert texts[0] == texts[1]
    assert len({*texts}) == 3


def test_a_long_train_is_thinned_evenly_and_keeps_its_newest_window(monkeypatch: pytest.MonkeyPatch) -> None:
    _, task, block, _ = prepared()
    monkeypatch.setattr(gbm, "MOST_ROWS", 10 * task.horizon)
    seen = []

    def remembered(block: Block, task: ForecastTask) -> Past:
        seen.append(block.origins)
        return Past(np.zeros((len(block.origins), 48, 2)), 30, 12, np.zeros(2))

    monkeypatch.setattr(Past, "of_block", remembered)
    next(gbm._datasets(block, task))
    assert 8 <= len(seen[0]) <= 10
    assert seen[0][-1] == block.origins[-1]
    assert len({*np.diff(seen[0]).tolist()}) == 1


def test_a_target_that_the_validation_windows_do_not_hold_is_not_applicable() -> None:
    _, task, block, validation = prepared()
    targets = validation.targets.copy()
    targets[validation.origins[0] :, 0] = np.nan
    with raises(NotApplicable, code="nothing-measured"):
        Gbm().fit(block, replace(validation, targets=targets), task, recipe("gbm"), Silent())


def test_constant_rows_are_continued_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    train, task, block, validation = prepared()
    flat = [replace(b, targets=np.full_like(b.targets, 0.25)) for b in (block, validation)]
    files = Gbm().fit(flat[0], flat[1], task, recipe("gbm"), Silent()).files
    predictor = Gbm().load(files, task)
    history = replace(train, values=np.full_like(train.values, 50.0))[-60:]
    expected = task.fitted.scale_targets(np.array([50.0, 50.0]))
    np.testing.assert_allclose(predictor.predict(window(history, task))[0], np.tile(expected, (26, 1)), atol=1e-6)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("found", "written"),
    [
        ("version=v4", "version=v3"),
        ("objective=regression", "objective=binary"),
        ("max_feature_idx=", "max_feature_idx=1"),
        ("tree_sizes=", "tree_sizes=1 "),
        ("Tree=1\n", "Tree=7\n"),
        ("num_cat=0", "num_cat=5"),
        ("is_linear=0", "is_linear=1"),
        ("num_leaves=", "num_leaves=9"),
        ("leaf_value=", "leaf_value=1 "),
        ("threshold=", "threshold=1 "),
        ("decision_type=2", "decision_type=3"),
        ("right_child=", "right_child=1_0 "),
        ("num_class=1", "num_class=1\nnum_class=9"),
        ("end of trees", "end of threes"),
    ],
)
def test_a_text_that_no_fit_writes_is_refused_before_its_library_reads_it(found: str, written: str) -> None:
    fitted = fitted_family("gbm", ("load",))
    text = fitted.result.files[TEXT].decode()
    assert found in text
    with raises(DamagedObject, code="options-unusual"):
        Gbm().load({TEXT: sized(text.replace(found, written, 1)).encode()}, fitted.task)


@pytest.mark.parametrize(
    ("field", "value"), [("left_child", 0), ("left_child", 900), ("right_child", -900), ("split_feature", 99)]
)
def test_a_tree_that_points_back_or_elsewhere_is_refused(field: str, value: int) -> None:
    fitted = fitted_family("gbm", ("load",))
    head, mark, rest = fitted.result.files[TEXT].decode().partition(f"\n{field}=")
    _, _, others = rest.partition(" ")
    with raises(DamagedObject, code="options-unusual"):
        Gbm().load({TEXT: sized(f"{head}{mark}{value} {others}").encode()}, fitted.task)


def sized(text: str) -> str:
    """The text with the sizes of its trees put right, where it says them."""
    head, mark, rest = text.partition("\ntree_sizes=")
    line, _, trees = rest.partition("\n")
    sizes = [len(f"Tree={tree}") for tree in trees.partition("end of trees")[0].split("Tree=")[1:]]
    right = line if line.startswith("1 ") else " ".join(map(str, sizes))
    return f"{head}{mark}{right}\n{trees}"


def test_a_system_without_libgomp_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str, *arguments: Any) -> Any:
        if name == "lightgbm":
            raise OSError("libgomp.so.1: cannot open shared object file")
        return importlib.__import__(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", absent)
    with raises(UsageError, code="system-library") as caught:
        gbm._library()
    assert "apt-get install libgomp1" in str(caught.value)


@pytest.mark.long
def test_five_processes_with_other_settings_of_openmp_fit_the_same_trees() -> None:
    code = "import tests.unit.models.test_gbm as t; t.digest()"
    settings: list[dict[str, str]] = [
        {"OMP_NUM_THREADS": "1"},
        {"OMP_NUM_THREADS": "4"},
        {"OMP_NUM_THREADS": "2", "OMP_DYNAMIC": "true"},
        {"OMP_NUM_THREADS": "3", "OMP_SCHEDULE": "dynamic,1"},
        {"OMP_THREAD_LIMIT": "2", "OMP_PROC_BIND": "true"},
    ]
    found = [
        subprocess.check_output([sys.executable, "-c", code], env=os.environ | chosen, text=True) for chosen in settings
    ]
    assert len({*found}) == 1


def digest() -> None:
    """Print the digests of a fit."""
    _, task, block, validation = prepared()
    files = Gbm().fit(block, validation, task, recipe("gbm"), Silent()).files
    print(json.dumps({name: sha256(data) for name, data in files.items()}))
