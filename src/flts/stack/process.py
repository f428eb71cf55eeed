"""A process that outlives the command that started it, identified by its id and its start time.

The id alone is not enough: ids are reused, and a process that the stack did not start must never be signalled.
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
"""Seconds by which a reported start time may shift when the machine's clock is adjusted."""


class Process(BaseModel):
    """The stored description of a process that leads a process group."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    pid: int
    started: float
    """Seconds since 1970."""
    url: str
    log: str
    stop_signal: int

    def alive(self) -> bool:
        """Whether its id still belongs to this process."""
        running = _look(self.pid)
        return running is not None and abs(running.create_time() - self.started) < SAME_START

    def end(self, folder: str, grace: float) -> str:
        """End it and its group, after `grace` seconds by force; returns what happened, in words."""
        import psutil

        running = _look(self.pid)
        if running is not None and self.alive():
            running.send_signal(self.stop_signal)  # psutil checks the start time again, so no reused id is hit
            _, stayed = psutil.wait_procs([running], timeout=grace)
            with contextlib.suppress(ProcessLookupError):  # the group is empty
                os.killpg(self.pid, signal.SIGKILL)
            return f"did not end in {grace:g} s and was killed" if stayed else "ended"
        if running is not None:
            return f"had ended before; its id {self.pid} now belongs to another process, which goes on"
        orphans = list(_orphans(self.pid, folder))
        for orphan in orphans:
            with contextlib.suppress(psutil.NoSuchProcess):
                orphan.kill()
        return "had ended before" + (f"; {len(orphans)} processes that it left behind were killed" if orphans else "")


def started(pid: int) -> float:
    """When a running process of ours started, in seconds since 1970."""
    import psutil

    return psutil.Process(pid).create_time()


def _look(pid: int) -> psutil.Process | None:
    """The process with this id; None for a zombie, too."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.NoSuchProcess:
        return None


def _orphans(group: int, folder: str) -> Iterator[psutil.Process]:
    """The processes of a group whose leader has ended, if they belong to the stack in this folder."""
    import psutil

    for process in psutil.process_iter():
        # skip a process that ends meanwhile or belongs to another user
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == group and process.environ().get(MARK) == folder:
                yield process
