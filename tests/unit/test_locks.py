"""The locks say what pyproject.toml and constraints.txt say, and the tests run with what they name."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.support import ROOT
from tests.support.bare import installed_with

FOLDER = ROOT / "requirements"
FILES = ("all.txt", "dev.txt", "mlflow-server.txt", "serve.txt")
ENTRY = re.compile(
    r"^(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>[^\s;]+)(?: ; (?P<marker>.+?))? \\\n"
    r"(?:    --hash=sha256:[0-9a-f]{64} \\\n)*    --hash=sha256:[0-9a-f]{64}\n",
    re.MULTILINE,
)
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
OF_TORCH = re.compile("torch|triton|nvidia-.+|cuda-.+")
"""Pinned by constraints.txt alone: a build for a CPU has another digest than that of the public index."""


@cache
def locked(*files: str) -> dict[str, set[tuple[str, str]]]:
    """Versions and markers by package."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for file in files:
        for entry in ENTRY.finditer((FOLDER / file).read_text()):
            found[entry["name"]].add((entry["version"], entry["marker"] or ""))
    return found


def here(name: str) -> set[str]:
    """The versions of a package for this Python and system."""
    entries = locked("all.txt", "dev.txt").get(name, set())
    return {number for number, marker in entries if not marker or Marker(marker).evaluate()}


def required(extra: str) -> Iterator[Requirement]:
    """What the project, its build and an extra require themselves, other extras of the project included."""
    project = PROJECT["project"]
    waiting = [*project["dependencies"], *PROJECT["build-system"]["requires"], f"flts[{extra}]"]
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.name != "flts":
            yield requirement
        for name in requirement.extras if requirement.name == "flts" else ():
            waiting += project["optional-dependencies"][name]


@pytest.mark.parametrize("file", FILES)
def test_every_entry_of_a_lock_has_a_version_and_digests(file: str) -> None:
    text = (FOLDER / file).read_text()
    assert len(ENTRY.findall(text)) > 2
    assert re.sub(r"^#.*\n", "", ENTRY.sub("", text), flags=re.MULTILINE) == ""


@pytest.mark.parametrize(
    ("extra", "files"),
    [
        ("all", ("all.txt",)),
        ("dev", ("all.txt", "dev.txt")),
        ("mlflow-server", ("all.txt", "mlflow-server.txt")),
        *((extra, ("serve.txt",)) for extra in ("kafka", "onnx", "serve")),
    ],
)
def test_the_locks_hold_what_pyproject_asks_for(extra: str, files: tuple[str, ...]) -> None:
    for requirement in required(extra):
        name = canonicalize_name(requirement.name)
        versions = {number for number, _ in locked(*files).get(name, ())}
        assert versions or OF_TORCH.fullmatch(name), f"{name} is in no lock: run `make lock`"
        assert all(requirement.specifier.contains(number) for number in versions), f"{requirement}: run `make lock`"


def test_the_locks_hold_the_versions_of_the_constraints() -> None:
    lines = (line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#")
    pins = {canonicalize_name(name): number for name, number in (line.split("==") for line in lines)}
    found = locked("all.txt", "dev.txt")
    assert len(pins.keys() & found.keys()) > 40
    differing = {
        name: found[name] for name in pins.keys() & found.keys() if {n for n, _ in found[name]} != {pins[name]}
    }
    assert differing == {}, "run `make lock`"


def test_the_images_are_made_of_what_the_tests_run_with() -> None:
    tested = locked("all.txt", "dev.txt")
    images = locked("mlflow-server.txt", "serve.txt")
    assert {name: found for name, found in images.items() if found != tested.get(name)} == {}


def test_the_small_image_has_nothing_that_only_a_fit_needs() -> None:
    assert (
        not {"torch", "prophet", "cmdstanpy", "statsforecast", "lightgbm", "mlflow", "pandas"}
        & locked("serve.txt").keys()
    )


def test_what_the_tests_run_with_is_what_the_locks_name() -> None:
    installed = installed_with(str(requirement) for requirement in required("dev"))
    build = {canonicalize_name(Requirement(text).name) for text in PROJECT["build-system"]["requires"]}
    checked = {name for name in installed - build - {"flts"} if not OF_TORCH.fullmatch(name)}
    assert len(checked) > 100
    assert {name: version(name) for name in checked if {version(name)} != here(name)} == {}


def test_the_locks_name_no_host_and_nothing_of_torch() -> None:
    text = "".join((FOLDER / file).read_text() for file in FILES)
    assert "://" not in text
    assert [name for name in locked(*FILES) if OF_TORCH.fullmatch(name)] == []


def test_the_torch_of_the_images_is_the_pinned_one_with_a_digest_for_each_processor() -> None:
    text = (FOLDER / "torch-cpu.txt").read_text()
    pinned = re.search(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert re.findall(r"^torch==(\S+) ", text, re.MULTILINE) == [f"{pinned[1]}+cpu"]
    assert len(set(re.findall(r"--hash=sha256:[0-9a-f]{64}", text))) == 2
