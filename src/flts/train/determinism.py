"""What a result can depend on besides the Spec: library versions, the processor and the kernels chosen for it.

All of them are stored with the result.
"""

from __future__ import annotations

import functools
import importlib
import os
import platform
from collections.abc import Collection, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from flts.contracts.records.model import MadeOn

_ALWAYS = ("numpy", "polars")
_OF_LIBRARY = {
    "torch": ("torch", "onnx", "onnxruntime"),
    "statsforecast": ("statsforecast", "coreforecast", "scikit-learn", "scipy"),
    "sklearn": ("scikit-learn",),
}
_WITH_BLAS = {"numpy": "numpy", "scipy": "scipy.linalg"}
"""A module of each distribution that loads the BLAS of its wheel; that of torch has no name."""
_VECTORS = ("avx", "amx", "neon", "sve", "sme", "bf16", "i8mm")
"""How the capabilities of a processor begin that decide which kernel oneDNN compiles."""
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
    """Versions of these libraries, the processor of this machine, and the kernels that they use on it."""
    names = _distributions(libraries)
    versions = {name: _version(name) for name in names}
    return MadeOn(libraries=versions, processor=processor(), kernels=_kernels(names))


def installed(libraries: Sequence[str]) -> dict[str, str]:
    """Versions of those of these libraries that are installed, and of numpy and polars; none is imported."""
    found = {}
    for name in _distributions(libraries):
        with suppress(metadata.PackageNotFoundError, KeyError):
            found[name] = _version(name)
    return found


def _distributions(libraries: Sequence[str]) -> list[str]:
    return sorted({*_ALWAYS, *(name for library in libraries for name in _OF_LIBRARY.get(library, (library,)))})


def _kernels(distributions: Collection[str]) -> dict[str, str]:
    """The kernels that these distributions use here; environment variables can choose others.

    A BLAS is left out where it came with a distribution that is not among them: another model loaded it.
    """
    from threadpoolctl import threadpool_info

    for distribution, module in _WITH_BLAS.items():
        if distribution in distributions:
            importlib.import_module(module)  # only a BLAS that is loaded can be asked
    found = {}
    for pool in threadpool_info():
        owner = _owner(Path(pool["filepath"]))
        if pool["user_api"] == "blas" and (owner is None or owner in distributions):
            core = pool.get("architecture") or pool["version"]
            found[f"blas of {owner}" if owner else "blas"] = f"{pool['internal_api']} {core}"
    if "torch" in distributions:
        import torch

        found["torch"] = torch.backends.cpu.get_cpu_capability()
        capabilities = [
            name for name, has in torch.cpu.get_capabilities().items() if has is True and name.startswith(_VECTORS)
        ]
        limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT")
        found["onednn"] = " ".join([limit, *sorted(capabilities)])
    return dict(sorted(found.items()))


def _owner(library: Path) -> str | None:
    """The distribution in whose wheel a shared library came; None for a library of the system."""
    above = library.parts
    if "site-packages" not in above:
        return None
    return above[above.index("site-packages") + 1].removesuffix(".libs")


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
