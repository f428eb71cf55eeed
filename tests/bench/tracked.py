"""What MLflow adds to a run of ridge alone: CPU, and how much later the log entry and the board are out."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure import FLTS, Figure, environment, fresh_folder
from tests.support import ROOT

EXAMPLE = ["run", str(ROOT / "examples/jfk-departures/flts.toml"), "--models", "ridge"]
ROUNDS = 5
PROMOTED = "promoted"
"""How the first line below the scoreboard begins."""


@dataclass(frozen=True)
class Measured:
    """CPU of all processes of a run, and when its log entry, its board and its end came, in seconds."""

    cpu: float
    entry: float
    board: float
    end: float


def tracking() -> Iterator[Figure]:
    """The runs alternate, each in a fresh folder; the template of MLflow's database is there, as on any second run."""
    once(tracked=True)
    rounds = [(once(tracked=False), once(tracked=True)) for _ in range(ROUNDS)]
    off, on = (
        Measured(*(min(getattr(run[side], name) for run in rounds) for name in ("cpu", "entry", "board", "end")))
        for side in (0, 1)
    )
    cpu = f"{on.cpu / off.cpu:.2f} × {off.cpu:.1f} s: the same run with tracking off, best of {ROUNDS} each"
    yield Figure("tracking of a ridge, CPU over tracking off", f"{on.cpu - off.cpu:.1f} s", "5 s", cpu, "tracking")
    later = f"{on.entry - off.entry:+.2f} s, {on.board - off.board:+.2f} s"
    without = f"{off.entry:.1f} s and {off.board:.1f} s; a tracked run ends {on.end - on.board:.1f} s after its board"
    yield Figure("log entry and board, later than with tracking off", later, "1.0 s each", without, "tracking")


def once(*, tracked: bool) -> Measured:
    """A run in a fresh folder."""
    command = [*FLTS, *EXAMPLE, "--tracking", "mlflow" if tracked else "off"]
    with fresh_folder() as folder:
        began = time.time()  # of the clock that dates files
        with subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            boards = [time.time() - began for line in process.stdout if line.startswith(PROMOTED)]
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        end = time.time() - began
        if process.returncode or not boards:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        (entry,) = Path(folder).glob(".flts/objects/model-promotion/*/log/*")
        return Measured(used.ru_utime + used.ru_stime, entry.stat().st_mtime - began, boards[0], end)
