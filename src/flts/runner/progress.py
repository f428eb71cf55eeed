"""Shows the progress of a run: a live table at a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from flts.contracts.errors import Interrupted, visible
from flts.runner.estimate import beyond, of_hours, span
from flts.runner.reporter import Estimated, Quiet

if TYPE_CHECKING:
    import rich.progress
    from rich.progress import TaskID

    from flts.contracts.messages import ModelTraining
    from flts.contracts.ports import Progress
    from flts.runner.local import RunResult
    from flts.runner.reporter import Reporter

LONGEST_EPOCH = 3600.0
"""Seconds over which the remaining time is estimated: epochs may be minutes apart."""


def _nowhere(result: RunResult) -> None:
    """Show no result."""


@contextmanager
def reporter(
    models: Sequence[str], *, quiet: bool, yes: bool = True, board: Callable[[RunResult], None] = _nowhere
) -> Iterator[Reporter]:
    """The reporter that fits where stdout goes. yes: a run of hours is not asked about; board: prints the result."""
    ask = not yes and sys.stdin is not None and sys.stdin.isatty()
    if quiet:
        yield _ResultAlone(board)
    elif sys.stdout.isatty():
        table = LiveTable(models, ask=ask, board=board)
        with table.shown, table.behind:
            yield table
    else:
        yield PlainLines(ask=ask, board=board)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Says at a terminal what takes time, until it is done."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(escape(visible(what))):
        yield


def confirm() -> None:
    """Ask at the terminal whether a run of hours shall start. Raises Interrupted unless the answer is yes."""
    print("start it? [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise Interrupted("nothing was started; --yes starts such a run without a question")


class _ResultAlone(Quiet):
    """Shows no step of a run, and its result."""

    def __init__(self, board: Callable[[RunResult], None]) -> None:
        self._board = board

    def judged(self, result: RunResult) -> None:
        """Print the result."""
        self._board(result)
        sys.stdout.flush()  # a program may wait for it, and the process goes on


class _ModelRow:
    """The Progress of one model, shown in its row."""

    def __init__(self, shown: rich.progress.Progress, task: TaskID) -> None:
        self._shown, self._task = shown, task

    def epoch(self, done: int, of: int, train_loss: float, val_loss: float) -> None:
        detail = f"epoch {done}/{of}, validation loss {val_loss:.4g}"
        self._shown.update(self._task, completed=done, total=of, detail=detail)

    def phase(self, name: str) -> None:
        self._shown.start_task(self._task)
        _show(self._shown, self._task, name)


class LiveTable:
    """Stages and models with their state, elapsed and remaining time."""

    def __init__(
        self,
        models: Sequence[str],
        get_time: Callable[[], float] = time.monotonic,
        *,
        ask: bool = False,
        board: Callable[[RunResult], None] = _nowhere,
    ) -> None:
        from rich.progress import Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.table import Column

        self.shown = Progress(
            TextColumn("{task.description}", markup=False),
            TextColumn("[{task.fields[style]}]{task.fields[state]}[/]"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            # any text: cut off where it does not fit, and without markup because it may contain brackets
            TextColumn(
                "{task.fields[detail]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
            ),
            get_time=get_time,
            refresh_per_second=8,
            speed_estimate_period=LONGEST_EPOCH,
            expand=True,
        )
        self._ask, self._board = ask, board
        self.behind = ExitStack()
        """What is shown below the result until the run has ended."""
        self._tasks = {
            name: self.shown.add_task(name, start=False, total=None, state="waiting", style="dim", detail="")
            for name in ("preprocess", *models, "evaluate")
        }

    def stage(self, name: str, state: str, detail: str = "") -> None:
        """A stage started, or ended."""
        if state == "running":
            self.shown.start_task(self._tasks[name])
            _show(self.shown, self._tasks[name], state, detail)
        else:
            self._end(name, state, detail)

    def expect(self, estimated: Estimated) -> None:
        """Show each estimate in its row, and ask about a run of hours."""
        seconds, fits = estimated.seconds, estimated.fits
        for name in {**seconds, **fits}:
            known = [f"about {span(seconds[name])} of CPU"] if name in seconds else []
            searched = [f"{fits[name]} fits"] if name in fits else []
            self.shown.update(self._tasks[name], detail=", ".join([*searched, *known]))
        warning = of_hours(seconds, estimated.others)
        for said in filter(None, (beyond(seconds, estimated.limit), warning)):
            self.shown.console.print(said, markup=False, highlight=False)
        if warning and self._ask:
            self.shown.stop()
            confirm()
            self.shown.start()

    def model(self, name: str) -> Progress:
        """Where the progress of a model goes."""
        return _ModelRow(self.shown, self._tasks[name])

    def ended(self, name: str, message: ModelTraining) -> None:
        """A model has a result or a reason."""
        self._end(name, "done" if message.status == "SUCCESS" else "no result", message.error or "")

    def judged(self, result: RunResult) -> None:
        """End the table, print the result below it, and say what is still done, at a terminal."""
        self.shown.stop()
        self._board(result)
        if "mlflow" in result.places:
            self.behind.enter_context(waiting("MLflow: runs and pictures"))

    def _end(self, name: str, state: str, detail: str) -> None:
        self.shown.stop_task(self._tasks[name])
        _show(self.shown, self._tasks[name], state, detail)


def _show(shown: rich.progress.Progress, task: TaskID, state: str, detail: str = "") -> None:
    """Show a row's state in its colour; keep the detail unless there is a new one."""
    style = {"done": "green", "reused": "green", "no result": "red"}.get(state, "cyan")
    shown.update(task, state=state, style=style)
    if detail:
        shown.update(task, detail=detail)


