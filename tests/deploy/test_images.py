"""images.lock names every image that is started, and never makes up a digest."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from ruamel.yaml import YAML
from tests.support import ROOT

FOLDER = ROOT / "deploy"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def script(name: str) -> ModuleType:
    """A script of deploy/, which is no part of the package."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def entries() -> list[dict[str, str]]:
    found: list[dict[str, str]] = tomllib.loads((FOLDER / "images.lock").read_text())["image"]
    return found


def started() -> set[str]:
    """The images of compose.yaml and of the chart that FLTS does not build, and the base of its own."""
    services = YAML(typ="safe").load((FOLDER / "compose.yaml").read_text())["services"].values()
    foreign = {service["image"] for service in services if "$" not in service["image"]}
    values = (FOLDER / "helm/flts/values.yaml").read_text()
    bundled = set(re.findall(r"^ +image: ([\w./-]+:[\w.-]+)$", values, re.MULTILINE))
    assert len(bundled) == 4
    base = re.search(r"^ARG BASE=([^@\s]+)@", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    assert base is not None
    return foreign | bundled | {f"docker.io/library/{base[1]}"}


def test_the_lock_names_exactly_the_images_that_are_started() -> None:
    assert set(script("images").locked()) == started()


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry["name"])
def test_an_entry_says_where_its_digest_was_read_or_that_it_is_unresolved(entry: dict[str, str]) -> None:
    assert entry.keys() == {"name", "tag", "digest", "read"}
    assert entry["tag"] not in {"", "latest"}
    assert re.search(r"\d", entry["tag"])
    if entry["digest"] == "unresolved":
        assert entry["read"] == ""
    else:
        assert DIGEST.fullmatch(entry["digest"])
        assert entry["read"]


def test_the_base_of_the_image_has_the_digest_of_the_lock() -> None:
    found = re.search(r"^ARG BASE=(\S+)@(sha256:[0-9a-f]{64})$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    assert script("images").locked()[f"docker.io/library/{found[1]}"] == found[2]


def test_a_release_refuses_an_image_without_a_digest() -> None:
    command = [sys.executable, str(FOLDER / "images.py")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    release = subprocess.run([*command, "--release"], capture_output=True, text=True, check=False)
    missing = script("images").unresolved()
    assert release.returncode == (1 if missing else 0)
    assert re.findall(r"^error: (\S+) has no digest", release.stderr, re.MULTILINE) == missing


DOCKER = """#!/bin/sh
case "$6" in
  *known*) echo sha256:{digest} ;;
  *) echo "error: manifest unknown" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A docker that knows one image."""
    docker = tmp_path / "docker"
    docker.write_text(DOCKER.replace("{digest}", "a" * 64))
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.usefixtures("registry")
def test_a_digest_is_read_from_the_registry_and_one_that_is_not_found_stays_unresolved(tmp_path: Path) -> None:
    entry = '[[image]]\nname = "{}"\ntag = "1"\ndigest = "unresolved"\nread = ""\n'
    lock = tmp_path / "images.lock"
    lock.write_text("# kept\n" + entry.format("docker.io/a/known") + entry.format("docker.io/a/gone"))
    left = script("images").resolve(lock)
    assert left == ["docker.io/a/gone:1: error: manifest unknown"]
    known, gone = tomllib.loads(lock.read_text())["image"]
    assert (known["digest"], gone["digest"], gone["read"]) == ("sha256:" + "a" * 64, "unresolved", "")
    assert known["read"]
    assert lock.read_text().startswith("# kept\n")


@pytest.mark.usefixtures("registry")
def test_an_entry_of_another_form_is_named_and_left(tmp_path: Path) -> None:
    lock = tmp_path / "images.lock"
    lock.write_text('[[image]]\ntag = "1"\nname = "docker.io/a/known"\ndigest = "unresolved"\nread = ""\n')
    [said] = script("images").resolve(lock)
    assert said.startswith("docker.io/a/known:1: ")
    assert script("images").unresolved(lock) == ["docker.io/a/known:1"]


def test_without_docker_no_digest_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "images.lock"
    lock.write_text('[[image]]\nname = "a"\ntag = "1"\ndigest = "unresolved"\nread = ""\n')
    before = lock.read_text()
    monkeypatch.setenv("PATH", str(tmp_path))
    [said] = script("images").resolve(lock)
    assert "docker" in said
    assert lock.read_text() == before
