"""Prepared folders are made once per process and copied for every test."""

from __future__ import annotations

import pytest
from tests.crash.scenes import Stage
from tests.support.warm import Warm


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Stage:
    """Where scenes are set up and run."""
    return Stage(tmp_path_factory.mktemp("scenes"), warm)
