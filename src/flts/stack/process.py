"""A process that goes on after the command that started it, known again by its id and the time it started.

An id alone is not enough: it goes to another process once the first has ended, and that one is nobody's to end.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import psutil

MARK = "FLTS_STACK_FOLDER"
"""Variable in the environment of every process of a stack."""
SAME_START = 1.0
"""Seconds by which a start is told differently when the clock of the machine is set."""


class Process(BaseModel):
    """What is written down of a process that leads a group of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    pid: int
    started: float
    """Seconds since 1970."""
    url: str
    log: str
    stop_signal: int

    def alive(self) -> bool:
        """Whether it is this process that runs under its id."""
        found = _look(self.pid)
        return found is not None and abs(found.create_time() - self.started) < SAME_START

    def end(self, folder: str, grace: float) -> str:
        """End it and its group, after `grace` seconds by force; what became of it, in words."""
        import psutil

        found = _look(self.pid)
        if found is not None and self.alive():
            found.send_signal(self.stop_signal)  # to this process alone, even if it ends at this moment
            _, stayed = psutil.wait_procs([found], timeout=grace)
            with contextlib.suppress(ProcessLookupError):  # nothing is left of its group
                os.killpg(self.pid, signal.SIGKILL)
            return f"did not end in {grace:g} s and was killed" if stayed else "ended"
        if found is not None:
            return f"had ended before; process {self.pid} is another one now and goes on"
        left = list(_left(self.pid, folder))
        for member in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        return "had ended before" + (f"; {len(left)} processes that it left were killed" if left else "")


def started(pid: int) -> float:
    """When a running process of ours started, in seconds since 1970."""
    import psutil

    return psutil.Process(pid).create_time()


def _look(pid: int) -> psutil.Process | None:
    """The process of this id; one that has ended and only waits to be collected is none."""
    import psutil

    try:
        found = psutil.Process(pid)
        return None if found.status() == psutil.STATUS_ZOMBIE else found
    except psutil.NoSuchProcess:
        return None


def _left(group: int, folder: str) -> Iterator[psutil.Process]:
    """What a leader that has ended left in its group, as far as it belongs to the stack in this folder."""
    import psutil

    for process in psutil.process_iter():
        # a process that ends while it is looked at, or that is somebody else's, is none of these
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == group and process.environ().get(MARK) == folder:
                yield process
