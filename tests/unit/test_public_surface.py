"""What a program may import from flts is small, documented, and costs nothing before it is used."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import flts

HEAVY = {"torch", "polars", "pydantic_settings", "structlog", "mlflow", "prophet", "statsforecast"}

SHOW_HELP = """
import sys
from flts.cli.main import main
sys.argv = ["flts", "--help"]
try:
    main()
except SystemExit as ended:
    assert ended.code == 0, ended.code
"""


def imported_by(code: str) -> set[str]:
    """Top-level names of all modules that a fresh interpreter holds after this code."""
    show = "import json, sys; print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    ended = subprocess.run([sys.executable, "-c", f"{code}\n{show}"], capture_output=True, text=True, check=True)
    modules: list[str] = json.loads(ended.stdout.splitlines()[-1])
    return set(modules)


def test_the_public_names_are_few_and_sorted() -> None:
    assert len(flts.__all__) <= 15
    assert flts.__all__ == sorted(flts.__all__)
    assert len(set(flts.__all__)) == len(flts.__all__)


@pytest.mark.parametrize("name", flts.__all__)
def test_every_public_name_can_be_imported_and_is_documented(name: str) -> None:
    assert (getattr(flts, name).__doc__ or "").strip()


def test_a_name_that_is_not_public_is_refused_as_python_does() -> None:
    with pytest.raises(AttributeError, match="module 'flts' has no attribute 'champions'"):
        flts.champions  # noqa: B018 - the look-up is what is tested


@pytest.mark.parametrize("code", ["import flts; assert flts.__version__", SHOW_HELP], ids=["import", "help"])
def test_nothing_heavy_is_imported_before_it_is_used(code: str) -> None:
    found = imported_by(code)
    assert "flts" in found
    assert not found & HEAVY


def test_the_check_above_sees_a_heavy_module() -> None:
    assert "polars" in imported_by("import flts, polars")
