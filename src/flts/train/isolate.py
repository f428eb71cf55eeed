"""One fit in its own process: if a numeric library crashes, a candidate fails, and the run goes on.

The child reads a Claim from stdin and writes JSON lines (channel.py) to stdout. It leads its own process group, which
is killed at the time limit and when the parent stops. If the parent dies, stdin closes and the child ends itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from flts.contracts import events
from flts.contracts.errors import (
    BackendUnavailable,
    DamagedObject,
    DataError,
    DeadlineExceeded,
    FltsError,
    Interrupted,
    MachineFailed,
    NotApplicable,
    StageFailed,
    TrainingFailed,
    UsageError,
)
from flts.contracts.failpoints import failpoint
from flts.contracts.ports import Progress
from flts.train.channel import BegunLine, EpochLine, EventLine, FailedLine, LastLine, PhaseLine, parse_line
from flts.train.determinism import thread_variables
from flts.train.stage import Trained

_ERRORS: Mapping[str, type[FltsError]] = {
    error.__name__: error
    for error in (
        *(NotApplicable, TrainingFailed, DataError, DamagedObject, StageFailed, MachineFailed),
        *(BackendUnavailable, UsageError),
    )
}
_LAST_LINES = 3
SCRATCH = "flts-fit-"
"""Prefix of the folder for a child's temporary files."""


@dataclass(frozen=True)
class Claim:
    """What a child is told; it reads the rest from the store."""

    store: str
    config_hash: str
    data_hash: str
    model: str
    recompute: bool


class Children:
    """The running children of one process. A fit holds one of `slots`; `cancel` ends all of them."""

    def __init__(self, at_once: int) -> None:
        self._running: dict[subprocess.Popen[str], Path] = {}
        self._lock = threading.Lock()
        self.slots = threading.Semaphore(at_once)
        self.cancelled = False

    def add(self, child: subprocess.Popen[str], scratch: Path) -> None:
        """Register a child and its folder; after `cancel` the child is killed at once."""
        with self._lock:
            self._running[child] = scratch
        if self.cancelled:
            _kill(child)

    def discard(self, child: subprocess.Popen[str]) -> None:
        """Forget a child that has ended."""
        with self._lock:
            self._running.pop(child, None)

    @property
    def running(self) -> int:
        """Number of children that run now."""
        with self._lock:
            return len(self._running)

    def cancel(self) -> None:
        """Kill all children; `train_isolated` raises Interrupted in each thread that waits for one.

        Remove their folders too, because those threads may end with this process before they do it.
        """
        self.cancelled = True
        with self._lock:
            running = dict(self._running)
            for child in running:
                _kill(child)
        for child, scratch in running.items():
            child.wait()
            shutil.rmtree(scratch, ignore_errors=True)


def train_isolated(claim: Claim, threads: int, time_limit: float, progress: Progress, children: Children) -> Trained:
    """Run `train` in a child. Raises the child's error, DeadlineExceeded, TrainingFailed for a crash, or Interrupted.

    Raises MachineFailed when the machine cannot start the child, or the child ends before it says a word: no model is
    to blame for that. A child that is killed, for its use of memory too, is a crash.

    The child has its own folder for temporary files, because a killed child cannot remove them. The child creates that
    folder, so nothing is left if this process ends before the child starts.
    """
    if children.cancelled:
        raise Interrupted("the run was interrupted")
    scratch = Path(tempfile.gettempdir()) / f"{SCRATCH}{uuid.uuid4().hex}"
    with tempfile.TemporaryFile("w+", errors="replace") as noise:
        failpoint("train.child.before")
        child = subprocess.Popen(
            [sys.executable, "-m", "flts.runner.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=noise,
            text=True,
            errors="replace",
            env=os.environ | thread_variables(threads) | {"TMPDIR": str(scratch)},
            start_new_session=True,
        )
        children.add(child, scratch)
        failpoint("train.child.after")
        late = threading.Event()
        timer = threading.Timer(time_limit, _end_late, (child, late))
        timer.daemon = True
        timer.start()
        begun = threading.Event()
        try:
            answer = _converse(child, claim, progress, begun)
        finally:
            timer.cancel()
            _kill(child)
            child.wait()
            children.discard(child)
            shutil.rmtree(scratch, ignore_errors=True)
            for pipe in (child.stdin, child.stdout):
                if pipe:
                    with contextlib.suppress(BrokenPipeError):  # a claim that a dead child never read
                        pipe.close()
        if children.cancelled:
            raise Interrupted("the run was interrupted")
        if late.is_set():
            raise DeadlineExceeded(f"stopped at the time limit of {time_limit:g} s", limit=time_limit)
        return _result(answer, child.returncode, noise, begun=begun.is_set())


def _converse(
    child: subprocess.Popen[str], claim: Claim, progress: Progress, begun: threading.Event
) -> LastLine | None:
    """Send the claim, report progress, return the last message; None when the child died without one."""
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(asdict(claim)) + "\n")
        child.stdin.flush()
    except BrokenPipeError:
        child.wait()
        return None
    for line in child.stdout:
        try:
            message = parse_line(line)
        except ValueError:
            printed = line.strip()[:80]
            raise TrainingFailed(
                f"unexpected output on the control channel of the training process: {printed!r}",
                code="unexpected-output",
                found=printed,
            ) from None
        match message:
            case BegunLine():
                begun.set()
            case EpochLine():
                progress.epoch(message.done, message.of, message.train_loss, message.val_loss)
            case EventLine():
                events.replay(dict(message.fields))
            case PhaseLine():
                progress.phase(message.name)
            case _:
                return message
    child.wait()  # its exit code is part of the reason; the time limit still applies
    return None


def _result(answer: LastLine | None, code: int, noise: IO[str], *, begun: bool) -> Trained:
    if answer is None:
        noise.seek(0)
        last = " | ".join(noise.read().strip().splitlines()[-_LAST_LINES:])
        ended_by = signal.Signals(-code).name if code < 0 else None
        how = f"was killed by {ended_by}" if ended_by else f"ended with exit code {code}"
        if ended_by is None and not begun:
            raise MachineFailed(
                f"the training process {how} before it began" + (f": {last}" if last else ""),
                code="process-not-begun",
                exit_code=code,
                output=last,
            )
        raise TrainingFailed(
            f"the training process {how}" + (f": {last}" if last else ""),
            code="process-died",
            signal=ended_by,
            exit_code=None if ended_by else code,
            output=last,
        )
    if isinstance(answer, FailedLine):
        error = _ERRORS.get(answer.error, TrainingFailed)
        raise error(answer.reason, code=answer.code, **answer.data)
    return answer.trained


def _end_late(child: subprocess.Popen[str], late: threading.Event) -> None:
    late.set()
    _kill(child)


def _kill(child: subprocess.Popen[str]) -> None:
    """End the whole process group: a numeric library may have started processes of its own."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it has ended already
    except PermissionError:
        time.sleep(0)  # macOS raises it for a group whose leader is a zombie, which wait() collects
