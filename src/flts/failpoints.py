"""Named crash points: a test arms one through FLTS_FAILPOINTS and the process dies, or raises, exactly there.

`FLTS_FAILPOINTS="train.result.before=kill"` names points and what happens at them: kill (SIGKILL), term (SIGTERM),
int (SIGINT) or error (OSError). `…=kill@3` acts at the third passage. Off unless the variable is set.
"""

from __future__ import annotations

import os
import signal

ENV = "FLTS_FAILPOINTS"

_SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT}


def _parse(text: str) -> dict[str, tuple[str, int]]:
    armed = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, action = item.partition("=")
        what, _, passage = action.partition("@")
        if what not in {*_SIGNALS, "error"}:
            raise ValueError(f"{ENV}: '{item}' names no action; use name=kill, term, int or error")
        armed[name] = (what, int(passage or 1))
    return armed


_armed = _parse(os.environ.get(ENV, ""))


def failpoint(name: str) -> None:
    """Do what is armed for this name; otherwise one look into an empty dictionary."""
    if name not in _armed:
        return
    action, passages_left = _armed[name]
    if passages_left > 1:
        _armed[name] = (action, passages_left - 1)
        return
    del _armed[name]
    if action == "error":
        raise OSError(f"failpoint {name}")
    os.kill(os.getpid(), _SIGNALS[action])


def arm(text: str) -> None:
    """Replace what is armed; an empty text disarms everything."""
    _armed.clear()
    _armed.update(_parse(text))
