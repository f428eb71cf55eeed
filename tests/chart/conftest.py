"""Helm for the tests of the chart. Each starts processes, so each is slow."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.charts import Helm, found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test of this folder that asks for Helm is slow."""
    for item in items:
        if Path(__file__).parent in item.path.parents and "helm" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Helm, or the test is skipped."""
    return found()
