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
    """Create the folder, or check that this flts can use it. Raises UsageError, and StageFailed on a full disk."""
    try:
        failpoint("home.folder.before")
        home.mkdir(parents=True, exist_ok=True)
        failpoint("home.folder.after")
        version = _version(home / "VERSION") or _write(home / "VERSION")
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StageFailed(
                f"{home}: no space left on its disk; free some space and run again, or name another folder with"
                " FLTS_HOME",
                code="disk-full",
                folder=str(home),
            ) from None
        raise _unusable(home, error) from None
    _refuse_other(home, version)
    return home


def check_home(home: Path) -> None:
    """Raise UsageError unless this version of flts can read the folder; a folder without a version was never used."""
    try:
        version = _version(home / "VERSION")
    except OSError as error:
        raise _unusable(home, error) from None
    if version:
        _refuse_other(home, version)


def _refuse_other(home: Path, version: str) -> None:
    if version != VERSION:
        age = "newer" if version.isdigit() and int(version) > int(VERSION) else "older or unknown"
        raise UsageError(
            f"{home} has the {age} format '{version}', but this flts writes format {VERSION};"
            " use the flts that made it, or name another folder with FLTS_HOME",
            code="home-format",
            folder=str(home),
            found=version,
            expected=VERSION,
        )


def _unusable(home: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{home}: cannot be used: {error.strerror}; name another folder with FLTS_HOME",
        code="home-unusable",
        folder=str(home),
    )


def _version(file: Path) -> str:
    """The version of the folder; empty if it was never written, or not completely."""
    return file.read_text(errors="replace").strip() if file.exists() else ""


def _write(path: Path) -> str:
    """Write this version without truncating the file, so that another process reads all of the line or nothing."""
    failpoint("home.version.before")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666), "w") as file:
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
                    raise Locked(
                        f"{home} is in use by {holder}; wait for it with --wait", folder=str(home), found=holder
                    ) from None
                time.sleep(_POLL_SECONDS)
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield
        file.truncate(0)
