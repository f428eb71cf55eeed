"""What several tests of processes start from."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.experiments import write_experiment

import flts
from flts.settings import load_settings


@pytest.fixture(scope="module")
def served_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a run has promoted a model, with the rows that followed in load_test.csv."""
    made = tmp_path_factory.mktemp("served")
    write_experiment(made)
    flts.run(made / "flts.toml", settings=load_settings(home=made / ".flts", tracking="off"))
    return made
