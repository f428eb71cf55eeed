"""A process says what it has to work with: its limits are those of its control groups and of all above them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest

from flts.train.determinism import cores, processor
from flts.train.machine import limits, machine
from flts.version import __version__

GIB = 2**30
LIMITS: Mapping[str, tuple[str, Mapping[str, str], tuple[float | None, int | None]]] = {
    "version 2, in a container": (
        "0::/",
        {"cpu.max": "150000 100000", "memory.max": str(GIB)},
        (1.5, GIB),
    ),
    "version 2, without limits": ("0::/", {"cpu.max": "max 100000", "memory.max": "max"}, (None, None)),
    "version 2, the group above allows less": (
        "0::/user.slice/job",
        {
            "user.slice/job/cpu.max": "400000 100000",
            "user.slice/job/memory.max": "max",
            "user.slice/cpu.max": "200000 100000",
            "user.slice/memory.max": str(2 * GIB),
        },
        (2.0, 2 * GIB),
    ),
    "version 1": (
        "4:memory:/job\n1:cpu,cpuacct:/job\n9:name=systemd:/job",
        {
            "cpu/job/cpu.cfs_quota_us": "50000",
            "cpu/job/cpu.cfs_period_us": "100000",
            "memory/job/memory.limit_in_bytes": str(GIB),
            "memory/memory.limit_in_bytes": "9223372036854771712",
        },
        (0.5, GIB),
    ),
    "version 1, without limits": (
        "4:memory:/\n1:cpu:/",
        {
            "cpu/cpu.cfs_quota_us": "-1",
            "cpu/cpu.cfs_period_us": "100000",
            "memory/memory.limit_in_bytes": "9223372036854771712",
        },
        (None, None),
    ),
    "version 1, in a container that sees the path of its host": (
        "4:memory:/docker/abc",
        {"memory/memory.limit_in_bytes": str(GIB)},
        (None, GIB),
    ),
    "both, side by side": (
        "4:memory:/job\n0::/job",
        {"memory/job/memory.limit_in_bytes": str(GIB), "unified/job/cpu.max": "100000 100000"},
        (1.0, GIB),
    ),
    "a path that leads out of it": ("0::/../..", {"cpu.max": "100000 100000"}, (1.0, None)),
}


@pytest.mark.parametrize("case", LIMITS)
def test_the_limits_are_the_least_of_all_groups(case: str, tmp_path: Path) -> None:
    groups, files, expected = LIMITS[case]
    own, root = tmp_path / "cgroup", tmp_path / "fs"
    own.write_text(groups + "\n")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    assert limits(own, root) == expected


def test_a_machine_without_control_groups_has_no_limits(tmp_path: Path) -> None:
    assert limits(tmp_path / "absent", tmp_path) == (None, None)


def test_a_process_names_its_versions_processor_and_limits() -> None:
    here = machine(["sklearn", "no-such-library"])
    assert here.flts == __version__
    assert here.python.startswith("3.")
    expected = {name: metadata.version(name) for name in ("numpy", "polars", "scikit-learn")}
    assert here.libraries == expected
    assert (here.processor, here.cpus) == (processor(), cores())
    assert (here.cpu_limit, here.memory_limit) == limits()


def test_naming_the_versions_imports_none_of_the_libraries() -> None:
    program = (
        "import sys; from flts.train.machine import machine; machine(['torch', 'statsforecast', 'prophet']);"
        " print(sorted({'torch', 'statsforecast', 'prophet', 'onnxruntime', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
