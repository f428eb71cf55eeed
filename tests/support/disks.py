"""A disk of a test's own, which can become one for reading only. Only root mounts one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Disk:
    """A disk that is mounted at `place`."""

    place: Path

    def remount(self, how: str) -> None:
        """Mount it again: `ro` for reading only, `rw` for reading and writing."""
        subprocess.run(["/bin/mount", "-o", f"remount,{how}", str(self.place)], check=True, capture_output=True)

    def unmount(self) -> None:
        """Take it away, whoever uses it."""
        subprocess.run(["/bin/umount", "--lazy", str(self.place)], check=True, capture_output=True)


@contextmanager
def disk(folder: Path) -> Iterator[Disk]:
    """An empty disk below this folder. Skips the test where this user may not mount one."""
    place = folder / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root mounts a disk")
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=64m", "tests", str(place)],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode != 0:
        pytest.skip(f"this system mounts no disk: {mounted.stderr.strip()}")
    made = Disk(place)
    try:
        yield made
    finally:
        if place.is_mount():
            made.unmount()