class _ModelLines:
    """The Progress of one model as lines."""

    def __init__(self, name: str, say: PlainLines) -> None:
        self._name, self._say = name, say

    def epoch(self, done: int, of: int, train_loss: float, val_loss: float) -> None:
        self._say.line(f"{self._name}: epoch {done}/{of}, train loss {train_loss:.4g}, validation loss {val_loss:.4g}")

    def phase(self, name: str) -> None:
        if name.startswith("fit"):
            self._say.line(f"{self._name}: {name}")


class PlainLines:
    """One line per step, for logs and pipes."""

    def __init__(self, *, ask: bool = False, board: Callable[[RunResult], None] = _nowhere) -> None:
        self._start, self._lock, self._ask, self._board = time.monotonic(), threading.Lock(), ask, board

    def line(self, text: str) -> None:
        """Print the seconds since the start and a text."""
        with self._lock:
            print(f"{time.monotonic() - self._start:7.1f}s  {visible(text)}", flush=True)

    def stage(self, name: str, state: str, detail: str = "") -> None:
        """A stage started, or ended."""
        if state != "running":
            self.line(f"{name}: {state}" + (f", {detail}" if detail else ""))

    def expect(self, estimated: Estimated) -> None:
        """Print the fits of a grid and the estimates, and ask about a run of hours."""
        seconds, fits = estimated.seconds, estimated.fits
        if fits:
            self.line(f"a grid each: {', '.join(f'{name} {count} fits' for name, count in fits.items())}")
        if seconds:
            self.line(f"estimated, of CPU: {', '.join(f'{name} {span(each)}' for name, each in seconds.items())}")
        warning = of_hours(seconds, estimated.others)
        for said in filter(None, (beyond(seconds, estimated.limit), warning)):
            self.line(said)
        if warning and self._ask:
            confirm()

    def model(self, name: str) -> Progress:
        """Where the progress of a model goes."""
        return _ModelLines(name, self)

    def ended(self, name: str, message: ModelTraining) -> None:
        """A model has a result or a reason."""
        took = f" in {message.duration_ms / 1000:.1f} s" if message.duration_ms is not None else ""
        self.line(f"{name}: {f'done{took}' if message.status == 'SUCCESS' else f'no result: {message.error}'}")

    def judged(self, result: RunResult) -> None:
        """Print the result."""
        self._board(result)
        sys.stdout.flush()  # a pipe gets it now, and the process goes on
