"""What the docs say is what the code says."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import pytest
from tests.support import ROOT


def generator() -> ModuleType:
    """docs/generate.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["spec.md", "settings.md"])
def test_the_reference_pages_are_what_the_code_gives(name: str) -> None:
    assert (ROOT / "docs/reference" / name).read_text() == generator().pages()[name], "run `make docs`"


@pytest.mark.parametrize("page", ["README.md", *(str(p.relative_to(ROOT)) for p in sorted(ROOT.glob("docs/*.md")))])
def test_links_within_the_repository_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+?)\)", text):
        assert target.startswith("http") or (ROOT / page).parent.joinpath(target).exists(), target


def test_every_command_that_the_readme_shows_exists() -> None:
    from typer.main import get_command

    from flts.cli.main import app

    commands = get_command(app)
    words = re.findall(r"^(?:\.venv/bin/)?flts ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert words
    assert set(words) <= set(commands.commands)  # type: ignore[attr-defined]  # the app is a group
