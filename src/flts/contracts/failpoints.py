"""Named crash points: a test arms one through FLTS_FAILPOINTS, and the process dies or raises exactly there.

`FLTS_FAILPOINTS="train.result.before=kill"` names points and their actions: kill (SIGKILL), term (SIGTERM), int
(SIGINT), stop (SIGSTOP, so that a test can change the world around it before SIGCONT) or error (OSError). `…=kill@3`
acts at the third passage. Nothing is armed unless the variable is set.

The process of a trainer inherits the variable. There parent-kill, parent-term and parent-int signal the parent process
and wait, so that a run is ended while one of its trainers is exactly at this point.
"""

from __future__ import annotations

import os
import signal
import threading

ENV = "FLTS_FAILPOINTS"

_SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT}
_STOP = "stop"
_PARENT = "parent-"


def _parse(text: str) -> dict[str, tuple[str, int]]:
    armed = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, action = item.partition("=")
        what, _, passage = action.partition("@")
        if what not in {"error", _STOP} and what.removeprefix(_PARENT) not in _SIGNALS:
            raise ValueError(f"{ENV}: invalid action in '{item}'; use NAME=kill, term, int, stop or error")
        armed[name] = (what, int(passage or 1))
    return armed


_armed = _parse(os.environ.get(ENV, ""))


def failpoint(name: str) -> None:
    """Do what is armed for this name; unarmed, it costs one look-up in an empty dictionary."""
    if name not in _armed:
        return
    action, passages_left = _armed[name]
    if passages_left > 1:
        _armed[name] = (action, passages_left - 1)
        return
    del _armed[name]
    if action == "error":
        raise OSError(f"failpoint {name}")
    if action == _STOP:
        signal.raise_signal(signal.SIGSTOP)  # to this thread, so that it does not go on while another one gets it
        return
    number = _SIGNALS[action.removeprefix(_PARENT)]
    if action.startswith(_PARENT):
        os.kill(os.getppid(), number)
        threading.Event().wait()  # until this process is ended
    os.kill(os.getpid(), number)


def arm(text: str) -> None:
    """Replace what is armed; an empty text disarms everything."""
    _armed.clear()
    _armed.update(_parse(text))
