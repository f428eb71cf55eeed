"""How a run goes while it goes: a live table at a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flts.api import Quiet

if TYPE_CHECKING:
    from rich.table import Table

    from flts.contracts.messages import ModelTraining
    from flts.contracts.ports import Progress
    from flts.runner.local import Reporter

STAGES = ("preprocess", "train", "evaluate")


@contextmanager
def reporter(models: Sequence[str], *, quiet: bool) -> Iterator[Reporter]:
    """The right reporter for where stdout goes."""
    if quiet:
        yield Quiet()
    elif sys.stdout.isatty():
        from rich.live import Live

        table = LiveTable(models)
        with Live(get_renderable=table.render, refresh_per_second=8):
            yield table
    else:
        yield PlainLines()


@dataclass
class _Row:
    """One line of the table."""

    state: str = "waiting"
    detail: str = ""
    started: float | None = None
    ended: float | None = None
    share: float = 0.0

    def elapsed(self) -> float | None:
        """Seconds since it started, until it ended."""
        return None if self.started is None else (self.ended or time.monotonic()) - self.started

    def remaining(self) -> float | None:
        """Seconds to go, from the share of epochs that are done."""
        elapsed = self.elapsed()
        if elapsed is None or self.ended is not None or not 0.0 < self.share < 1.0:
            return None
        return elapsed * (1.0 - self.share) / self.share


class _ModelRow:
    """The Progress of one model, shown in its row."""

    def __init__(self, row: _Row) -> None:
        self._row = row

    def epoch(self, done: int, of: int, train_loss: float, val_loss: float) -> None:
        self._row.share = done / of
        self._row.detail = f"epoch {done}/{of}, validation loss {val_loss:.4g}"

    def phase(self, name: str) -> None:
        if self._row.started is None:
            self._row.started = time.monotonic()
        self._row.state = name


class LiveTable:
    """Stages and models with their state, elapsed time and time to go."""

    def __init__(self, models: Sequence[str]) -> None:
        self._rows = {name: _Row() for name in ("preprocess", *models, "evaluate")}

    def stage(self, name: str, state: str, detail: str = "") -> None:
        """A stage started, or ended."""
        row = self._rows[name]
        row.state, row.detail = state, detail or row.detail
        if state == "running":
            row.started = time.monotonic()
        else:
            row.ended = time.monotonic()

    def model(self, name: str) -> Progress:
        """Where the progress of a model goes."""
        return _ModelRow(self._rows[name])

    def ended(self, name: str, message: ModelTraining) -> None:
        """A model has a result or a reason."""
        row = self._rows[name]
        row.state = "done" if message.status == "SUCCESS" else "no result"
        row.detail, row.ended = message.error or row.detail, time.monotonic()

    def render(self) -> Table:
        """The table as it stands."""
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in ("", "state", "elapsed", "to go"):
            table.add_column(heading, justify="right" if heading in {"elapsed", "to go"} else "left", no_wrap=True)
        table.add_column("", overflow="ellipsis", no_wrap=True)
        for name, row in self._rows.items():
            style = {"done": "green", "reused": "green", "no result": "red", "waiting": "dim"}.get(row.state, "cyan")
            times = (_seconds(row.elapsed()), _seconds(row.remaining()))
            table.add_row(name, f"[{style}]{row.state}[/]", *times, row.detail)
        return table


class _ModelLines:
    """The Progress of one model as lines."""

    def __init__(self, name: str, say: PlainLines) -> None:
        self._name, self._say = name, say

    def epoch(self, done: int, of: int, train_loss: float, val_loss: float) -> None:
        self._say.line(f"{self._name}: epoch {done}/{of}, train loss {train_loss:.4g}, validation loss {val_loss:.4g}")

    def phase(self, name: str) -> None:
        if name == "fit":
            self._say.line(f"{self._name}: fit")


class PlainLines:
    """One line per happening, for logs and pipes."""

    def __init__(self) -> None:
        self._start, self._lock = time.monotonic(), threading.Lock()

    def line(self, text: str) -> None:
        """Seconds since the start, and what happened."""
        with self._lock:
            print(f"{time.monotonic() - self._start:7.1f}s  {text}", flush=True)

    def stage(self, name: str, state: str, detail: str = "") -> None:
        """A stage started, or ended."""
        if state != "running":
            self.line(f"{name}: {state}" + (f", {detail}" if detail else ""))

    def model(self, name: str) -> Progress:
        """Where the progress of a model goes."""
        return _ModelLines(name, self)

    def ended(self, name: str, message: ModelTraining) -> None:
        """A model has a result or a reason."""
        took = f" in {message.duration_ms / 1000:.1f} s" if message.duration_ms is not None else ""
        self.line(f"{name}: {f'done{took}' if message.status == 'SUCCESS' else f'no result: {message.error}'}")


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}s" if value < 60 else f"{int(value // 60)}m{int(value % 60):02d}s"
