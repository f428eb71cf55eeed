"""What a result can depend on besides the Spec: versions of libraries, the processor and threads."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest
from tests.support.families import has_libraries, installed

from flts.contracts.records.model import MadeOn
from flts.models.registry import CANDIDATES
from flts.train import determinism
from flts.train.determinism import cores, made_on, processor, thread_variables

INTEL = "processor : 0\nvendor_id : GenuineIntel\nflags : fpu sse4_2 avx avx2 avx512f\n\nprocessor : 1\nflags : fpu\n"
AMD = "vendor_id\t: AuthenticAMD\nflags\t: fpu sse4_2 avx avx2\n"
ARM = "processor : 0\nFeatures : fp asimd evtstrm\nCPU implementer : 0x41\n"
OLD = "vendor_id : GenuineIntel\nflags : fpu\n"


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (INTEL, "x86_64 GenuineIntel avx512f"),
        (AMD, "x86_64 AuthenticAMD avx2"),
        (ARM, "x86_64 a vendor asimd"),
        (OLD, "x86_64 GenuineIntel"),
        (None, "x86_64 a vendor"),
    ],
    ids=["intel", "amd", "arm", "no vector unit", "no cpuinfo"],
)
def test_a_processor_is_described_by_machine_vendor_and_widest_vector_unit(
    cpuinfo: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        file.write_text(cpuinfo)
    monkeypatch.setattr(determinism, "Path", lambda name: file)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "processor", lambda: "a vendor")
    assert processor() == expected


def test_the_name_of_this_processor_does_not_change() -> None:
    assert processor().startswith(platform.machine())
    assert processor() == processor()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ridge", ["numpy", "polars"]),
        ("gru", ["numpy", "onnx", "onnxruntime", "polars", "torch"]),
        ("lstm", ["numpy", "onnx", "onnxruntime", "polars", "torch"]),
        ("prophet", ["numpy", "pandas", "polars", "prophet"]),
        ("automfles", ["coreforecast", "numpy", "polars", "scikit-learn", "scipy", "statsforecast"]),
    ],
)
def test_the_versions_of_all_libraries_behind_a_family_are_recorded(name: str, expected: Sequence[str]) -> None:
    if not has_libraries(name):
        pytest.skip(f"needs the extra '{CANDIDATES[name].extra}'")
    libraries = made_on(CANDIDATES[name].libraries).libraries
    assert libraries == {library: metadata.version(library) for library in expected}
    assert list(libraries) == list(expected), "in one order, whatever the hash seed"


@pytest.mark.parametrize("name", installed(CANDIDATES))
def test_versions_and_processor_compare_equal_after_they_were_stored(name: str) -> None:
    now = made_on(CANDIDATES[name].libraries)
    assert MadeOn.model_validate_json(now.model_dump_json()) == now


OF_FAMILY = {
    "ridge": [False, "blas of numpy"],
    "automfles": [False, "blas of numpy", "blas of scipy"],
    "gru": [True, "blas of numpy", "onednn", "torch"],
}
"""Whether torch is loaded to find out, and the kernels that are recorded."""


@pytest.mark.parametrize("name", installed(OF_FAMILY))
def test_the_kernels_of_a_family_are_recorded_whatever_else_is_loaded(name: str) -> None:
    code = f"""
import json, sys
from flts.models.registry import CANDIDATES
from flts.train.determinism import made_on
libraries = CANDIDATES[{name!r}].libraries
alone, loaded = made_on(libraries), "torch" in sys.modules
import scipy.linalg
assert made_on(libraries) == alone
print(json.dumps([loaded, *alone.kernels]))
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(printed) == OF_FAMILY[name]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the cores are those of x86-64")
@pytest.mark.parametrize("variable", ["OPENBLAS_CORETYPE", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"])
def test_the_same_libraries_with_another_kernel_are_another_environment(variable: str) -> None:
    if not has_libraries("gru"):
        pytest.skip("needs the extra 'torch'")
    code = "from flts.train.determinism import made_on; print(made_on(('torch',)).model_dump_json())"

    def made_with(kernel: str) -> MadeOn:
        environment = {**os.environ, variable: kernel}
        command = [sys.executable, "-c", code]
        printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        return MadeOn.model_validate_json(printed)

    core = {"OPENBLAS_CORETYPE": ("Haswell", "Sandybridge"), "ATEN_CPU_CAPABILITY": ("avx2", "default")}
    first, second = (made_with(kernel) for kernel in core.get(variable, ("AVX2", "SSE41")))
    assert first != second
    assert (first.libraries, first.processor) == (second.libraries, second.processor)


def test_a_result_that_says_nothing_of_kernels_was_made_elsewhere() -> None:
    now = made_on(())
    stored = now.model_dump()
    del stored["kernels"]
    old = MadeOn.model_validate(stored)
    assert old != now
    assert old.model_dump() == stored, "and is written as it was"


@pytest.mark.parametrize("threads", [1, 2])
def test_the_thread_variables_limit_the_threads_of_a_numeric_library(threads: int) -> None:
    environment = {**os.environ, **thread_variables(threads)}
    command = [sys.executable, "-c", "import polars; print(polars.thread_pool_size())"]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert int(printed) == threads
    assert {*thread_variables(threads).values()} == {str(threads)}


def test_cores_are_at_most_those_of_the_machine() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
