"""A Python as after `pip install flts` without extras: every library of an extra is hidden."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement

from tests.support import ROOT

HIDE = "import sys\nsys.modules.update(dict.fromkeys({names!r}))\n"
"""Python takes None in sys.modules for a module that is not installed; every child process reads the file again."""


def hide_extras(folder: Path) -> dict[str, str]:
    """Write a start-up file into `folder`; returns the environment of a Python that has only what FLTS requires."""
    kept = installed_with(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
    hidden = sorted(
        module for module, owners in packages_distributions().items() if not kept & {_name(owner) for owner in owners}
    )
    folder.mkdir(parents=True)
    (folder / "sitecustomize.py").write_text(HIDE.format(names=hidden))
    return {"PYTHONPATH": f"{folder}:{ROOT / 'src'}"}


def installed_with(dependencies: Iterable[str]) -> set[str]:
    """These distributions, with all that they and their extras require in turn, and flts itself."""
    found, waiting = {("flts", "")}, [(Requirement(text), "") for text in dependencies]
    while waiting:
        requirement, extra = waiting.pop()
        name = _name(requirement.name)
        if not (requirement.marker is None or requirement.marker.evaluate({"extra": extra})):
            continue
        for asked in {"", *requirement.extras} - {had for known, had in found if known == name}:
            try:
                required = requires(name) or []
            except PackageNotFoundError:
                continue  # the requirement of a requirement on another platform
            found.add((name, asked))
            waiting += [(Requirement(text), asked) for text in required]
    return {name for name, _ in found}


def _name(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
