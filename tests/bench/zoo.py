"""The promoted model of a default run beside other libraries on ten public tasks: `make bench-peers`.

Settings of the peers, written down before their first run:

- All see the target alone, with empty cells carried forward, and learn once, from train. They forecast the same
  origins as FLTS from all rows before each. Seeds are 1; every library gets one thread.
- ETS, Theta and ARIMA are those of statsforecast, chosen automatically with the shortest season; ARIMA with
  approximation and orders of at most 3, 2, 1 and 1, because its defaults take minutes a fit. Their median is a peer.
- LightGBM by mlforecast, recursively, with the lags 1 to 24 and one and two of each season and with mlforecast's date
  features, on levels, on differences and on differences of the shortest season; 500 trees, learning rate 0.05.
- NHITS of neuralforecast: the window of the task, 1,000 steps of 256 windows instead of its 1,024, which take minutes
  of CPU a task, its robust scaler.
- Ridge from the last 336 rows to all steps, its penalty by scikit-learn's leave-one-out, on values less the last one.
- AutoGluon-TimeSeries with the settings in `gluon.py`, on at most 20 of the origins: it is printed beside, outside the
  bar, where `make .venv-autogluon/made` installed it.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import math
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flts.backends.store import memory_store
from flts.preprocess.rows import Values
from flts.preprocess.source import RawFile, RawInput
from flts.runner.claim import prepare
from flts.spec.sources import validate
from flts.train.experiment import Experiment
from tests.bench.accuracy import JFK, decide
from tests.bench.coverage import BENCH, NEW_YORK, SERIES
from tests.bench.measure import Figure, cpu
from tests.support import ROOT

TASKS = (*SERIES, ("a10", "value", 24, 12), ("jfk-departures", "departures", 168, 24))
ORIGINS = 100
"""Test origins of a task at most, equally far apart."""
FAR, SEED, TREES, STEPS, BATCH = 336, 1, 500, 1_000, 256
BEST, EACH, WORST, WORST_OF = 1.00, 0.97, 1.10, {"a10": 1.20}
"""Bars on FLTS's error divided by a peer's: the geometric mean over the tasks beside the best peer of each, beside one
peer, and a single task beside its best peer. a10 has few windows."""
COVERED, SECONDS = 4.0, 60.0
"""Bars on the mean distance of the 80 % intervals from it, in points and without a10, and on the CPU of the run on
bikes."""
BESIDE = 20
AUTOGLUON = ROOT / ".venv-autogluon" / "bin" / "python"
Peer = Callable[["Task"], Values]


@dataclass(frozen=True, eq=False)
class Task:
    """A task as the peers see it.

    series [rows]: train, then test; origins: the first row that each window forecasts; truth [origins, horizon]; width:
    range of the target over train.
    """

    name: str
    series: Values
    times: pd.DatetimeIndex
    train: int
    origins: Sequence[int]
    step: int
    horizon: int
    window: int
    seasons: Sequence[int]
    truth: Values
    width: float

    @classmethod
    def of(cls, name: str, experiment: Experiment, step: int) -> Task:
        dataset, task = experiment.dataset, experiment.task
        rows = dataset.train.then(dataset.test)
        return cls(
            name,
            task.fitted.clean(rows.values)[:, task.fitted.target_index[0]],
            pd.DatetimeIndex(rows.times),
            len(dataset.train),
            (experiment.windows.indices + len(dataset.train)).tolist(),
            step,
            task.horizon,
            task.input_length,
            task.seasons,
            experiment.windows.truth(dataset, task.horizon).values[..., 0],
            float(task.fitted.target_range[1][0]),
        )

    @property
    def season(self) -> int:
        """The shortest, 1 where there is none."""
        return min(self.seasons, default=1)

    def rmse(self, forecasts: Values) -> float:
        """On the target scaled by its range over train, as on the scoreboard."""
        return float(np.sqrt(np.nanmean((forecasts - self.truth) ** 2)) / self.width)

    def frame(self) -> pd.DataFrame:
        """All rows in the form of Nixtla's libraries."""
        return pd.DataFrame({"unique_id": "y", "ds": self.times, "y": self.series})

    def cross_validated(self, forecaster: Any, column: str) -> Values:
        """Forecasts [origins, horizon] of one of these libraries, fitted once before the first origin."""
        last = self.origins[-1] + self.horizon  # later rows of the file belong to no window
        count = (self.origins[-1] - self.origins[0]) // self.step + 1
        frame = self.frame()[:last]
        known = {"df": frame, "h": self.horizon, "n_windows": count, "step_size": self.step, "refit": False}
        found = forecaster.cross_validation(**known)[column].to_numpy().reshape(count, self.horizon)
        return np.asarray(found, dtype=np.float64)[[(at - self.origins[0]) // self.step for at in self.origins]]


@functools.cache
def statistical(name: str, task: Task) -> Values:
    """ETS, Theta or ARIMA; kept for their median."""
    from statsforecast import StatsForecast, models

    few: dict[str, Any] = {"approximation": True, "max_p": 3, "max_q": 2, "max_P": 1, "max_Q": 1}
    options: dict[str, Any] = {"season_length": task.season, "alias": name, **(few if name == "ARIMA" else {})}
    made = getattr(models, f"Auto{name}")(**options)
    return task.cross_validated(StatsForecast([made], freq=_frequency(task)), name)


def median(task: Task) -> Values:
    """The median of the three."""
    three = [statistical(name, task) for name in ("ETS", "Theta", "ARIMA")]
    return np.asarray(np.median(three, axis=0))


def boosted(differences: str, task: Task) -> Values:
    """LightGBM by mlforecast on levels, first or seasonal differences."""
    from lightgbm import LGBMRegressor
    from mlforecast import MLForecast
    from mlforecast.target_transforms import Differences

    options: dict[str, Any] = {
        "n_estimators": TREES,
        "learning_rate": 0.05,
        "random_state": SEED,
        "n_jobs": 1,
        "verbosity": -1,
    }
    by: list[int] = {"levels": [], "first": [1], "seasonal": [task.season]}[differences]
    lags = {*range(1, 25), *(back * season for season in task.seasons for back in (1, 2) if back * season < 1_500)}
    forecaster = MLForecast(
        {"lgbm": LGBMRegressor(**options)},
        freq=_frequency(task),
        lags=sorted(lags),
        date_features=["hour", "dayofweek", "month"],
        target_transforms=[Differences(by)] if by else None,
    )
    return task.cross_validated(forecaster, "lgbm")


def nhits(task: Task) -> Values:
    """NHITS of neuralforecast."""
    from neuralforecast import NeuralForecast, models

    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    options = {
        "max_steps": STEPS,
        "windows_batch_size": BATCH,
        "scaler_type": "robust",
        "random_seed": SEED,
        "enable_checkpointing": False,
    }
    model = models.NHITS(h=task.horizon, input_size=task.window, **options, **quiet)
    return task.cross_validated(NeuralForecast([model], freq=_frequency(task)), "NHITS")


def far_ridge(task: Task) -> Values:
    """Ridge from the last 336 rows, or a third of train, less the last one."""
    from sklearn.linear_model import RidgeCV

    rows = min(FAR, task.train // 3)
    at = np.arange(rows, task.train - task.horizon + 1)

    def before(origins: Any) -> tuple[Values, Values]:
        past = task.series[np.asarray(origins)[:, None] + np.arange(-rows, 0)]
        return past - past[:, -1:], past[:, -1:]

    columns, level = before(at)
    answers = task.series[at[:, None] + np.arange(task.horizon)] - level
    ridge = RidgeCV(alphas=np.logspace(-3, 5, 9)).fit(columns / task.width, answers / task.width)
    columns, level = before(task.origins)
    return np.asarray(ridge.predict(columns / task.width).reshape(len(columns), -1) * task.width + level)


PEERS: Mapping[str, tuple[str, Peer]] = {
    "ETS": ("statsforecast", functools.partial(statistical, "ETS")),
    "Theta": ("statsforecast", functools.partial(statistical, "Theta")),
    "ARIMA": ("statsforecast", functools.partial(statistical, "ARIMA")),
    "median of the three": ("statsforecast", median),
    "LightGBM, levels": ("mlforecast", functools.partial(boosted, "levels")),
    "LightGBM, differences": ("mlforecast", functools.partial(boosted, "first")),
    "LightGBM, seasonal differences": ("mlforecast", functools.partial(boosted, "seasonal")),
    "NHITS": ("neuralforecast", nhits),
    "ridge of 336 rows": ("sklearn", far_ridge),
}
"""Each peer with the library that it needs."""


@dataclass(frozen=True)
class Ours:
    """The promoted model, its RMSE on the scaled target, the share that its 80 % intervals cover, and the run's CPU."""

    model: str
    rmse: float
    covered: float
    seconds: float


def zoo(only: Sequence[str] = ()) -> Iterator[Figure]:
    """One line for each task, one for each peer, and the bars. only: names of files; without one, all."""
    ratios: dict[str, dict[str, float]] = {}
    runs: dict[str, Ours] = {}
    for name, target, rows, horizon in TASKS:
        folder = JFK if name == "jfk-departures" else BENCH
        if not folder.is_dir() or (only and name not in only):
            continue
        key = f"{name} {target}"
        ours, task = _ours(name, target, rows, horizon, folder)
        runs[key], ratios[key], said = ours, {}, []
        for peer, (library, of) in PEERS.items():
            if importlib.util.find_spec(library):
                before = cpu()
                error = task.rmse(of(task))
                ratios[key][peer] = ours.rmse / error
                said.append(f"{peer} {error:.4f} in {cpu() - before:.1f} s")
        if AUTOGLUON.exists():
            said.append(f"AutoGluon {_autogluon(task):.4f}")
        most, bar = max(ratios[key].values()), WORST_OF.get(name, WORST)
        yield Figure(
            f"{key}, {len(task.origins)} windows, {ours.model}",
            f"RMSE {ours.rmse:.4f} in {ours.seconds:.0f} s of CPU, {most:.3f} of the best peer's: {_met(most, bar)};"
            f" 80 % intervals cover {ours.covered:.1%}",
            f"{bar:.2f}",
            ", ".join(said),
            "zoo",
        )
    yield from _means(ratios)
    yield from _bars(runs)


def _means(ratios: Mapping[str, Mapping[str, float]]) -> Iterator[Figure]:
    for peer in PEERS:
        found = [by_peer[peer] for by_peer in ratios.values() if peer in by_peer]
        if found:
            mean = _geometric(found)
            yield Figure(
                f"FLTS ÷ {peer}, geometric mean",
                f"{mean:.3f}: {_met(mean, EACH)}",
                f"{EACH:.2f}",
                f"{len(found)} tasks",
                "zoo",
            )
        else:
            yield Figure(f"FLTS ÷ {peer}", "not measured", f"{EACH:.2f}", f"needs {PEERS[peer][0]}", "zoo")
    if ratios:
        mean = _geometric([max(by_peer.values()) for by_peer in ratios.values()])
        said = f"{mean:.3f}: {_met(mean, BEST)}"
        yield Figure("FLTS ÷ the best peer, geometric mean", said, f"{BEST:.2f}", f"{len(ratios)} tasks", "zoo")


def _bars(runs: Mapping[str, Ours]) -> Iterator[Figure]:
    points = [100.0 * abs(run.covered - 0.8) for key, run in runs.items() if not key.startswith("a10 ")]
    if points:
        mean = float(np.mean(points))
        said = f"{mean:.1f} points: {_met(mean, COVERED)}"
        yield Figure("80 % intervals, mean distance without a10", said, f"{COVERED:.0f}", f"{len(points)} tasks", "zoo")
    for key, run in runs.items():
        if key.startswith("bikes "):
            said = f"{run.seconds:.0f} s of CPU: {_met(run.seconds, SECONDS)}"
            yield Figure(f"default run, {key}", said, f"{SECONDS:.0f} s", "all default models", "zoo")


def _ours(name: str, target: str, rows: int, horizon: int, folder: Path) -> tuple[Ours, Task]:
    """The promoted model of a default run, and the same task for the peers."""
    zone = NEW_YORK if folder == JFK else "UTC"
    spec = {
        "dataset": {"name": name, "targets": [target], "timezone": zone, "source": str(folder)},
        "task": {"input_length": rows, "horizon": horizon},
    }
    files = RawInput(*(RawFile(f"{name}{part}.csv", folder / f"{name}{part}.csv") for part in ("", "_test")))
    every = prepare(memory_store(), validate({**spec, "evaluate": {"windows": 0}}), files)[1].windows.indices
    step = max(1, len(every) // ORIGINS)
    chosen = {"evaluate": {"windows": ORIGINS, "step": step}}
    experiment = prepare(memory_store(), validate({**spec, **chosen}), files)[1]
    before = cpu()
    decision = decide(
        *("--source", str(folder), "--set", f"dataset.name={name}", "--set", f'dataset.targets=["{target}"]'),
        *(
            "--set",
            f"dataset.timezone={zone}",
            "--set",
            f"task.input_length={rows}",
            "--set",
            f"task.horizon={horizon}",
        ),
        *("--set", f"evaluate.windows={ORIGINS}", "--set", f"evaluate.step={step}"),
    )
    seconds = cpu() - before
    winner = next(row for row in decision["candidates"] if row["model"] == decision["winner"])
    covered = winner["coverage"]["0.8"]["coverage"]
    return Ours(winner["model"], winner["rmse"], covered, seconds), Task.of(name, experiment, step)


def _autogluon(task: Task) -> float:
    """RMSE on some of the origins; the library runs in an environment of its own."""
    chosen = np.linspace(0, len(task.origins) - 1, min(BESIDE, len(task.origins))).round().astype(int)
    asked = {
        "times": task.times.strftime("%Y-%m-%dT%H:%M:%S").tolist(),
        "series": task.series.tolist(),
        "train": task.train,
        "origins": [task.origins[i] for i in chosen.tolist()],
        "horizon": task.horizon,
        "frequency": _frequency(task),
        "seed": SEED,
    }
    command = [AUTOGLUON, ROOT / "tests/bench/gluon.py"]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=True)
    errors = np.asarray(json.loads(done.stdout.splitlines()[-1])) - task.truth[chosen]
    return float(np.sqrt(np.nanmean(np.square(errors))) / task.width)


def _frequency(task: Task) -> str:
    found = pd.infer_freq(task.times[:48])
    assert found is not None
    return str(found)


def _met(found: float, bar: float) -> str:
    return "met" if found <= bar else "NOT MET"


def _geometric(values: Sequence[float]) -> float:
    return math.exp(float(np.mean(np.log(values))))
