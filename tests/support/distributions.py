"""Installed distributions: modules in a folder of sys.path, with their metadata beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from flts.spec.installed import GROUP, discover

MEAN = """
import json
from flts.models.base import Fit, History
from flts.spec.table import Table

class Parameters(Table):
    weight: float = 1.0

class Mean:
    name = "mean"
    parameters = Parameters
    version = 3
    extra = None
    libraries = ()
    cost = 0

    def history(self, task):
        return History(1, 1)

    def fit(self, block, tail, task, recipe, progress):
        return Fit({}, {})

    def load(self, files, task):
        raise NotImplementedError
"""
"""Source of a module with the smallest family there is."""


def write_distribution(folder: Path, name: str, version: str, families: Mapping[str, str], **modules: str) -> Path:
    """Write what `pip install` writes: metadata with entry points, and modules by name and source."""
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    points = "".join(f"{family} = {target}\n" for family, target in families.items())
    (metadata / "entry_points.txt").write_text(f"[{GROUP}]\n{points}")
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source)
    return folder


class Site:
    """A folder of sys.path to install distributions into, for the length of a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, name: str, version: str, families: Mapping[str, str], **modules: str) -> None:
        """Install a distribution."""
        write_distribution(self.folder, name, version, families, **modules)
        discover.cache_clear()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site folder; after the test neither its discovered families nor its modules are left."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return Site(folder)
