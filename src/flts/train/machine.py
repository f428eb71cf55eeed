"""What a process has to work with: versions, the processor, and the limits that hold for it."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from flts.contracts.records.run import Machine
from flts.train.determinism import cores, installed, processor
from flts.version import __version__

UNLIMITED = 2**62
"""Bytes from which version 1 of cgroups means that there is no limit."""


def machine(libraries: Sequence[str] = ()) -> Machine:
    """This process. libraries: those that its work imports beside the ones that every stage does; none is imported."""
    cpus, memory = limits()
    return Machine(
        flts=__version__,
        python=platform.python_version(),
        libraries=installed(libraries),
        processor=processor(),
        cpus=cores(),
        cpu_limit=cpus,
        memory_limit=memory,
    )


def limits(
    own: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> tuple[float | None, int | None]:
    """Processors and bytes of memory that the control groups of this process allow, the least of all above it.

    None where there is no limit, or no control group. Both versions of cgroups, also side by side.
    """
    folders = list(_folders(own, root))
    quotas = [quota for folder in folders if (quota := _quota(folder)) is not None]
    sizes = [size for folder in folders if (size := _memory(folder)) is not None]
    return min(quotas, default=None), min(sizes, default=None)


def _folders(own: Path, root: Path) -> Iterator[Path]:
    """The folder of each group of this process, and of every group above it.

    In a container, a path may be that of the host, which does not exist here: then the root is the container's group.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):  # version 2 has no names, and may lie beside version 1
            for top in (root / name,) if name else (root, root / "unified"):
                group = top / path.strip("/")
                yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))


def _quota(folder: Path) -> float | None:
    with suppress(OSError, ValueError):  # ValueError for "max"
        quota, period = (folder / "cpu.max").read_text().split()
        return int(quota) / int(period)
    allowed, per = _whole(folder / "cpu.cfs_quota_us"), _whole(folder / "cpu.cfs_period_us")
    return allowed / per if allowed is not None and per and allowed > 0 else None


def _memory(folder: Path) -> int | None:
    sizes = (_whole(folder / name) for name in ("memory.max", "memory.limit_in_bytes"))
    return next((size for size in sizes if size is not None and size < UNLIMITED), None)


def _whole(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
