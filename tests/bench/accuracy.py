"""Accuracy of the winner on the test rows: every window, default settings."""

from __future__ import annotations

import functools
import json
import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tests.bench.measure import FLTS, LTE, Figure, fresh_folder
from tests.support import ROOT

EVERY = ("--set", "evaluate.windows=0")
JFK = ROOT / "examples/jfk-departures"


def lte() -> Iterator[Figure]:
    """One step ahead at two base stations, and twelve steps ahead at one; every window."""
    for name, goal in (("PobleSec", 80.5), ("ElBorn", 86.0)):
        decision = decide(*_lte(name), *EVERY)
        yield _figure(f"{name}, winner", decision, "down", 1e6, "Mbit", f"{goal} Mbit RMSE", "lte")
    decision = decide(*_lte("PobleSec"), *EVERY, "--set", "task.horizon=12")
    winner = decision["candidates"][0]
    naive = next(row for row in decision["referees"] if row["model"] == "naive")
    yield Figure(
        f"PobleSec, 12 steps ahead, winner ({winner['model']})",
        f"scaled RMSE {winner['rmse']:.4f}: {1 - winner['rmse'] / naive['rmse']:.1%} better",
        "12 % better than the last value",
        f"last value repeated {naive['rmse']:.4f}",
        "lte",
    )


def jfk() -> Iterator[Figure]:
    """24 hours ahead with a week of history, against the better of the daily and the weekly naive forecast."""
    decision = decide(*_jfk(), *EVERY)
    winner = decision["candidates"][0]
    errors = {season: _naive(JFK, season) for season in (24, 168)}
    best = min(errors.values())
    rmse = winner["units"]["departures"]["rmse"]
    naive = ", ".join(f"{season} h earlier {error:.3f}" for season, error in errors.items())
    yield Figure(
        f"jfk-departures, winner ({winner['model']})",
        f"RMSE {rmse:.3f}: {1 - rmse / best:.1%} better; composite {winner['skill']:+.1%}",
        "18 % better",
        f"naive: {naive}",
        "jfk",
    )


def coverage() -> Iterator[Figure]:
    """Coverage of the winner's 80 % interval on test, pooled and per step, on 500 windows and on every window."""
    for name, arguments in (("PobleSec", _lte("PobleSec")), ("ElBorn", _lte("ElBorn")), ("jfk-departures", _jfk())):
        if name != "jfk-departures" and not LTE.is_dir():
            continue
        for which, more in (("500 windows", ()), ("every window", EVERY)):
            decision = decide(*arguments, *more)
            winner = next(row for row in decision["candidates"] if row["model"] == decision["winner"])
            measured = winner["coverage"]["0.8"]
            steps = [step["coverage"] for step in measured["step"]]
            per_step = f"; per step {min(steps):.1%} to {max(steps):.1%}" if len(steps) > 1 else ""
            between = f"{measured['interval']['low']:.1%} to {measured['interval']['high']:.1%}"
            yield Figure(
                f"80 % interval, {name}, {which} ({winner['model']})",
                f"coverage {measured['coverage']:.1%} of the cells, mean width {measured['width']:.4f}{per_step}",
                "80 % ± 3 points" if name == "PobleSec" else "shown on the scoreboard",
                f"95 % interval of the coverage {between}",
                "winner_coverage",
            )


def _lte(name: str) -> tuple[str, ...]:
    return "--source", str(LTE), "--set", f"dataset.name={name}", "--set", 'dataset.targets=["down"]'


def _jfk() -> tuple[str, ...]:
    return (
        *("--source", str(JFK), "--set", "dataset.name=jfk-departures"),
        *("--set", 'dataset.targets=["departures"]', "--set", "dataset.timezone=America/New_York"),
        *("--set", "task.input_length=168", "--set", "task.horizon=24"),
    )


@functools.cache
def decide(*arguments: str) -> dict[str, Any]:
    """The decision of a run in a fresh folder."""
    command = [*FLTS, "run", *arguments, "--tracking", "off", "--json"]
    with fresh_folder() as folder:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        decision: dict[str, Any] = json.loads(done.stdout)["decision"]
        return decision


def _figure(
    name: str, decision: dict[str, Any], target: str, unit: float, word: str, goal: str, command: str
) -> Figure:
    rows = [*decision["candidates"], *decision["referees"]]
    shown = [f"{r['model']} {r['units'][target]['rmse'] / unit:.1f}" for r in rows if "score" in r]
    best = decision["candidates"][0]
    measured = f"{best['model']}: {best['units'][target]['rmse'] / unit:.1f} {word} RMSE"
    return Figure(name, measured, goal, ", ".join(shown), command)


def _naive(folder: Path, season: int) -> float:
    """RMSE of the value one season earlier over the same windows, computed from the files alone."""
    train, test = (pl.read_csv(folder / f"jfk-departures{part}.csv")["departures"].to_numpy() for part in ("", "_test"))
    series = np.concatenate([train, test]).astype(float)
    origins = len(train) + np.arange(168, len(test) - 24 + 1)
    errors = np.stack([series[origins + k] - series[origins + k - season] for k in range(24)])
    return math.sqrt(float(np.mean(errors**2)))
