"""How good the winner is, held out, on every window, with the defaults."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tests.bench.measure import FLTS, LTE, ROOT, Figure, fresh_folder

EVERY = ["--set", "evaluate.windows=0", "--tracking", "off", "--json"]


def lte() -> Iterator[Figure]:
    """One step ahead at two base stations."""
    for name, goal in (("PobleSec", 80.5), ("ElBorn", 86.0)):
        decision = decide(["--source", str(LTE), "--set", f"dataset.name={name}", "--set", 'dataset.targets=["down"]'])
        yield _figure(f"{name}, winner", decision, "down", 1e6, "Mbit", f"{goal} Mbit RMSE", "lte")


def jfk() -> Iterator[Figure]:
    """24 hours ahead with a week of history, against the better of the daily and the weekly naive forecast."""
    folder = ROOT / "examples/jfk-departures"
    decision = decide(
        [
            *("--source", str(folder), "--set", "dataset.name=jfk-departures"),
            *("--set", 'dataset.targets=["departures"]', "--set", "dataset.timezone=America/New_York"),
            *("--set", "task.input_length=168", "--set", "task.horizon=24"),
        ]
    )
    winner = decision["candidates"][0]
    errors = {season: _naive(folder, season) for season in (24, 168)}
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


def decide(arguments: list[str]) -> dict[str, Any]:
    """The decision of a run in a fresh folder."""
    with fresh_folder() as folder:
        done = subprocess.run(
            [*FLTS, "run", *arguments, *EVERY], cwd=folder, capture_output=True, text=True, check=True
        )
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
    """RMSE of the value one season earlier over the same windows, read from the files alone."""
    train, test = (pl.read_csv(folder / f"jfk-departures{part}.csv")["departures"].to_numpy() for part in ("", "_test"))
    series = np.concatenate([train, test]).astype(float)
    origins = len(train) + np.arange(168, len(test) - 24 + 1)
    errors = np.stack([series[origins + k] - series[origins + k - season] for k in range(24)])
    return math.sqrt(float(np.mean(errors**2)))
