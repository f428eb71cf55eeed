"""What every test gets: no FLTS_* of the person who runs them, and data outside the repository only where it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

LTE = Path(__file__).parents[2] / "shared" / "data" / "lte"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("FLTS_"):
            monkeypatch.delenv(name)


@pytest.fixture
def lte() -> Path:
    """Folder of the LTE measurements, which are not part of this repository."""
    if not LTE.is_dir():
        pytest.skip(f"the LTE measurements are not in {LTE}")
    return LTE
