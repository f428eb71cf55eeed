"""What a result can depend on besides the Spec: library versions and the processor. Both are stored with it."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from flts.contracts.records.model import MadeOn

_ALWAYS = ("numpy", "polars")
_OF_LIBRARY = {
    "torch": ("torch", "onnx", "onnxruntime"),
    "statsforecast": ("statsforecast", "coreforecast", "scikit-learn", "scipy"),
    "sklearn": ("scikit-learn",),
}
_SIMD = ("avx512f", "avx2", "avx", "sse4_2", "asimd")
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "POLARS_MAX_THREADS",
)


def thread_variables(threads: int) -> dict[str, str]:
    """Environment variables that limit threads; numeric libraries read them once, when they are imported."""
    return dict.fromkeys(_THREADS, str(threads))


def made_on(libraries: Sequence[str]) -> MadeOn:
    """Versions of these libraries, and the processor of this machine."""
    names = {*_ALWAYS, *(name for library in libraries for name in _OF_LIBRARY.get(library, (library,)))}
    return MadeOn(libraries={name: _version(name) for name in sorted(names)}, processor=processor())


@functools.cache
def _version(name: str) -> str:
    """Installed version. Cached, because a service asks for it with every model and each look-up parses a file."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # its distribution has another name
        return metadata.version(metadata.packages_distributions()[name][0])


def processor() -> str:
    """Machine, vendor and widest vector unit: they decide which kernels a numeric library chooses."""
    vendor, flags = "", set()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "vendor_id":
                vendor = value.strip()
            if key.strip() in {"flags", "Features"}:
                flags = set(value.split())
                break
    simd = next((name for name in _SIMD if name in flags), "")
    return " ".join(filter(None, (platform.machine(), vendor or platform.processor(), simd)))


def cores() -> int:
    """Number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
