"""The prediction log on the disk of this machine, until the store has it: files of lines, one folder per process.

    <spool_dir>/<process>/<scope>/<YYYYMMDD>/<part>.jsonl   becomes   inference-logs/<scope>/<YYYYMMDD>/<part>.jsonl

A process holds the lock in its folder while it lives. Another one takes over the files of a folder whose lock is free.
A part has its name from its first line on, so uploading it twice writes one object.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from flts.contracts import layout
from flts.contracts.errors import MachineFailed
from flts.contracts.failpoints import failpoint
from flts.contracts.machine import machine_fault
from flts.contracts.request_ids import uuid7

PART_BYTES = 8 * 2**20
"""A part of this size is complete."""
PART_SECONDS = 60.0
"""A part of this age is complete."""
_LOCK = "lock"
_PARTS = "*/*/*.jsonl"
_BEGINNING = "."
"""What the name of a folder starts with until its lock is held."""


@dataclass
class _Open:
    """A part that lines are still added to. since: by a clock that is never set."""

    path: Path
    since: float


class Spool:
    """The files of this process. One thread appends and one uploads; any thread may look."""

    def __init__(
        self, folder: Path, limit: int, *, part_bytes: int = PART_BYTES, part_seconds: float = PART_SECONDS
    ) -> None:
        """limit: most bytes that wait for the store. Raises MachineFailed for a folder that cannot be used."""
        self._root, self._limit, self._part_bytes, self._part_seconds = folder, limit, part_bytes, part_seconds
        self._mutex = threading.Lock()
        self._open: dict[tuple[str, str], _Open] = {}
        self._sizes: dict[Path, int] = {}
        self._in_hand: Path | None = None
        self._dropped: Counter[str] = Counter()
        try:
            self._folder, self._lock = _own_folder(folder)
        except OSError as error:
            raise _unusable(folder, error) from None

    @property
    def waiting(self) -> int:
        """Bytes that wait for the store."""
        with self._mutex:
            return sum(self._sizes.values())

    @property
    def dropped(self) -> Mapping[str, int]:
        """Lines that were lost, by reason: `spool-full` for the oldest ones, `disk` for those that were not written.

        A part whose file somebody has removed counts as one line under `disk`.
        """
        with self._mutex:
            return dict(self._dropped)

    def append(self, scope: str, day: str, lines: Sequence[bytes]) -> None:
        """Add whole lines to the part of this scope and day; drop the oldest parts where too many bytes wait."""
        data = b"".join(lines)
        with self._mutex:
            part = self._open.get((scope, day))
            if part is None:
                path = self._folder / scope / day / f"{uuid7()}.jsonl"
                part = self._open[scope, day] = _Open(path, time.monotonic())
            before = self._sizes.get(part.path, 0)
            try:
                _write(part.path, data)
            except OSError:
                del self._open[scope, day]
                if part.path.exists():
                    self._sizes[part.path] = before
                    with suppress(OSError):  # what is left of a line is cut off when the part is read
                        os.truncate(part.path, before)
                self._dropped["disk"] += len(lines)
                return
            self._sizes[part.path] = before + len(data)
            if before + len(data) >= self._part_bytes:
                del self._open[scope, day]
            self._keep_within()

    def complete(self, *, everything: bool = False) -> bool:
        """No more lines for the parts that are old enough, or for any part. Returns whether a complete part waits."""
        with self._mutex:
            due = time.monotonic() - self._part_seconds
            self._open = {of: part for of, part in self._open.items() if not everything and part.since > due}
            return len(self._sizes) > len(self._open)

    def take_over(self) -> int:
        """Move the files of processes that have ended to this one; returns how many."""
        others = (folder for folder in sorted(self._root.iterdir()) if folder != self._folder)
        return sum(self._take(folder) for folder in others if not folder.name.startswith(_BEGINNING))

    def next(self) -> tuple[str, bytes] | None:
        """The oldest complete part, as its key and its bytes; the writer does not drop it until `done`.

        A file that somebody has removed is lost, and holds up no other one.
        """
        while True:
            with self._mutex:
                writing = {part.path for part in self._open.values()}
                complete = [path for path in self._sizes if path not in writing]
                if not complete:
                    return None
                path = self._in_hand = min(complete, key=_age)
            try:
                data = path.read_bytes()
                break
            except FileNotFoundError:
                with self._mutex:
                    self._lose("disk", path, 1)
                    self._in_hand = None
        whole = data[: data.rfind(b"\n") + 1]  # without the half of a line that a full disk or a power cut left
        return layout.inference_log(path.parent.parent.name, path.parent.name, path.stem), whole

    def done(self, *, stored: bool) -> None:
        """The part of the last `next` is in the store, or stays here to be tried again."""
        with self._mutex:
            path, self._in_hand = self._in_hand, None
            assert path is not None
            if stored:
                self._forget(path)

    def close(self) -> None:
        """Release the lock; what the store does not have stays for the next process."""
        with self._mutex:
            failpoint("spool.leave.before")
            if not any(self._folder.glob(_PARTS)):
                shutil.rmtree(self._folder, ignore_errors=True)
            failpoint("spool.leave.after")
            self._lock.close()

    def _keep_within(self) -> None:
        while sum(self._sizes.values()) > self._limit:
            droppable = [path for path in self._sizes if path != self._in_hand]
            if not droppable:
                return
            oldest = min(droppable, key=_age)
            self._open = {of: part for of, part in self._open.items() if part.path != oldest}
            try:
                self._lose("spool-full", oldest, oldest.read_bytes().count(b"\n"))
            except FileNotFoundError:
                self._lose("disk", oldest, 1)

    def _lose(self, reason: str, path: Path, lines: int) -> None:
        """Count a part as lost; nobody knows how many lines were in one that is gone, so that counts as one."""
        self._dropped[reason] += lines
        self._forget(path)

    def _forget(self, path: Path) -> None:
        failpoint("spool.forget.before")
        path.unlink(missing_ok=True)
        failpoint("spool.forget.after")
        self._sizes.pop(path, None)

    def _take(self, folder: Path) -> int:
        """The files of a folder whose lock is free."""
        try:
            lock = (folder / _LOCK).open("r+")
        except OSError:  # another process took it over
            return 0
        with lock:
            if not _locked(lock):
                return 0
            files = sorted(folder.glob(_PARTS))
            with self._mutex:
                for file in files:
                    self._adopt(file, self._folder / file.relative_to(folder))
            failpoint("spool.clear.before")
            shutil.rmtree(folder, ignore_errors=True)
            failpoint("spool.clear.after")
            return len(files)

    def _adopt(self, file: Path, path: Path) -> None:
        failpoint("spool.adopt.before")
        path.parent.mkdir(parents=True, exist_ok=True)
        file.rename(path)
        failpoint("spool.adopt.after")
        self._sizes[path] = path.stat().st_size


def _age(path: Path) -> str:
    """Sorts the oldest part first: names are UUIDs of version 7."""
    return path.name


def _own_folder(root: Path) -> tuple[Path, IO[str]]:
    """A new folder under the root, and its lock: another process sees the folder when the lock is held."""
    name = uuid7()
    beginning, folder = root / f"{_BEGINNING}{name}", root / name
    failpoint("spool.folder.before")
    beginning.mkdir(parents=True)
    lock = (beginning / _LOCK).open("w")
    assert _locked(lock)
    beginning.rename(folder)
    failpoint("spool.folder.after")
    return folder, lock


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(path: Path, data: bytes) -> None:
    failpoint("spool.lines.before")
    path.parent.mkdir(parents=True, exist_ok=True)
    # one call of the system: what it has taken outlives this process
    with path.open("ab", buffering=0) as file:
        written = file.write(data)
    failpoint("spool.lines.after")
    if written != len(data):
        raise OSError(f"{path}: the disk took {written} of {len(data)} bytes")


def _unusable(folder: Path, error: OSError) -> MachineFailed:
    known = machine_fault(error)
    return MachineFailed(
        f"{folder}: the prediction log cannot be kept there: {error.strerror or error}; name another folder"
        " with FLTS_SPOOL_DIR, or keep none with FLTS_PREDICTION_LOG=off",
        code=known.code if known else "spool-unusable",
        folder=str(folder),
    )
