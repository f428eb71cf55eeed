"""Podman, the base of the images, and the images themselves; what is missing skips a test with a word.

The base is that of the Dockerfile where it can be pulled, else a stand-in of the same Debian made by mmdebstrap.
FLTS_TEST_BUILD holds more options of `podman build`, such as TORCH_INDEX, or the secret pip.conf where the public index
is not reached directly.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pytest
from tests.support import ROOT

from flts.backends.store import memory_store
from flts.runner.claim import prepare
from flts.settings import load_settings
from flts.spec.sources import load_spec
from flts.wiring import open_raw

STAND_IN = "localhost/flts-base:bookworm"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OPTIONS = os.environ.get("FLTS_TEST_BUILD", "")
CONTAINERS = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""

Podman = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def containers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which podman starts containers here. The test is skipped where podman is missing."""
    for program in ("podman", "runc"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install podman buildah runc mmdebstrap")
    config = tmp_path_factory.mktemp("podman") / "containers.conf"
    config.write_text(CONTAINERS)
    return os.environ | {"CONTAINERS_CONF": str(config)}


@pytest.fixture(scope="session")
def podman(containers: dict[str, str]) -> Podman:
    """Call podman."""

    def call(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(["podman", *arguments], env=containers, capture_output=True, text=True, check=False)  # noqa: S607
        assert not check or done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done

    return call


@pytest.fixture(scope="session")
def base(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The base of the Dockerfile, or its stand-in."""
    named = re.search(r"^ARG BASE=(\S+)$", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)
    assert named is not None
    real = f"docker.io/library/{named[1]}"
    if podman("pull", "--quiet", real, check=False).returncode == 0:
        return real
    if podman("image", "exists", STAND_IN, check=False).returncode == 0:
        return STAND_IN
    if shutil.which("mmdebstrap") is None:
        pytest.skip("the base cannot be pulled, and mmdebstrap is not installed to make a stand-in")
    packages = ("python3", "python3-pip", "python3-venv", "ca-certificates")
    debian(podman, STAND_IN, packages, tmp_path_factory.mktemp("base"))
    return STAND_IN


def debian(podman: Podman, name: str, packages: Sequence[str], folder: Path) -> None:
    """Make an image of Debian 12 with these packages."""
    tar = folder / "base.tar"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}", "bookworm", str(tar)]
    subprocess.run(command, check=True)
    podman("import", "--change", f"ENV {PATH}", str(tar), name)
    tar.unlink()


def config_hash_here() -> str:
    """The config_hash of the example on this machine."""
    loaded = load_spec(ROOT / "examples/jfk-departures/flts.toml", environ={})
    raw = open_raw(loaded.spec.dataset, loaded.folder, load_settings())
    return prepare(memory_store(), loaded.spec, raw)[1].identity.config_hash


@pytest.fixture(scope="session")
def build(podman: Podman, base: str) -> Callable[[str], str]:
    """Build a variant, once; returns its name."""
    extra = shlex.split(OPTIONS)

    @cache
    def built(variant: str) -> str:
        name = f"localhost/flts-test:{variant}"
        arguments = ["--build-arg", f"BASE={base}", "--build-arg", f"VARIANT={variant}", "--tag", name]
        podman("build", "--network=host", "--format=docker", *extra, *arguments, "-f", "deploy/Dockerfile", str(ROOT))
        return name

    return built
