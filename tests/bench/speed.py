"""Time of the main job, from a cold start to a promoted model with its tracked runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from flts.models.base import Block, ForecastTask, Recipe
from flts.models.recurrent import GRU
from flts.spec.models import GruParameters
from flts.spec.sources import validate
from flts.train.fitting import whole_block
from flts.train.windows import split_validation
from tests.bench.measure import FLTS, LTE, Figure, best_of, cold, seconds, warm
from tests.bench.plain import recurrent
from tests.support import ROOT
from tests.support.experiments import lte_experiment

SEED = ["run", str(ROOT / "examples/lte/flts.toml"), "--source", str(LTE)]
FULL = ["run", "--source", str(LTE), "--set", "dataset.name=PobleSec", "--set", 'dataset.targets=["down"]']


def start() -> Iterator[Figure]:
    """Start-up time."""
    plain = best_of(5, lambda: seconds([sys.executable, "-c", "pass"], ROOT))
    for name, command, goal in (
        ("import flts", [sys.executable, "-c", "import flts"], 150),
        ("flts --help", [*FLTS, "--help"], 300),
    ):
        took = best_of(5, lambda command=command: seconds(command, ROOT))  # type: ignore[misc]  # called in this iteration
        reference = f"{took / plain:.1f} × {plain * 1000:.0f} ms: Python itself"
        yield Figure(name, f"{took * 1000:.0f} ms", f"{goal} ms", reference, "start")


def seed_run() -> Iterator[Figure]:
    """The first system's run on 50 rows."""
    command = [sys.executable, "-m", "tests.bench.plain", str(LTE)]
    plain = best_of(3, lambda: seconds(command, ROOT))
    reference = f"{plain:.1f} s: one plain script, GRU, LSTM and Prophet one after the other, nothing stored"
    five = ["--models", "gru,lstm,prophet,automfles,ridge"]
    for name, took, goal in (
        ("seed's run, cold, GRU + LSTM + Prophet", cold(SEED), "8 s"),
        ("seed's run, cold, with AutoMFLES and ridge", cold([*SEED, *five]), "15 s"),
        ("seed's run again, all results stored", warm(SEED), "1.5 s"),
    ):
        yield Figure(name, f"{took:.1f} s", goal, f"{took / plain:.2f} × {reference}", "seed_run")


def full_run() -> Iterator[Figure]:
    """All of PobleSec with the defaults."""
    x, y = windows()
    plain = sum(in_one_thread("GRU", x, y, epochs=3, evaluations=0)) / 3 * 10
    reference = f"{plain:.1f} s: ten plain training passes of the GRU alone"
    four = ["--models", "gru,lstm,prophet,ridge"]
    for name, took, goal in (
        ("PobleSec, 500 windows, GRU + LSTM + Prophet + ridge", cold([*FULL, *four]), "45 s"),
        ("the same with AutoMFLES", cold(FULL), "80 s"),
    ):
        yield Figure(name, f"{took:.1f} s", goal, f"{took / plain:.2f} × {reference}", "full_run")


def gru_epoch() -> Iterator[Figure]:
    """One epoch of the GRU on all of PobleSec, one thread, against the first system's loop and a training pass."""
    x, y = windows()
    rounds = [(ours(), *(min(in_one_thread("GRU", x, y, 2, n)) for n in (2, 0))) for _ in range(3)]
    ours_best, loop, training = (min(column) for column in zip(*rounds, strict=True))
    yield Figure(
        "GRU epoch, PobleSec, one thread",
        f"{ours_best:.2f} s",
        "0.75 × the first system's loop",
        f"{ours_best / loop:.2f} × {loop:.2f} s: DataLoader, a training and two evaluation passes;"
        f" {ours_best / training:.2f} × {training:.2f} s: a training pass alone",
        "gru_epoch",
    )


def windows() -> tuple[
    np.ndarray[tuple[int, ...], np.dtype[np.float32]], np.ndarray[tuple[int, ...], np.dtype[np.float32]]
]:
    """The training windows of PobleSec: features [windows, 10, 17], answers [windows, 1]."""
    block, _, task = _poblesec()
    x, y = block.windows(task)
    return x, y.reshape(len(y), -1).astype(np.float32)


def in_one_thread(cell: str, x: object, y: object, epochs: int, evaluations: int) -> list[float]:
    """The plain loop."""
    import torch

    torch.set_num_threads(1)
    return recurrent(cell, x, y, epochs, evaluations)


def ours() -> float:
    """Seconds of the best of three epochs of FLTS's fit, with its pass over the validation windows."""
    import torch

    torch.set_num_threads(1)
    block, tail, task = _poblesec()
    moments: list[float] = []

    class Stopwatch:
        def epoch(self, done: int, of: int, train_loss: float, val_loss: float) -> None:
            moments.append(time.perf_counter())

        def phase(self, name: str) -> None:
            moments.append(time.perf_counter())

    GRU.fit(block, tail, task, Recipe(GruParameters(epochs=4), patience=4, seed=42), Stopwatch())
    return float(np.diff(moments).min())


def _poblesec() -> tuple[Block, Block, ForecastTask]:
    experiment = lte_experiment(LTE, validate({"dataset": {"name": "PobleSec", "targets": ["down"]}}))
    train, task = experiment.dataset.train, experiment.task
    whole = whole_block(train, task)
    fit, tail = split_validation(whole.origins, task.horizon, 0.1)
    return replace(whole, origins=fit), replace(whole, origins=tail), task
