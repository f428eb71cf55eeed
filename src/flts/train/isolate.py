"""One fit in a process of its own: a crash of a numeric library is a failed candidate, never the end of a run.

The child gets its keys on stdin and answers with JSON lines on stdout. It leads a process group of its own, which is
killed at the time limit and when the parent stops; when the parent dies, stdin closes and the child ends itself.
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
    NotApplicable,
    StageFailed,
    TrainingFailed,
    UsageError,
)
from flts.contracts.failpoints import failpoint
from flts.contracts.ports import Progress
from flts.train.channel import EpochLine, EventLine, FailedLine, LastLine, PhaseLine, parse_line
from flts.train.determinism import thread_variables
from flts.train.stage import Trained

_ERRORS: Mapping[str, type[FltsError]] = {
    error.__name__: error
    for error in (NotApplicable, TrainingFailed, DataError, DamagedObject, StageFailed, BackendUnavailable, UsageError)
}
_LAST_LINES = 3
SCRATCH = "flts-fit-"
"""How the folder for a child's temporary files begins."""


@dataclass(frozen=True)
class Claim:
    """What a child has to know: everything else is in the store."""

    store: str
    config_hash: str
    data_hash: str
    model: str
    recompute: bool


class Children:
    """The running fits of one process: who fits holds one of the places, and all are ended together."""

    def __init__(self, at_once: int) -> None:
        self._running: dict[subprocess.Popen[str], Path] = {}
        self._lock = threading.Lock()
        self.slots = threading.Semaphore(at_once)
        self.cancelled = False

    def add(self, child: subprocess.Popen[str], scratch: Path) -> None:
        """Count a child in; ended at once when everything was cancelled already. scratch: its folder."""
        with self._lock:
            self._running[child] = scratch
        if self.cancelled:
            _kill(child)

    def discard(self, child: subprocess.Popen[str]) -> None:
        """Count a child out."""
        with self._lock:
            self._running.pop(child, None)

    @property
    def running(self) -> int:
        """How many fits run now."""
        with self._lock:
            return len(self._running)

    def cancel(self) -> None:
        """End all children; those that wait for one get Interrupted.

        Their folders go, too: a thread that waits for a child may end with this process before it comes to that.
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
    """Run `train` in a child. Raises what it raised, DeadlineExceeded, TrainingFailed for a crash, or Interrupted.

    The child has a folder of its own for temporary files, because one that is killed cannot tidy up. It makes the
    folder itself, so that nothing is left when this process ends before there is a child.
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
        try:
            answer = _converse(child, claim, progress)
        finally:
            timer.cancel()
            _kill(child)
            child.wait()
            children.discard(child)
            shutil.rmtree(scratch, ignore_errors=True)
            for pipe in (child.stdin, child.stdout):
                if pipe:
                    with contextlib.suppress(BrokenPipeError):  # keys that a dead child never read
                        pipe.close()
        if children.cancelled:
            raise Interrupted("the run was interrupted")
        if late.is_set():
            raise DeadlineExceeded(f"ran past the limit of {time_limit:g} s and was ended")
        return _result(answer, child.returncode, noise)


def _converse(child: subprocess.Popen[str], claim: Claim, progress: Progress) -> LastLine | None:
    """Send the keys, follow the progress, return the last word; None when the child died without one."""
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
            said = parse_line(line)
        except ValueError:
            raise TrainingFailed(f"its process printed {line.strip()[:80]!r} where only its progress belongs") from None
        match said:
            case EpochLine():
                progress.epoch(said.done, said.of, said.train_loss, said.val_loss)
            case EventLine():
                events.replay(dict(said.fields))
            case PhaseLine():
                progress.phase(said.name)
            case _:
                return said
    child.wait()  # how it ends by itself is the reason; the time limit still holds
    return None


def _result(answer: LastLine | None, code: int, noise: IO[str]) -> Trained:
    if answer is None:
        noise.seek(0)
        last = " | ".join(noise.read().strip().splitlines()[-_LAST_LINES:])
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        raise TrainingFailed(f"its process was {how}" + (f": {last}" if last else ""))
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
        return  # it has ended already, which is what was wanted
    except PermissionError:
        time.sleep(0)  # macOS answers so for a group whose leader is a zombie; wait() collects it
