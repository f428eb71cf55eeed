"""How far intervals are from their nominal level on public series, and what an adaptive answer costs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from flts.backends.store import memory_store
from flts.contracts.ports import Silent, Store
from flts.forecasting.answers import StoredIntervals
from flts.forecasting.bundle import Bundle, assemble, read_bundle, read_scores
from flts.forecasting.model import Model
from flts.models.base import Family, Recipe
from flts.models.registry import BASELINES, CANDIDATES
from flts.preprocess.rows import Rows
from flts.preprocess.source import RawFile, RawInput
from flts.preprocess.stage import load_dataset, preprocess
from flts.promotion.ensemble import make_ensemble
from flts.promotion.judge import Waiting, gather_trained, yardstick
from flts.runner.claim import prepare
from flts.serve.answer import answer
from flts.spec.fields import Spec
from flts.spec.models import ENSEMBLE
from flts.spec.sources import validate
from flts.testing.series import table
from flts.train.experiment import Experiment
from flts.train.fitting import fit_model
from flts.train.stage import Trained, bundle_forecasts, model_spec, task_of, train
from tests.bench.accuracy import JFK, decide
from tests.bench.measure import LTE, Figure

BENCH = LTE.parent / "bench"
SERIES = (
    ("bikes", "users", 96, 24),
    ("bicimad", "users", 28, 7),
    ("wikipedia", "y", 28, 14),
    ("valencia", "no2", 96, 24),
    ("elecdemand", "Demand", 96, 48),
    ("etth1", "HUFL", 96, 24),
    ("etth1", "OT", 96, 24),
    ("gasoline", "value", 52, 8),
)
NEW_YORK = "America/New_York"
ONLY_RIDGE = ("--set", "models={ridge={}}")
NEWEST_TRAIN, WINDOWS = 2000, 200
"""Train rows and test windows of each series at most, so that all families are measured within ten minutes of CPU."""


def intervals() -> Iterator[Figure]:
    """Coverage of the 80 % interval of ridge on the public series, of adaptive and of static intervals."""
    distances: dict[str, list[float]] = {"served": [], "static": []}
    for name, target, rows, horizon in SERIES if BENCH.is_dir() else ():
        row = _ridge(
            *("--source", str(BENCH), "--set", f"dataset.name={name}", "--set", f'dataset.targets=["{target}"]'),
            *("--set", f"task.input_length={rows}", "--set", f"task.horizon={horizon}"),
        )
        yield _figure(f"{name} {target}", row, distances)
    row = _ridge(
        *("--source", str(JFK), "--set", "dataset.name=jfk-departures", "--set", 'dataset.targets=["departures"]'),
        *("--set", f"dataset.timezone={NEW_YORK}", "--set", "task.input_length=168", "--set", "task.horizon=24"),
    )
    yield _figure("jfk-departures", row, distances, "72 to 88 % per step")
    yield Figure(
        f"80 % interval, mean distance from nominal over {len(distances['served'])} series (ridge)",
        f"{fmean(distances['served']):.1f} points",
        "4 points",
        f"static intervals alone: {fmean(distances['static']):.1f} points",
        "intervals",
    )
    if LTE.is_dir():
        row = _ridge("--source", str(LTE), "--set", "dataset.name=PobleSec", "--set", 'dataset.targets=["down"]')
        yield _figure("PobleSec", row, {"served": [], "static": []}, "80 % ± 3 points")


def families(only: Sequence[str] = ()) -> Iterator[Figure]:
    """Coverage of the 80 % interval of every default family, of their ensemble, and of naive by the same rule.

    only: names of series; without one, all.
    """
    every = [("jfk-departures", "departures", 168, 24, JFK), *((*row, BENCH) for row in SERIES if BENCH.is_dir())]
    stored = {f"{row[0]} {row[1]}": _experiment(*row) for row in every if not only or row[0] in only}
    for family in ("naive", *Spec().trained, ENSEMBLE):
        start = time.process_time()
        found = {name: _covered(family, *of) for name, of in stored.items()}
        spent = time.process_time() - start
        served, static = (fmean(100.0 * abs(kinds[i] - 0.8) for kinds in found.values()) for i in (0, 1))
        yield Figure(
            f"80 % interval of {family}, {NEWEST_TRAIN:,} train rows, {WINDOWS} windows, mean distance from nominal",
            f"{served:.1f} points: " + ", ".join(f"{name} {of[0]:.1%}" for name, of in found.items()),
            "4 points on average",
            f"static intervals alone {static:.1f} points; {spent:.0f} s of CPU",
            "coverage",
        )


def _experiment(name: str, target: str, rows: int, horizon: int, folder: Path) -> tuple[Experiment, Store]:
    """An experiment with the default models and their ensemble, and the store of its rows."""
    spec = validate(
        {
            "models": {model: {} for model in (*Spec().trained, ENSEMBLE)},
            "dataset": {"name": name, "targets": [target], "timezone": NEW_YORK if folder == JFK else "UTC"},
            "task": {"input_length": rows, "horizon": horizon},
            "sample": {"train_rows": NEWEST_TRAIN, "strategy": "tail"},
            "evaluate": {"windows": WINDOWS},
        }
    )
    files = RawInput(*(RawFile(f"{name}{part}.csv", folder / f"{name}{part}.csv") for part in ("", "_test")))
    store = memory_store()
    return prepare(store, spec, files)[1], store


def _covered(name: str, experiment: Experiment, store: Store) -> tuple[float, float]:
    """Coverage of the intervals as served, and of the static offsets alone; the ensemble after its members."""
    if name in BASELINES:
        found = _of_baseline(BASELINES[name], experiment)
    else:
        trained = _trained(name, experiment, store)
        values = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)
        found = StoredIntervals.of(values, read_bundle(store, trained.bundle_sha256)[0])
    truth = experiment.windows.truth(experiment.dataset, experiment.task.horizon).values
    known = ~np.isnan(truth)
    served, static = (
        float(((lower <= truth) & (truth <= upper)).sum() / known.sum())
        for lower, upper in (found.by_level["0.8"], found.static["0.8"])
    )
    return served, static


def _trained(name: str, experiment: Experiment, store: Store) -> Trained:
    if name != ENSEMBLE:
        model = model_spec(experiment.spec, experiment.identity, name)
        return train(experiment.dataset, model, experiment.windows, store)
    members = gather_trained(store, experiment, None)
    assert not isinstance(members, Waiting)
    scale = yardstick(experiment.dataset, experiment.task)
    return make_ensemble(store, experiment, members, scale, recompute=False)


def _of_baseline(family: Family[Any], experiment: Experiment) -> StoredIntervals:
    spec, task, dataset = experiment.spec, experiment.task, experiment.dataset
    recipe = Recipe(family.parameters(), spec.train.patience, spec.run.seed)
    made = fit_model(family, dataset.train, task, recipe, spec.train.validation_fraction, Silent())
    files = dict(made.files)
    kept = files.pop(made.manifest.intervals.scores or "", None)
    model = Model(family.load(files, task), task, family.history(task), made.manifest.intervals.scale)
    bundle = Bundle("a digest", made.manifest, model, None if kept is None else read_scores(kept))
    columns = bundle_forecasts(bundle, dataset, experiment.windows).columns()
    return StoredIntervals.of({column: np.asarray(values) for column, values in columns.items()}, made.manifest)


def answers() -> Iterator[Figure]:
    """CPU of one answer from the rows that the model uses, and from a long history."""
    spec = validate(
        {
            "dataset": {"name": "jfk-departures", "targets": ["departures"], "timezone": NEW_YORK},
            "task": {"input_length": 168, "horizon": 24},
            "models": {"ridge": {}, "gru": {"epochs": 1}, "prophet": {}},
        }
    )
    files = [RawFile(f"jfk-departures{part}.csv", JFK / f"jfk-departures{part}.csv") for part in ("", "_test")]
    store = memory_store()
    done = preprocess(spec, RawInput(*files), store, version=1)
    dataset = load_dataset(store, done.data_hash, ("departures",))
    task, rows = task_of(dataset, spec.task), dataset.train.then(dataset.test)
    for name, parameters in spec.expected.items():
        made = fit_model(CANDIDATES[name], dataset.train, task, Recipe(parameters, 3, 42), 0.1, Silent())
        bundle = assemble("a digest", made.manifest, made.files)
        used, whole = (_cpu(bundle, rows[-count:]) for count in (made.manifest.history_rows, bundle.rows_used))
        yield Figure(
            f"one answer of {name}, 24 steps, adaptive",
            f"{whole:.1f} ms of CPU, {bundle.rows_used} rows",
            "shown",
            f"static, {made.manifest.history_rows} rows: {used:.1f} ms",
            "answers",
        )


def _cpu(bundle: Bundle, rows: Rows) -> float:
    """Median milliseconds of CPU of one answer."""
    history, spent = table(rows), []
    for _ in range(15):
        start = time.process_time()
        answer(bundle, history)
        spent.append(1000.0 * (time.process_time() - start))
    return median(spent)


def _ridge(*arguments: str) -> dict[str, Any]:
    (row,) = decide(*arguments, *ONLY_RIDGE)["candidates"]
    found: dict[str, Any] = row
    return found


def _figure(
    name: str, row: dict[str, Any], distances: dict[str, list[float]], goal: str = "4 points on average"
) -> Figure:
    measured, static = row["coverage"]["0.8"], row["static_coverage"]["0.8"]
    distances["served"].append(100.0 * abs(measured["coverage"] - 0.8))
    distances["static"].append(100.0 * abs(static - 0.8))
    steps = [step["coverage"] for step in measured["step"]]
    return Figure(
        f"80 % interval, {name} (ridge)",
        f"coverage {measured['coverage']:.1%}, per step {min(steps):.1%} to {max(steps):.1%},"
        f" mean width {measured['width']:.4f}; {row['adaptive']} windows adaptive",
        goal,
        f"static intervals alone {static:.1%}",
        "intervals",
    )
