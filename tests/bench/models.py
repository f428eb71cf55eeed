"""What the families make of tables that are not usual: very wide ones, and rows that are missing."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from flts.contracts.ports import Silent
from flts.contracts.records.data import CALENDAR
from flts.forecasting.histories import Histories
from flts.forecasting.model import Model
from flts.models.base import Block, ForecastTask, Recipe
from flts.models.registry import BASELINES, BUILT_IN
from flts.models.ridge_design import Design, Designed
from flts.preprocess.rows import Rows, Values
from flts.testing import blocks, hourly, task_on
from tests.bench.measure import Figure

HOUR = 3_600 * 10**9
ALPHAS = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)


def wide() -> Iterator[Figure]:
    """Ridge where columns outnumber windows by far."""
    for columns, goal in ((1_000, "2 s, 100 MB"), (10_000, "20 s, 1 GB")):
        rng, narrow = np.random.default_rng(0), hourly(300, columns=("y",))
        values = np.hstack([narrow.values, rng.normal(size=(300, columns - 1))])
        rows = Rows(narrow.times, values, ("y", *(f"x{i}" for i in range(columns - 1))))
        task = task_on(rows, ("y",), input_length=24, horizon=24)
        block, validation = blocks(rows, task)
        ours = _took(lambda: _fit("ridge", block, validation, task))  # noqa: B023 - called in this iteration
        tracemalloc.start()
        _fit("ridge", block, validation, task)
        memory = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        plain = _took(lambda: _scikit_learn(block, task))  # noqa: B023 - called in this iteration
        name = f"ridge of {columns:,} columns × 24 rows, {len(block.origins)} windows, all penalties and designs"
        reference = f"{plain:.1f} s: scikit-learn's Ridge, all penalties, one design"
        yield Figure(name, f"{ours:.1f} s, {memory:.0f} MB", goal, reference, "wide")


def holes() -> Iterator[Figure]:
    """A daily wave with noise, hourly, with and without 12 of 1,500 rows: RMSE on the last fifth."""
    rng, count = np.random.default_rng(0), 1_500
    values = np.sin(2 * np.pi * np.arange(count) / 24)[:, None] + rng.normal(0, 0.05, (count, 1))
    gone = rng.choice(count, 12, replace=False)
    missing = values.copy()
    missing[gone] = np.nan
    joined = np.delete(values, gone, axis=0)
    for name in ("seasonal_naive", "automfles", "ridge", "gru"):
        whole, placed, shifted = (_rmse(name, part) for part in (values, missing, joined))
        reference = f"all rows {whole:.4f}; rows counted without the missing ones {shifted:.4f}"
        what = f"RMSE of {name}, daily wave, 12 of 1,500 rows missing"
        yield Figure(what, f"{placed:.4f}", "that of all rows", reference, "holes")


def calendar() -> Iterator[Figure]:
    """AR(0.8), hourly, 500 rows to learn from: calendar columns are worth nothing, and must not cost much."""
    errors: dict[str, list[float]] = {}
    for seed in range(30):
        noise = np.random.default_rng(seed).normal(size=(625, 1))
        for row in range(1, len(noise)):
            noise[row] += 0.8 * noise[row - 1]
        for name, columns in (("taught", None), ("all", CALENDAR), ("none", ())):
            errors.setdefault(name, []).append(_rmse("ridge", noise, columns) / float(noise.std()))
    mean = {name: f"{np.mean(values):.3f}, at most {np.max(values):.3f}" for name, values in errors.items()}
    reference = f"with all six columns {mean['all']}; with none {mean['none']}"
    yield Figure("RMSE ÷ sd of ridge, AR(0.8), 500 train rows", mean["taught"], "that of none", reference, "calendar")


def _rmse(name: str, values: Values, calendar: Sequence[str] | None = None) -> float:
    """On the last fifth; calendar: columns instead of those that train can teach."""
    rows = Rows(HOUR * np.arange(len(values), dtype=np.int64), values, ("y",))
    train = rows[: len(rows) * 4 // 5]
    task = task_on(train, ("y",), input_length=48, horizon=24)
    if calendar is not None:
        task = replace(task, fitted=replace(task.fitted, calendar=tuple(calendar)))
    family, files = _fit(name, *blocks(train, task), task)
    model = Model(family.load(files, task), task, family.history(task))
    origins = np.arange(len(train), len(rows) - 23, 7)
    errors = model.forecast_all(Histories(rows, origins)).mean[..., 0] - values[origins[:, None] + np.arange(24), 0]
    return float(np.sqrt(np.nanmean(errors**2)))


def _fit(name: str, block: Block, validation: Block, task: ForecastTask) -> tuple[Any, Any]:
    family: Any = {**BUILT_IN, **BASELINES}[name]
    small = {"hidden_size": 32, "num_layers": 1} if name == "gru" else {}
    recipe = Recipe(family.parameters.model_validate(small), patience=3, seed=42)
    return family, family.fit(block, validation, task, recipe, Silent()).files


def _scikit_learn(block: Block, task: ForecastTask) -> None:
    from sklearn.linear_model import Ridge

    windows = Designed(block, Design(covariates=True), task, np.ones(task.targets))
    columns, answers = np.hstack([*windows.parts()]), windows.answers()
    for alpha in ALPHAS:
        Ridge(alpha).fit(columns, answers)


def _took(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
