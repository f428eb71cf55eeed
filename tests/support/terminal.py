"""What commands show in a real terminal of a chosen width."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

Call = tuple[int, Sequence[str]]
"""The columns of the terminal, and the arguments of `flts`."""

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CALLS = """
import fcntl, json, struct, sys, termios
from flts.cli.main import app

for columns, arguments in json.loads(sys.argv[1]):
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    app(arguments, standalone_mode=False, prog_name="flts")
    print(end="\\f", flush=True)
"""
"""One process for all, as the imports take longest."""


def in_terminal(calls: Sequence[Call], folder: Path) -> list[list[str]]:
    """The lines that each call shows, without colours. Fails where one raises."""
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
    process = subprocess.Popen(
        [sys.executable, "-c", CALLS, json.dumps(calls)],
        cwd=folder,
        env={**kept, "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # EIO: the process has left the terminal
        pass
    finally:
        os.close(ours)
    text = CONTROL.sub("", shown.decode()).replace("\r\n", "\n")
    assert process.wait() == 0, text
    return [screen.split("\n") for screen in text.split("\f")[:-1]]
