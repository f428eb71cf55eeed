"""Time a command or a function several times and keep the best; every figure has a reference beside it."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support import ROOT

LTE = ROOT.parent / "shared" / "data" / "lte"
FLTS = [sys.executable, "-m", "flts"]


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    measured: str
    goal: str
    reference: str
    command: str


def best_of(runs: int, once: Callable[[], float]) -> float:
    """The smallest of several measurements."""
    return min(once() for _ in range(runs))


def seconds(command: Sequence[str], folder: Path) -> float:
    """Wall seconds of a command that must succeed."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment())
    took = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return took


def cpu() -> float:
    """Seconds of CPU of this process and of its ended children so far."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def cold(arguments: Sequence[str], runs: int = 3) -> float:
    """Best wall seconds of `flts` from a fresh folder each time."""

    def once() -> float:
        with fresh_folder() as folder:
            return seconds([*FLTS, *arguments], folder)

    return best_of(runs, once)


def warm(arguments: Sequence[str], runs: int = 3) -> float:
    """Best wall seconds of `flts` in a folder where the same command ran before."""
    with fresh_folder() as folder:
        seconds([*FLTS, *arguments], folder)
        return best_of(runs, lambda: seconds([*FLTS, *arguments], folder))


class fresh_folder:  # noqa: N801 - used like a function in a with statement
    """A new folder, removed afterwards."""

    def __enter__(self) -> Path:
        self._folder = Path(tempfile.mkdtemp(prefix="flts-bench-"))
        return self._folder

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder)


def environment() -> dict[str, str]:
    """That of this process, without settings of FLTS."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FLTS_")}
