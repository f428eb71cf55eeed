"""Runs that all tests of the verifier read, made once."""

from __future__ import annotations

import pytest
from tests.support.experiments import small_spec
from tests.support.tracking import RecordingTracker
from tests.support.verified import Ran, ran


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run of ridge that promoted it."""
    return ran(tmp_path_factory.mktemp("run"), small_spec(), RecordingTracker())


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The same where tracking is off."""
    return ran(tmp_path_factory.mktemp("run"), small_spec(), None)
