"""What a file holds while the server runs: read anew when the file changes, and kept when the new one is broken."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from flts.contracts import events
from flts.contracts.errors import FltsError

BEAT = 1.0
"""Least seconds between two looks at the files."""
T = TypeVar("T")
Stamp = tuple[tuple[int, int, int] | None, ...]


class Kept(Generic[T]):
    """What `read` made of some files when they were whole the last time.

    seconds: least time between two looks.
    """

    def __init__(self, service: str, files: Sequence[Path], read: Callable[[], T], seconds: float = BEAT) -> None:
        """Raises what `read` raises: a server does not start with a broken file."""
        self._service, self._files, self._read, self._seconds = service, files, read, seconds
        self._stamp, self._value = _stamp(files), read()
        self._next = time.monotonic() + seconds

    def __call__(self) -> T:
        """The value now. A broken file is logged once, and the value before it stays."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._seconds
            self._look()
        return self._value

    def _look(self) -> None:
        stamp = _stamp(self._files)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        names = [str(file) for file in self._files]
        try:
            self._value = self._read()
        except FltsError as error:
            events.emit(events.FileRefused(service=self._service, files=names, reason=str(error)))
        else:
            events.emit(events.FileReread(service=self._service, files=names))


def _stamp(files: Sequence[Path]) -> Stamp:
    """What changes when a file is written or replaced, also behind a link; None for one that is not there."""
    return tuple(map(_one, files))


def _one(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
