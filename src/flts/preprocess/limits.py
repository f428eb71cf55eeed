"""How large a table may become in memory. A few megabytes can decode to any number of gigabytes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from flts.contracts.errors import DataError

TOO_LARGE = "table-too-large"
"""Code of the error for a table that this process may not or cannot hold."""
MEMINFO = Path("/proc/meminfo")
CONTAINER = Path("/sys/fs/cgroup")
"""Where Linux tells the free memory of the machine, and the limit of this container (cgroup v2)."""


@dataclass(frozen=True)
class Limits:
    """Limits of one table.

    cells: rows × columns; memory: bytes when decoded, 0 for a quarter of the free memory; text: bytes of a CSV file
    when it is decompressed, 0 for any number.
    """

    cells: int = 10**8
    memory: int = 0
    text: int = 0

    def check(self, name: str, rows: int, columns: int, cells: int, memory: int, text: int = 0) -> None:
        """Raise DataError for a table of so many cells, or of so many bytes in memory, that has more than these limits.

        A caller that counts while it reads gives what it has found so far.
        """
        allowed = self.memory or free_memory() // 4
        if cells > self.cells:
            limit = f"at most {self.cells:,} cells are read (setting max_cells)"
        elif memory > allowed:
            rule = "setting max_decoded_bytes" if self.memory else "a quarter of the free memory; see max_decoded_bytes"
            limit = f"at most {allowed:,} bytes are decoded ({rule})"
        elif self.text and text > self.text:
            limit = f"at most {self.text:,} bytes of text are read"
        else:
            return
        table = f"{rows:,} rows and {columns:,} columns, {cells:,} cells in " if cells else ""
        raise DataError(
            f"{name}: is too large: at least {table}{memory:,} bytes of memory; {limit}; give fewer rows or columns, or"
            " raise the setting",
            code=TOO_LARGE,
            file=name,
            rows=rows,
            columns=columns,
            cells=cells,
            bytes=memory,
            expected=f"{self.cells} cells, {allowed} bytes",
        )


def check_memory(name: str, memory: int) -> None:
    """Raise DataError for a table of the store that takes more bytes than are free: no setting would help."""
    free = free_memory()
    if memory > free:
        raise DataError(
            f"{name}: is too large for this machine: it takes {memory:,} bytes of memory, and {free:,} are free",
            code=TOO_LARGE,
            file=name,
            bytes=memory,
            expected=f"{free} bytes",
        )


def free_memory() -> int:
    """Bytes that this process can still take; the size of the whole memory where the system tells no more."""
    found = [_of_machine(), _of_container()]
    return min(size for size in found if size is not None)


def _of_machine() -> int:
    if not MEMINFO.exists():
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    lines = (line.split() for line in MEMINFO.read_text().splitlines())
    return next(int(parts[1]) * 1024 for parts in lines if parts[0] == "MemAvailable:")


def _of_container() -> int | None:
    """What the container may still take; None where nothing limits it. Cached files do not count as taken."""
    limit, taken, parts = (CONTAINER / name for name in ("memory.max", "memory.current", "memory.stat"))
    if not limit.exists() or not limit.read_text().strip().isdecimal():
        return None
    cached = next(int(line.split()[1]) for line in parts.read_text().splitlines() if line.startswith("inactive_file "))
    return max(0, int(limit.read_text()) - int(taken.read_text()) + cached)
