"""The .flts folder: its version is checked first, and only one process at a time appends to it."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flts.contracts.errors import Locked, StageFailed, UsageError
from flts.contracts.failpoints import failpoint

VERSION = "1"
_POLL_SECONDS = 0.2


def open_home(home: Path) -> Path:
    """Make the folder, or check that this version of flts can use it. Raises UsageError, StageFailed on a full disk."""
    try:
        failpoint("home.folder.before")
        home.mkdir(parents=True, exist_ok=True)
        failpoint("home.folder.after")
        found = _found(home / "VERSION") or _write(home / "VERSION")
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StageFailed(
                f"{home}: no space left on its disk; free some and run again, or name another folder with FLTS_HOME"
            ) from None
        raise _unusable(home, error) from None
    _refuse_other(home, found)
    return home


def check_home(home: Path) -> None:
    """Let only a folder of this version be read. Raises UsageError; one without any version is not there yet."""
    try:
        found = _found(home / "VERSION")
    except OSError as error:
        raise _unusable(home, error) from None
    if found:
        _refuse_other(home, found)


def _refuse_other(home: Path, found: str) -> None:
    if found != VERSION:
        age = "newer" if found.isdigit() and int(found) > int(VERSION) else "older or unknown"
        raise UsageError(
            f"{home} has the {age} format '{found}', this flts writes format {VERSION};"
            " use the flts that made it, or name another folder with FLTS_HOME"
        )


def _unusable(home: Path, error: OSError) -> UsageError:
    return UsageError(f"{home}: cannot be used: {error.strerror}; name another folder with FLTS_HOME")


def _found(version: Path) -> str:
    """The version the folder has; empty for one that was never written, or cut off while it was."""
    return version.read_text(errors="replace").strip() if version.exists() else ""


def _write(version: Path) -> str:
    """Write this version in place: never shortened, so another process reads the same line or none of it."""
    failpoint("home.version.before")
    with os.fdopen(os.open(version, os.O_WRONLY | os.O_CREAT, 0o666), "w") as file:
        file.write(f"{VERSION}\n")
    failpoint("home.version.after")
    return VERSION


@contextmanager
def locked(home: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the folder's lock. Raises Locked, naming the holder, when another process has it and `wait` is off."""
    try:
        opened = (home / "lock").open("a+")
    except OSError as error:
        raise _unusable(home, error) from None
    with opened as file:
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
