"""What several tests of processes start from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def served_folder(promoted_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a promoted model for the servers of one file, and the rows that followed in load_test.csv."""
    made = tmp_path_factory.mktemp("served") / "folder"
    shutil.copytree(promoted_folder, made)
    return made
