"""The .flts folder: its version is checked first, and only one process at a time appends to it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flts.errors import Locked, UsageError

VERSION = "1"
_POLL_SECONDS = 0.2


def open_home(home: Path) -> Path:
    """Make the folder, or check that this version of flts can use it. Raises UsageError."""
    version = home / "VERSION"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not version.exists():
            part = home / f"VERSION.{os.getpid()}"
            part.write_text(f"{VERSION}\n")
            part.replace(version)
        found = version.read_text(errors="replace").strip()
    except OSError as error:
        raise UsageError(f"{home}: cannot be used: {error.strerror}; name another folder with FLTS_HOME") from None
    if found != VERSION:
        age = "newer" if found.isdigit() and int(found) > int(VERSION) else "older or unknown"
        raise UsageError(
            f"{home} has the {age} format '{found}', this flts writes format {VERSION};"
            " use the flts that made it, or name another folder with FLTS_HOME"
        )
    return home


@contextmanager
def locked(home: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the folder's lock. Raises Locked, naming the holder, when another process has it and `wait` is off."""
    with (home / "lock").open("a+") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not wait:
                    file.seek(0)
                    holder = file.read().strip() or "another process"
                    raise Locked(f"{home} is in use by {holder}; wait for it with --wait") from None
                time.sleep(_POLL_SECONDS)
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield
        file.truncate(0)
